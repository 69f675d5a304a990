"""Where frames come from: a video file, a folder of pictures, frames at hand, a camera (no torch in here)."""
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.errors import UserError
from mmpose_surgical.pictures import PICTURE_ENDINGS, read_picture

Picture = np.ndarray | str | Path | None
"""A frame at hand: BGR uint8 (H, W, 3), the path of one, or ``None`` for one that is lost."""


@dataclass(frozen=True)
class SourceFrame:
    """One place in the timeline of a source.

    Args:
        index: Its number, from 0 in the order of display.
        time: Seconds from the first frame.
        picture: BGR uint8 (H, W, 3); ``None`` for a frame that cannot be read, whose place stays.
        problem: Why not.
        name: Of its file, in a folder.
    """
    index: int
    time: float
    picture: np.ndarray | None
    problem: str = ''
    name: str = ''


@dataclass(frozen=True)
class FrameSource:
    """Frames in order of time.

    Args:
        name: For messages.
        fps: Frames per second; ``None`` where nobody knows.
        length: Number of frames; ``None`` where nobody knows.
        read: Gives the frames from an index on; those at hand cannot be had twice, and come from the first on.
        files: The video, or the pictures in their order.
        size: Width and height of the first frame that can be read, where that is known before.
        uneven: Whether ``fps`` is the mean of a rate that varies.
    """
    name: str
    fps: float | None
    length: int | None
    read: Callable[[int], Iterator[SourceFrame]]
    files: tuple[Path, ...] = ()
    size: tuple[int, int] | None = None
    uneven: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether each frame is a file of its own."""
        return bool(self.files) and self.files[0].suffix.lower() in PICTURE_ENDINGS

    def frames(self, start: int = 0) -> Iterator[SourceFrame]:
        """Frames from ``start`` on. One of another size than the first of the source that can be read is broken."""
        size = self.size
        for frame in self.read(start):
            if frame.picture is not None:
                own = frame.picture.shape[1], frame.picture.shape[0]
                size = size or own
                if own != size:
                    told = f'the picture is {own[0]}x{own[1]}, the first is {size[0]}x{size[1]}'
                    frame = replace(frame, picture=None, problem=told)
            if frame.index >= start:
                yield frame

    def readable_before(self, number: int) -> int:
        """The last frame up to this one that can be read; the first of the source if none can, or if it has no files.

        What a stream that begins in the middle must begin with: a frame that cannot be read is known by the one before.
        """
        if not self.files:
            return 0
        low = number = min(number, self.length - 1)
        while True:
            window = itertools.islice(self.frames(low), number + 1 - low)
            if good := [frame.index for frame in window if frame.picture is not None]:
                return good[-1]
            if low == 0:
                return 0
            low = max(low - (number + 1 - low), 0)  # twice as many


def open_source(source: 'FrameSource | str | Path | int | Iterable[Picture]', fps: float | None = None) -> FrameSource:
    """A source of frames.

    Args:
        source: A video file; a folder of pictures, in the order of the numbers in their names; a list or generator of
            frames; or the number of a camera. All frames have the size of the first that can be read; others count as
            broken.
        fps: Frames per second of what does not know it itself: folders and frames at hand. A camera's own, if it tells
            any, is overruled.

    Raises:
        UserError: There is no such thing, it holds no frame, or ``fps`` contradicts a video.
    """
    if fps is not None and not 0.01 <= fps <= 1000:
        raise UserError(f'fps is {fps}', fix='give the frames per second, 0.01 to 1000')
    if isinstance(source, FrameSource):
        return source if fps is None else replace(source, fps=fps)
    if isinstance(source, int) and not isinstance(source, bool):
        return _camera(source, fps)
    if not isinstance(source, (str, Path)):
        return _at_hand(source, fps)
    path = Path(source)
    if path.is_dir():
        return _folder(path, fps)
    if not path.is_file():
        raise UserError('there is no such video or folder', path, 'check the path')
    if path.suffix.lower() in PICTURE_ENDINGS:
        raise UserError('this is one picture', path, 'name its folder, or a video')
    return _video(path, fps)


def _video(path: Path, fps: float | None) -> FrameSource:
    from mmpose_surgical.datasets.video_file import index_of, read_in_order
    index = index_of(path)  # a single picture has no rate
    if fps is not None and index.fps is not None:
        raise UserError('a video knows its own frame rate', path, 'leave fps out')

    def read(start: int) -> Iterator[SourceFrame]:
        for number, picture in read_in_order(path, start):
            yield SourceFrame(number, index.time_of(number), picture,
                              '' if picture is not None else 'the frame cannot be decoded')

    return _sized(FrameSource(_text(path), index.fps or fps, len(index.pts), read, (path, ), uneven=index.uneven))


def _folder(path: Path, fps: float | None) -> FrameSource:
    files = sorted((file for file in path.iterdir() if file.suffix.lower() in PICTURE_ENDINGS and file.is_file()
                    and not file.name.startswith('.')), key=_by_numbers)
    if not files:
        raise UserError('no pictures in the folder', path,
                        f'put frames there ({", ".join(PICTURE_ENDINGS)}), or name a video')

    def read(start: int) -> Iterator[SourceFrame]:
        return (_read(number, file, fps) for number, file in enumerate(files[start:], start))

    return _sized(FrameSource(_text(path), fps, len(files), read, tuple(files)))


def _text(path: Path) -> str:
    """The name of a file or folder, which need not be text, as something that can be printed."""
    return path.name.encode(errors='backslashreplace').decode()


def _sized(source: FrameSource) -> FrameSource:
    """The same with the size of its first frame that can be read, wherever reading begins then."""
    sizes = (frame.picture.shape[1::-1] for frame in source.read(0) if frame.picture is not None)
    return replace(source, size=next(sizes, None))


def _by_numbers(file: Path) -> tuple:
    """Sorts frame2 before frame10."""
    parts = re.split(r'([0-9]+)', file.name)  # numbers are every second part
    return tuple((int(part), '') if odd else (-1, part) for odd, part in zip(itertools.cycle((0, 1)), parts)), file.name


def _read(number: int, frame: Picture, fps: float | None) -> SourceFrame:
    seconds = number / fps if fps else 0.
    if frame is None:
        return SourceFrame(number, seconds, None, 'no picture was given')
    if not isinstance(frame, np.ndarray):
        try:
            return SourceFrame(number, seconds, read_picture(frame), name=Path(frame).name)
        except UserError as error:
            return SourceFrame(number, seconds, None, error.what, Path(frame).name)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise UserError(f'the picture is {frame.dtype} of shape {frame.shape}, not uint8 (height, width, 3)',
                        f'frame {number}', 'convert it, e.g. with cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)')
    return SourceFrame(number, seconds, frame)


def _at_hand(frames: Iterable[Picture], fps: float | None) -> FrameSource:
    try:
        iter(frames)
    except TypeError:
        raise UserError(f'{type(frames).__name__} is no source of frames',
                        fix='give a video file, a folder, a list or generator of frames, or a camera number') from None

    def read(start: int) -> Iterator[SourceFrame]:
        return (_read(number, frame, fps) for number, frame in enumerate(frames))

    length = len(frames) if hasattr(frames, '__len__') else None
    return FrameSource('frames', fps, length, read)


def _camera(number: int, fps: float | None) -> FrameSource:
    """Live frames with the time at which they came; a camera has no end, so break off the loop."""
    camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        raise UserError(f'camera {number} cannot be opened', fix='check the connection and who else uses it')

    def read(start: int) -> Iterator[SourceFrame]:
        begin = time.monotonic()
        try:
            index = 0
            while True:
                found, picture = camera.read()
                if not found:
                    return
                yield SourceFrame(index, time.monotonic() - begin, picture)
                index += 1
        finally:
            camera.release()

    return FrameSource(f'camera {number}', fps or camera.get(cv2.CAP_PROP_FPS) or None, None, read)
