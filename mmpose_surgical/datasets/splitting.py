"""Splits of whole videos with alike shares of every action and source (NumPy only)."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import SPLIT_NAMES, Splits, shared_files
from mmpose_surgical.errors import UserError, list_problems

RESTARTS = 20


def make_splits(annotations: Annotations, *, val: float, test: float, folds: int = 0, seed: int = 0,
                test_videos: Sequence[str] = ()) -> Splits:
    """Split videos at random, then exchange them until no exchange brings the shares nearer to those of all videos.

    Args:
        annotations: The data set.
        val: Share of the videos for validation below 1, else their number.
        test: Likewise for testing; disregarded with ``test_videos``.
        folds: Folds of the training videos, 0 or at least 2.
        seed: The same seed gives the same splits.
        test_videos: Those to test on.

    Returns:
        Splits of all videos with an annotated picture.

    Raises:
        UserError: The numbers cannot be met, a named video is unknown, or two videos share files.
    """
    by_video: dict[str, list[Frame]] = {}
    for frame in annotations.annotated_frames():
        by_video.setdefault(frame.video.name, []).append(frame)
    if not annotations.videos:
        raise UserError('the file knows no videos, and frames of one would come into several splits', annotations.path,
                        'import it, which tells them apart: tools/data.py import coco')
    names = sorted(by_video)
    unknown = sorted(set(test_videos) - set(names))
    if unknown:
        raise UserError(f'unknown test videos, or ones without an annotated picture: {list_problems(unknown)}',
                        annotations.path, 'name videos as "videos" does')
    n_test = len(set(test_videos)) or number_of(test, len(names), '--test')
    n_val = number_of(val, len(names), '--val')
    n_train = len(names) - n_val - n_test
    if n_train < max(folds, 1) or folds == 1:
        into = f', in {folds} folds' if folds else ''
        raise UserError(f'{len(names)} videos, {n_val} for validation and {n_test} for testing, leave {n_train} to '
                        f'train on{into}', annotations.path, 'take fewer for them, or fewer folds')
    strata = _strata([by_video[name] for name in names])
    rng = np.random.default_rng(seed)
    fixed = np.isin(names, list(test_videos))
    of = _assign(strata, (n_train, n_val, n_test), rng, fixed if test_videos else None)
    parts = [tuple(name for name, part in zip(names, of) if part == k) for k in range(3)]
    inner: tuple[tuple[str, ...], ...] = ()
    if folds:
        sizes = [n_train // folds + (k < n_train % folds) for k in range(folds)]
        fold = _assign(strata[of == 0], sizes, rng)
        inner = tuple(tuple(name for name, part in zip(parts[0], fold) if part == k) for k in range(folds))
    splits = Splits(*parts, folds=inner)
    if shared := shared_files(annotations, splits):
        raise UserError(f'videos share files, and would leak: {list_problems(shared)}', annotations.path,
                        'give such videos one name, so that they stay together')
    return splits


def number_of(share: float, videos: int, option: str) -> int:
    """A number of videos, given as such or as a share below 1.

    Raises:
        UserError: It is neither.
    """
    if not math.isfinite(share) or share < 0 or (share > 1 and share % 1):
        raise UserError(f'{share} is neither a share nor a number of videos', option, 'give 0.15, or 9')
    return int(share) if share >= 1 else max(round(share * videos), int(share > 0))


def _strata(videos: Sequence[Sequence[Frame]]) -> np.ndarray:
    """(V, K) what a video has of everything that should be spread evenly; every column sums to 1.

    Columns are sources (each video counts once), actions and idleness (clips, or pictures where there are none), as a
    whole and for each source, and all clips and pictures.
    """
    counts = []
    for frames in videos:
        found: Counter = Counter({('source', frames[0].video.source): 1, ('pictures', ''): len(frames)})
        seen = set()
        for frame in frames:
            place = frame.clip.id if frame.clip else -frame.image_id - 1
            for action in actions_of(frame):
                seen.add((place, action))
            found['clips', ''] += (place, None) not in seen
            seen.add((place, None))
        for _, action in seen:
            if action is not None:
                found['action', action] += 1
                found['action of source', (action, frames[0].video.source)] += 1
        counts.append(found)
    keys = sorted({key for found in counts for key in found}, key=str)
    table = np.array([[found[key] for key in keys] for found in counts], float)
    return table / table.sum(axis=0)


def actions_of(frame: Frame) -> set[str]:
    """Actions that are done in a frame: those of its acting tools, else of its clip; ``idle`` where nothing acts."""
    if not frame.active_tools:
        return {'idle'}
    named = {tool.action or (frame.clip and frame.clip.action) for tool in frame.active_tools}
    return {action or 'unnamed' for action in named}


def _assign(strata: np.ndarray, sizes: Sequence[int], rng: np.random.Generator,
            last: np.ndarray | None = None) -> np.ndarray:
    """(V,) part of each video; ``last`` (V,) bool are those of the last part, where these are given."""
    shares = np.array(sizes) / sum(sizes)
    best, least = None, math.inf
    for _ in range(RESTARTS):
        parts = np.repeat(np.arange(len(sizes)), sizes)
        if last is None:
            of = rng.permutation(parts)
        else:
            of = np.full(len(strata), len(sizes) - 1)
            of[~last] = rng.permutation(parts[parts < len(sizes) - 1])
        cost = _exchange(strata, of, shares, last)
        if cost < least - 1e-12:
            best, least = of, cost
    return best


def _exchange(strata: np.ndarray, of: np.ndarray, shares: np.ndarray, last: np.ndarray | None) -> float:
    """Exchange videos between parts, in place, as long as that helps; returns how far the shares are off.

    A part is off by the squares of what it has too much or too little, relative to what it should have: a small part
    matters as much as a large one.
    """
    excess = np.stack([strata[of == k].sum(axis=0) for k in range(len(shares))]) - shares[:, None]
    weight = 1 / np.maximum(shares, 1e-9)
    movable = np.ones(len(of), bool) if last is None else ~last
    better = True
    while better:
        better = False
        for i in np.flatnonzero(movable):
            # What every exchange of i with another video would change: |e + d|^2 - |e|^2 = d (2 e + d).
            gained = strata - strata[i]
            change = (weight[of[i]] * (gained * (2 * excess[of[i]] + gained)).sum(axis=1)
                      + weight[of] * (gained * (gained - 2 * excess[of])).sum(axis=1))
            change[~movable | (of == of[i])] = 0
            j = int(change.argmin())
            if change[j] < -1e-12:
                excess[of[i]] += gained[j]
                excess[of[j]] -= gained[j]
                of[i], of[j] = of[j], of[i]
                better = True
    return float((weight[:, None] * excess ** 2).sum())


def write_splits(root: str | Path, splits: Splits) -> Path:
    """Write ``splits.json`` into the folder of a data set."""
    from mmpose_surgical.files import write_json
    path = Path(root) / 'splits.json'
    write_json(path, {**{name: list(getattr(splits, name)) for name in SPLIT_NAMES},
                      **({'folds': [list(fold) for fold in splits.folds]} if splits.folds else {})})
    return path


def threshold_uncertainty(clips: int, f1: float = 0.7) -> float:
    """Half of the 95 % interval, in points of 100, of an F1 that is measured on so many clips.

    A share among independent clips (Wald); points of one clip are alike and count as one.
    """
    return 100 * 1.96 * math.sqrt(f1 * (1 - f1) / max(clips, 1))
