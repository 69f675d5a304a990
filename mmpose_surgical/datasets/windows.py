"""Windows of frames around a target frame."""
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mmpose_surgical.datasets.frame_file import FrameFile
from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.errors import UserError

WindowMode = Literal['centred', 'causal']


def target_position(num_frames: int, mode: WindowMode = 'centred') -> int:
    """Where the target stands in a window of T frames: T // 2 of a centred one, last in a causal one."""
    return num_frames // 2 if mode == 'centred' else num_frames - 1


def frame_step(spacing: float, fps: float) -> int:
    """Frames between neighbours of a window that are ``spacing`` seconds apart; at least one."""
    return max(1, round(spacing * fps))


def window_frame_ids(target: int, num_frames: int, step: int, first: int, last: int,
                     mode: WindowMode = 'centred') -> list[int]:
    """Frame numbers of a window, oldest first, clamped to ``first`` and ``last`` (inclusive).

    The target is at :func:`target_position`.
    """
    offset = target_position(num_frames, mode)
    return [min(max(target + (i - offset) * step, first), last) for i in range(num_frames)]


def window_files(frame: Frame, root: Path, num_frames: int, spacing: float,
                 mode: WindowMode = 'centred') -> tuple[list[FrameFile], int]:
    """Where the frames of a window lie, and the position of the target in it.

    Args:
        frame: The target.
        root: Folder of the data set.
        num_frames: T.
        spacing: Seconds between neighbouring frames of the window; sources differ in frame rate.
        mode: ``centred`` or ``causal``.

    Returns:
        T places and the index of the target. A video that is not dense, or a window of one, gives T times the target.

    Raises:
        UserError: The video is dense but has no frame rate, or nothing leads to its frames.
    """
    return ([frame.file(root, number) for number in window_numbers(frame, root, num_frames, spacing, mode)],
            target_position(num_frames, mode))


def window_numbers(frame: Frame, root: Path, num_frames: int, spacing: float,
                   mode: WindowMode = 'centred') -> list[int]:
    """Frame numbers of the window that :func:`window_files` locates, oldest first.

    Raises:
        UserError: The video is dense but has no frame rate, or nothing leads to its frames.
    """
    if num_frames == 1 or not frame.video.dense:
        return [frame.frame_id] * num_frames
    if frame.video.fps is None:
        raise UserError(f'video "{frame.video.name}" is dense but has no "fps"', root / 'annotations.json',
                        'add "fps" to the video, or set "dense": false')
    return window_frame_ids(frame.frame_id, num_frames, frame_step(spacing, frame.video.fps),
                            *window_ends(frame, root), mode)


def window_ends(frame: Frame, root: Path) -> tuple[int, int]:
    """First and last frame number that a window around a frame of a dense video may hold.

    Raises:
        UserError: Nothing leads to the frames of the video.
    """
    if frame.clip is not None:
        return frame.clip.start_frame, frame.clip.end_frame
    if frame.video.frame_pattern is not None:
        first, last = _frame_range(root, frame.video.frame_pattern)
    elif frame.video.video_file is not None:
        from mmpose_surgical.datasets.video_file import index_of
        first, last = 0, len(index_of(root / frame.video.video_file).pts) - 1
    else:
        raise UserError(f'the frames of video "{frame.video.name}" cannot be located', root / 'annotations.json',
                        'give the video a "frame_pattern" or a "video_file", or set "dense": false')
    # The target stands in its place whatever is there; a picture that is missing is then named as such.
    return min(first, frame.frame_id), max(last, frame.frame_id)


@lru_cache(maxsize=4096)
def _frame_range(root: Path, pattern: str) -> tuple[int, int]:
    """First and last frame number on disk."""
    numbers = pattern_files(root, pattern)
    if not numbers:
        raise UserError('no frame fits the pattern', root / pattern, 'check "frame_pattern" of the video')
    return min(numbers), max(numbers)


def pattern_files(root: Path, pattern: str) -> dict[int, Path]:
    """Files on disk that fit a pattern such as ``frames/v1/{frame_id:06d}.jpg``, by frame number, in their order."""
    folder, name = (root / pattern).parent, Path(pattern).name
    regex = re.compile(re.sub(r'\\{frame_id[^}]*\\}', r'(\\d+)', re.escape(name)))
    found = {int(match[1]): path for path in folder.glob('*') if (match := regex.fullmatch(path.name))}
    return dict(sorted(found.items()))
