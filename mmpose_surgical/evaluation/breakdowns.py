"""Counts per video, source, condition and action, and the means over them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.evaluator import Matched, rates
from mmpose_surgical.evaluation.table import RESERVED

MEASURES = ('precision', 'recall', 'f1', 'l2')
GREATEST = np.array([1, 1, 1, np.inf])
"""What each measure is at most."""
SOURCE, NOT_GIVEN = 'source', 'not given'
MAX_VALUES = 8
"""Numbers with more distinct values are put into zero and thirds of the others; any other attribute with more is left
out unless asked for."""


def count_frames(matched: Matched, members: np.ndarray) -> np.ndarray:
    """(S, V, rows, L, 4) counts of the frames of each row; ``members`` is bool (rows, F), and rows may overlap."""
    table = matched.table
    # Two rows for each: frames outside of it, and in it.
    return np.concatenate([
        matched.tabulate(row[table.gt_frame].astype(int), row[table.pred_frame].astype(int), 2)[:, :, 1:]
        for row in members], axis=2)


def measures(counts: np.ndarray) -> np.ndarray:
    """(..., 4) counts to (..., 4) precision, recall, F1 and mean matched distance; NaN where 0/0."""
    tp, fp, fn, distance = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid='ignore', divide='ignore'):
        # F1 without a true positive is 0 as long as there is any point.
        return np.stack([tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn), distance / tp], axis=-1)


def shares(counts: np.ndarray) -> np.ndarray:
    """(..., 2) parts and wholes to (..., 1) shares; NaN where 0/0."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return counts[..., :1] / counts[..., 1:]


def count_active_tool(matched: Matched) -> np.ndarray:
    """(S, V, 2) frames per seed and video whose best tip is on the acting tool, and frames that ask for it."""
    table = matched.table
    asked, _, correct = matched.active_tool
    counts = np.zeros((table.seeds, len(table.videos), 2))
    np.add.at(counts, (table.frame_seed, table.frame_video), np.stack([correct, asked], axis=1))
    return counts


def cell(counts: np.ndarray) -> dict[str, Any]:
    """The (4,) counts of a cell with their measures, as they are written to a metrics file."""
    l2 = measures(counts)[3]
    return {**rates(*(int(n) for n in counts[:3])), 'l2': float(l2) if np.isfinite(l2) else None}


def per_video(matched: Matched, counts: np.ndarray) -> dict[str, Any]:
    """Source, frames and the cells of each video over its seeds; ``counts`` are those of ``Matched.by_action``."""
    table = matched.table
    sources = {frame.video.name: frame.video.source for frame in table.frames}
    frames = np.bincount(table.frame_video, minlength=len(table.videos)) // table.seeds
    summed = counts[:, :, 0].sum(axis=0)
    return {name: {'source': sources[name], 'frames': int(frames[v]),
                   **{landmark: cell(summed[v, k]) for k, landmark in enumerate(table.landmarks)}}
            for v, name in enumerate(table.videos)}


def macro(names: Sequence[str], counts: np.ndarray, landmarks: Sequence[str]) -> dict[str, Any]:
    """Mean F1 over actions, and over the videos of each seed, where it is defined; micro F1 is that of ``overall``.

    ``ambiguous`` and ``none`` hold false points only and are no actions.
    """
    by_action = mean_of_actions(names)(counts.sum(axis=(0, 1))[None])[0]
    by_video = shares(count_videos(counts).sum(axis=(0, 1)))[:, 0]
    return {landmark: {name: float(of[k]) if np.isfinite(of[k]) else None
                       for name, of in (('action_f1', by_action), ('video_f1', by_video))}
            for k, landmark in enumerate(landmarks)}


def mean_of_actions(names: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
    """A statistic of the sums (n, rows, L, 4) of ``Matched.by_action``: mean F1 over the actions, (n, L)."""
    is_action = np.array([name not in RESERVED for name in names])

    def statistic(sums: np.ndarray) -> np.ndarray:
        f1 = measures(sums)[..., 2][:, is_action]
        known = np.isfinite(f1)
        with np.errstate(invalid='ignore'):
            return np.where(known, f1, 0).sum(axis=1) / known.sum(axis=1)
    return statistic


def count_videos(counts: np.ndarray) -> np.ndarray:
    """(S, V, L, 2) F1 of each video and 1, both 0 where it is undefined: the shares of their sums are the mean."""
    f1 = measures(counts[:, :, 0])[..., 2]
    known = np.isfinite(f1)
    return np.stack([np.where(known, f1, 0), known], axis=-1)


def group_frames(frames: Sequence[Frame], names: Sequence[str] | None = None,
                 ) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """Which frames have which value of the source and of each picture attribute.

    A list is several tags, and its frame counts under each of them. Numbers of more than :data:`MAX_VALUES` values are
    put into zero and thirds of the other frames.

    Args:
        frames: the F frames that count.
        names: the attributes wanted; ``None`` takes all that have no more than :data:`MAX_VALUES` values.

    Returns:
        ``{attribute: {value: bool (F,)}}``, and the names that were left out for having too many values.

    Raises:
        UserError: no frame has an attribute of this name.
    """
    attributes = [{SOURCE: frame.video.source, **frame.attributes} for frame in frames]
    known = list(dict.fromkeys(name for own in attributes for name in own))
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UserError(f'no picture has the attribute {", ".join(unknown)}', '--by',
                        f'name some of: {", ".join(known)}')
    groups: dict[str, dict[str, np.ndarray]] = {}
    left_out: list[str] = []
    for name in known if names is None else names:
        tags = _tags([own.get(name) for own in attributes])
        values = sorted({tag for own in tags for tag in own})
        if names is None and len(values) > MAX_VALUES:
            left_out.append(name)
            continue
        groups[name] = {value: np.array([value in own for own in tags]) for value in values}
    return groups, left_out


def _tags(values: list[Any]) -> list[list[str]]:
    """The words that each frame counts under."""
    numbers = [v for v in values if _is_number(v)]
    if len(set(numbers)) <= MAX_VALUES:
        return [[_word(v) for v in value] or ['none'] if isinstance(value, list) else [_word(value)]
                for value in values]
    # Thirds of equal size as far as equal numbers allow; each is named after the numbers that it holds. Zero is the
    # absence of what is measured, most often the commonest value, and stands by itself.
    edges = np.unique(np.quantile([v for v in numbers if v], [1 / 3, 2 / 3]))
    third = {v: int(np.searchsorted(edges, v)) if v else -1 for v in set(numbers)}
    names = {}
    for k in set(third.values()):
        held = [v for v, own in third.items() if own == k]
        names[k] = f'{min(held):.4g} to {max(held):.4g}' if min(held) < max(held) else f'{min(held):.4g}'
    return [[names[third[v]] if _is_number(v) else _word(v)] for v in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(value: Any) -> str:
    if value is None:
        return NOT_GIVEN
    return str(value).lower() if isinstance(value, bool) else f'{value:g}' if isinstance(value, float) else str(value)
