"""All that can be wrong with a data set, found before an epoch is spent (no torch in here)."""
from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.datasets.annotations import check_mask, read_annotations
from mmpose_surgical.datasets.frame_file import FrameFile
from mmpose_surgical.datasets.problems import Problem
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import SPLIT_NAMES, Splits, load_splits
from mmpose_surgical.datasets.windows import window_files
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import ACTIONS

BLANK_SPREAD = 4.0
"""A picture whose grey levels (0 to 255) have a smaller standard deviation shows nothing."""
NEAR_BITS = 16
"""Pictures whose hashes differ in no more of their 256 bits are nearly the same: see benchmarks/near_duplicates.py."""


@dataclass(frozen=True)
class Validation:
    """What was checked and what was found."""
    problems: list[Problem]
    pictures: int
    """Pictures that were looked at: listed ones and neighbours in their windows."""

    @property
    def passed(self) -> bool:
        return all(problem.harmless for problem in self.problems)


def validate(root: str | Path, *, decode: bool = True, num_frames: int = 5, spacing: float = 0.12,
             actions: Sequence[str] = ACTIONS,
             progress: Callable[[int, int], None] | None = None) -> Validation:
    """Find all problems of a data set at once.

    Args:
        root: Its folder.
        decode: Also decode all pictures: whether they are whole, of the right size, blank, or nearly the same as one
            of another split.
        num_frames: Windows of so many frames are looked for.
        spacing: Seconds between them.
        actions: Words that are known.
        progress: Called with decoded pictures and their number.
    """
    root = Path(root)
    try:
        annotations, problems = read_annotations(root)
    except UserError as error:
        return Validation([_of_error('file', error, root)], 0)
    problems = list(problems)
    splits = None
    try:
        splits = load_splits(annotations.root, annotations)
    except UserError as error:
        problems.append(_of_error('split', error, root))
    problems += _records(annotations, splits, actions)
    wanted, found = _files(annotations, num_frames, spacing)
    problems += found
    if decode:
        problems += _pictures(annotations, splits, wanted, progress)
    return Validation(problems, len(wanted))


def _of_error(kind: str, error: UserError, root: Path) -> Problem:
    return Problem(kind, str(error.where or root), '', '; '.join(filter(None, (error.what, error.fix))))


# -- records ---------------------------------------------------------------------------------------------------
def _records(annotations: Annotations, splits: Splits | None, actions: Sequence[str]) -> Iterator[Problem]:
    path = str(annotations.path)
    for frame in annotations.frames:
        for tool in frame.tools:
            record = f'annotation {tool.id} (image {frame.image_id})'
            for point in tool.points:
                if not (-0.5 <= point.x <= frame.width - 0.5 and -0.5 <= point.y <= frame.height - 0.5):
                    yield Problem('outside', path, record, f'{point.name} at ({point.x:g}, {point.y:g}), the picture '
                                  f'is {frame.width}x{frame.height}')
            try:
                check_mask(tool.segmentation, [frame.height, frame.width])
            except ValueError as error:
                yield Problem('mask', path, record, str(error))
            named = tool.attributes.get('tool', tool.tool)
            if named != tool.tool:
                yield Problem('tool', path, record, f'attributes.tool is "{named}", its category "{tool.tool}"')
            if tool.active and tool.action is None:
                yield Problem('no_action', path, record, tool.tool)
            elif tool.active and tool.action not in actions:
                yield Problem('action', path, record, f'"{tool.action}"')
    videos = {frame.video.id for frame in annotations.frames}
    clips = {frame.clip.id for frame in annotations.frames if frame.clip is not None}
    for video in annotations.videos.values():
        if video.id not in videos:
            yield Problem('empty_video', path, f'video {video.id}', video.name)
    for clip in annotations.clips.values():
        if clip.action is not None and clip.action not in actions:
            yield Problem('action', path, f'clip {clip.id}', f'"{clip.action}"')
        if clip.id not in clips:
            yield Problem('empty_clip', path, f'clip {clip.id}', f'frames {clip.start_frame} to {clip.end_frame}')
    if splits is not None:
        listed = {name for split in SPLIT_NAMES for name in splits.videos(split)}
        for name in sorted({frame.video.name for frame in annotations.frames} - listed):
            yield Problem('no_split', str(annotations.root / 'splits.json'), f'video "{name}"', 'it is not used')


# -- files -----------------------------------------------------------------------------------------------------
Wanted = dict[FrameFile, tuple[Frame, bool]]
"""Pictures to look at, each with the frame that asks for it, and whether it is that frame rather than a neighbour."""


def _files(annotations: Annotations, num_frames: int, spacing: float) -> tuple[Wanted, list[Problem]]:
    """Pictures of all windows that are there, and those that are not."""
    path, root, problems = str(annotations.path), annotations.root, []
    there = _Folders()
    wanted: Wanted = {}
    for frame in annotations.frames:
        record = f'image {frame.image_id} (video "{frame.video.name}", frame {frame.frame_id})'
        try:
            own = frame.file(root)
            if own.path not in there:
                problems.append(Problem('missing', path, record, str(own.path)))
                continue
            files, _ = window_files(frame, root, num_frames, spacing)
        except UserError as error:
            problems.append(Problem('window', path, record, error.what))
            continue
        wanted[own] = frame, True
        for file in dict.fromkeys(files):
            if file.path in there:
                wanted.setdefault(file, (frame, False))
            elif file != own:
                problems.append(Problem('window', path, record, f'{file.path} is missing'))
    return wanted, problems


class _Folders:
    """Whether files exist, asking each folder once."""

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}

    def __contains__(self, path: Path) -> bool:
        if path.parent not in self._names:
            try:
                with os.scandir(path.parent) as entries:
                    self._names[path.parent] = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                self._names[path.parent] = set()
        return path.name in self._names[path.parent]


# -- pictures --------------------------------------------------------------------------------------------------
def _pictures(annotations: Annotations, splits: Splits | None, wanted: Wanted,
              progress: Callable[[int, int], None] | None) -> list[Problem]:
    problems: list[Problem] = []
    hashes: dict[int, np.ndarray] = {}
    done = 0
    for jobs in _in_parallel(_look, _jobs(wanted)):
        for file, result in jobs:
            frame, own = wanted[file]
            record = f'image {frame.image_id} (video "{frame.video.name}", frame {frame.frame_id})'
            if isinstance(result, Problem):
                problems.append(Problem(result.kind, result.file, record, result.what))
            elif result.blank:
                kind = 'blank' if own and any(tool.points for tool in frame.tools) else 'blank_idle' if own else \
                    'blank_neighbour'
                problems.append(Problem(kind, str(file), record, 'nothing is seen in it'))
            elif own:
                hashes[frame.image_id] = result.bits
        done += len(jobs)
        if progress:
            progress(done, len(wanted))
    if splits is not None:
        problems += _near_duplicates(annotations, splits, hashes)
    return problems


@dataclass(frozen=True)
class _Seen:
    blank: bool
    bits: np.ndarray
    """(256,) bool, see :func:`difference_hash`."""


Job = list[tuple[FrameFile, tuple[int, int]]]
"""Frames to decode, with the size that each must have."""


def _jobs(wanted: Wanted) -> Iterator[Job]:
    """Pictures a few at a time; frames of a video file all together, since it is decoded in order."""
    pictures = [(file, (frame.width, frame.height)) for file, (frame, _) in wanted.items() if file.number is None]
    for start in range(0, len(pictures), 16):
        yield pictures[start:start + 16]
    videos: dict[Path, Job] = defaultdict(list)
    for file, (frame, _) in wanted.items():
        if file.number is not None:
            videos[file.path].append((file, (frame.width, frame.height)))
    yield from (sorted(job) for job in videos.values())


def _look(job: Job) -> list[tuple[FrameFile, _Seen | Problem]]:
    from mmpose_surgical.datasets.video_file import VideoFile
    try:
        video = VideoFile(job[0][0].path) if job[0][0].number is not None else None
    except UserError as error:
        return [(file, _of_error('damaged', error, file.path)) for file, _ in job]
    seen: list[tuple[FrameFile, _Seen | Problem]] = []
    for file, size in job:
        try:
            picture = video.read(file.number) if video else file.read()
        except UserError as error:
            seen.append((file, _of_error('damaged', error, file.path)))
            continue
        height, width = picture.shape[:2]
        if (width, height) != size:
            seen.append((file, Problem('size', str(file), '', f'it is {width}x{height}, the record says '
                                       f'{size[0]}x{size[1]}')))
        else:
            grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            spread = cv2.meanStdDev(grey)[1].item()
            seen.append((file, _Seen(spread < BLANK_SPREAD, difference_hash(grey))))
    if video:
        video.close()
    return seen


def _in_parallel(work: Callable, jobs: Iterable) -> Iterator:
    """Results as they come, with few jobs under way, so that memory stays flat."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running: set[Future] = set()
        for job in jobs:
            running.add(pool.submit(work, job))
            if len(running) > 2 * (os.cpu_count() or 1):
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in wait(running).done)


def difference_hash(grey: np.ndarray) -> np.ndarray:
    """Perceptual hash of a grey picture (H, W): (256,) bool, whether each cell of 16x16 is brighter than its left one.

    Scaling, recompression and a change of brightness leave most bits as they are (Krawetz, "dHash").
    """
    # By way of a multiple of the size, from which the mean over areas is fast.
    cells = cv2.resize(cv2.resize(grey, (17 * 8, 16 * 8)), (17, 16), interpolation=cv2.INTER_AREA).astype(int)
    return (cells[:, 1:] > cells[:, :-1]).ravel()


def _near_duplicates(annotations: Annotations, splits: Splits, hashes: dict[int, np.ndarray]) -> Iterator[Problem]:
    """One problem for each two videos of different splits, or folds, that share a picture."""
    folds = [f'fold{k}' for k in range(len(splits.folds))]
    members = {split: [frame for frame in annotations.annotated_frames(splits.videos(split))
                       if frame.image_id in hashes] for split in (*SPLIT_NAMES, *folds)}
    for a, b in (*combinations(SPLIT_NAMES, 2), *combinations(folds, 2)):
        if not (members[a] and members[b]):
            continue
        pairs: dict[tuple[str, str], list[tuple[int, Frame, Frame]]] = defaultdict(list)
        right = np.stack([hashes[frame.image_id] for frame in members[b]]).astype(np.float32) * 2 - 1
        for start in range(0, len(members[a]), 1024):
            rows = members[a][start:start + 1024]
            left = np.stack([hashes[frame.image_id] for frame in rows]).astype(np.float32) * 2 - 1
            # Of 256 bits as +1 and -1, n differ where the product is 256 - 2n.
            differing = (left.shape[1] - left @ right.T) / 2
            for i, j in zip(*np.nonzero(differing <= NEAR_BITS)):
                one, other = rows[i], members[b][j]
                pairs[one.video.name, other.video.name].append((int(differing[i, j]), one, other))
        for (one_name, other_name), found in sorted(pairs.items()):
            bits, one, other = min(found, key=lambda pair: pair[0])
            yield Problem('duplicate', str(annotations.path), f'videos "{one_name}" ({a}) and "{other_name}" ({b})',
                          f'{len(found)} pair(s), e.g. images {one.image_id} and {other.image_id}, which differ in '
                          f'{bits} of 256 bits')
