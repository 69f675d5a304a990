"""Frames of video files by number, through PyAV (no torch in here).

A frame is known by its place in the order of display, whatever the frame rate does: all packets are listed once, which
needs no decoding, and their time stamps in order are the numbers. cv2.VideoCapture seeks by a rate that it takes for
constant, so that its frames may be neighbours of those that were asked for.
"""
from __future__ import annotations

import itertools
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np

from mmpose_surgical.errors import UserError

MAX_OPEN = 8
"""Videos that a process holds open; each has a decoder with its reference pictures."""

_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True)
class VideoIndex:
    """Time stamps of a video's pictures, in its own time base.

    Args:
        pts: (N,) int64, ascending: the n-th is that of frame n.
        keys: (K,) int64, ascending: those at which decoding can begin.
        seconds_per_tick: The time base.
    """
    pts: np.ndarray
    keys: np.ndarray
    seconds_per_tick: float

    @property
    def fps(self) -> float | None:
        """Mean frame rate; ``None`` of a single picture."""
        if len(self.pts) < 2:
            return None
        return float((len(self.pts) - 1) / ((self.pts[-1] - self.pts[0]) * self.seconds_per_tick))

    def time_of(self, number: int) -> float:
        """Seconds from the first frame to this one."""
        return float((self.pts[number] - self.pts[0]) * self.seconds_per_tick)

    @property
    def uneven(self) -> bool:
        """Whether a hundredth of the frames or more last half as long again as, or half as long as, the usual one."""
        steps = np.diff(self.pts)
        usual = np.median(steps) if len(steps) else 0
        return bool(((steps > 1.5 * usual) | (steps < 0.5 * usual)).sum() > len(steps) / 100)


class VideoFile:
    """An open video. Frames are decoded forwards where that is the shortest way, else from the last key picture.

    Args:
        path: Any container and codec that FFmpeg reads.

    Raises:
        UserError: The file is missing, no video, or has no time stamps.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.index = index_of(self.path)
        self._begin()
        self._last: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.index.pts)

    def close(self) -> None:
        self._container.close()

    def read(self, number: int) -> np.ndarray:
        """Decode a frame to BGR uint8 (H, W, 3), turned upright as its rotation flag says.

        Raises:
            UserError: There is no such frame, or it cannot be decoded.
        """
        if not 0 <= number < len(self):
            raise UserError(f'there is no frame {number}', self.path, f'the file has frames 0 to {len(self) - 1}')
        if self._last is None or self._last[0] != number:
            try:
                self._last = number, upright(self._decode(number))
            except av.FFmpegError as error:
                self._restart()
                raise UserError(f'frame {number} cannot be decoded: {error.strerror}', self.path,
                                'restore or convert the file') from None
        return self._last[1].copy()

    def _decode(self, number: int) -> av.VideoFrame:
        wanted = self.index.pts[number]
        # The key picture to begin at, and where that lies among all frames.
        key = int(np.searchsorted(self.index.keys, wanted, side='right')) - 1
        begin = int(np.searchsorted(self.index.pts, self.index.keys[max(key, 0)]))
        if not (self._next <= number and begin <= self._next):
            self._seek(key)
        frame = self._forward(wanted)
        while frame is None and key > 0:
            # The container took us too far, or the key picture was none: begin at an earlier one.
            key -= 1
            self._seek(key)
            frame = self._forward(wanted)
        if frame is None:
            self._restart()
            raise UserError(f'frame {number} is not to be found', self.path,
                            'the file is damaged: restore it, or convert it (ffmpeg -i IN -c:v libx264 OUT.mp4)')
        return frame

    def _seek(self, key: int) -> None:
        if key <= 0:
            self._restart()
        else:
            self._container.seek(int(self.index.keys[key]), stream=self._stream, backward=True)
            self._decoded = self._container.decode(self._stream)

    def _begin(self) -> None:
        """Begin at the first frame, with a fresh decoder."""
        self._container, self._stream = _open(self.path)
        # One thread: data loader workers run several of these beside each other.
        self._stream.codec_context.thread_count = 1
        self._decoded: Iterator[av.VideoFrame] = self._container.decode(self._stream)
        self._next = 0

    def _restart(self) -> None:
        self.close()
        self._begin()

    def _forward(self, wanted: int) -> av.VideoFrame | None:
        """Decode up to the frame with this time stamp; ``None`` if it does not come."""
        for frame in self._decoded:
            if frame.pts is None or frame.pts < wanted:
                continue
            self._next = int(np.searchsorted(self.index.pts, frame.pts)) + 1
            return frame if frame.pts == wanted else None
        self._next = len(self)
        return None


def read_in_order(path: str | Path, start: int = 0) -> Iterator[tuple[int, np.ndarray | None]]:
    """Every frame of a video once, from number ``start`` on, in the order of display.

    Yields:
        Number and picture, BGR uint8 (H, W, 3), ``None`` where a frame cannot be decoded or is flagged as damaged.
        Those behind it keep their numbers; up to the next key picture they may be smeared, since they refer to it.

    Raises:
        UserError: The file is missing, no video, or has no time stamps.
    """
    path = Path(path)
    index = index_of(path)
    wanted = index.pts[min(start, len(index.pts) - 1)]
    key = max(int(np.searchsorted(index.keys, wanted, side='right')) - 1, 0)
    frames = _decoded_from(path, index, key)
    head = next(frames, None)
    back = 1
    while key > 0 and (head is None or head[0] > start):
        # The container took us too far, or what is there cannot be decoded: begin at an earlier one.
        frames.close()
        key, back = max(key - back, 0), 2 * back
        frames = _decoded_from(path, index, key)
        head = next(frames, None)
    due = start
    for number, frame in itertools.chain([head] if head else [], frames):
        if number < due:
            continue
        yield from ((lost, None) for lost in range(due, number))
        due = number + 1
        yield number, upright(frame)
    yield from ((lost, None) for lost in range(due, len(index.pts)))


def _decoded_from(path: Path, index: VideoIndex, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames with their numbers from about a key picture on, but for those that cannot be decoded or are flagged."""
    container, stream = _open(path)
    stream.thread_type = 'AUTO'
    try:
        if key > 0:
            container.seek(int(index.keys[key]), stream=stream, backward=True)
        for frame in _decodable(container, stream):
            number = -1 if frame.pts is None else int(np.searchsorted(index.pts, frame.pts))
            if 0 <= number < len(index.pts) and index.pts[number] == frame.pts and not frame.is_corrupt:
                yield number, frame
    finally:
        container.close()


def _decodable(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Frames of a video in the order of display, past packets that cannot be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return  # the container is cut off here
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


def upright(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as BGR uint8 (H, W, 3), turned as its rotation flag says."""
    picture = frame.to_ndarray(format='bgr24')
    turn = _TURNS.get(round(frame.rotation) % 360)
    return picture if turn is None else cv2.rotate(picture, turn)


def open_video(path: str | Path) -> VideoFile:
    """An open video of this process; at most :data:`MAX_OPEN` stay open, those used last.

    A decoder cannot be shared: what a data loader worker inherited at its fork is left alone and opened anew.
    """
    if _OWNER[0] != os.getpid():
        _OWNER[0] = os.getpid()
        _INHERITED.append(dict(_OPEN))  # closing it would close the parent's
        _OPEN.clear()
    path = Path(path)
    video = _OPEN.pop(path, None)
    if video is None:
        while len(_OPEN) >= MAX_OPEN:
            _OPEN.popitem(last=False)[1].close()
        video = VideoFile(path)
    _OPEN[path] = video
    return video


_OPEN: OrderedDict[Path, VideoFile] = OrderedDict()
_OWNER = [os.getpid()]
_INHERITED: list[dict[Path, VideoFile]] = []


def index_of(path: str | Path) -> VideoIndex:
    """Time stamps of a video. An unchanged file is read once per process, and worker processes inherit that.

    Raises:
        UserError: The file is missing, no video, or has no time stamps.
    """
    path = Path(path)
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f'video cannot be read: {error.strerror}', path, 'restore the file') from None
    return _index(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _index(path: Path, *_state: int) -> VideoIndex:
    container, stream = _open(path)
    try:
        # Some packets serve others alone and are never shown.
        packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(stream)
                   if packet.size and not packet.is_discard]
        base = float(stream.time_base)
    except av.FFmpegError as error:
        raise UserError(f'video cannot be read: {error.strerror}', path, 'restore or convert the file') from None
    finally:
        container.close()
    if not packets or any(pts is None for pts, _ in packets):
        raise UserError('the video has no pictures' if not packets else 'the video has no time stamps', path,
                        'convert it (ffmpeg -i IN -c:v libx264 OUT.mp4)')
    pts = np.array(sorted(pts for pts, _ in packets), np.int64)
    keys = np.array(sorted(pts for pts, is_key in packets if is_key), np.int64)
    return VideoIndex(np.unique(pts), keys if len(keys) else pts[:1], base)


def _open(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f'video cannot be read: {error.strerror}', path, 'restore the file, it is truncated or no '
                        'video') from None
    if not container.streams.video:
        container.close()
        raise UserError('the file has no pictures', path, 'name a video file')
    return container, container.streams.video[0]
