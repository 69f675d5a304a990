"""Pictures and videos to their places in a new data set: copied, scaled or extracted, once."""
from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from mmpose_surgical.datasets.importers.draft import CopyPicture, CopyVideo, Draft, ExtractFrames
from mmpose_surgical.datasets.records import Frame, Tool
from mmpose_surgical.datasets.video_file import index_of, upright
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import write_atomically
from mmpose_surgical.pictures import check_size, read_picture

Failure = tuple[str, str]
"""A picture of the data set that could not be made, and why."""


def place(draft: Draft, out: Path, *, quality: int = 95, short_side: int | None = None,
          progress: Callable[[int, int], None] | None = None) -> None:
    """Make all pictures and videos of a draft; those that are there already are left, so that a cut costs little.

    Args:
        draft: Pictures that cannot be made are dropped from it, with their tools, and counted.
        out: Folder of the data set.
        quality: Of JPEG, 1 to 100.
        short_side: Larger pictures are made this small, points and masks with them; ``None``: as they are.
        progress: Called with pictures done and their number.
    """
    jobs = list(_jobs(draft))
    sizes = {frame.file_name: (frame.width, frame.height) for frame in draft.frames.values()}
    place_job = _Placing(out, sizes, quality, short_side, sum(len(numbers) for _, numbers in jobs), progress)
    failures: list[Failure] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for failed in pool.map(lambda job: place_job(*job), jobs):
                failures += failed
        except BaseException:
            place_job.stopped.set()  # or a long video would be extracted to its end
            pool.shutdown(cancel_futures=True)
            raise
    by_file = {frame.file_name: frame for frame in draft.frames.values()}
    for target, why in failures:
        if target in by_file:
            draft.drop(by_file[target], why, target)
        else:
            draft.skip('neighbouring picture', why, target)
    if short_side is not None:
        for key, frame in draft.frames.items():
            draft.frames[key] = _scaled(frame, _size((frame.width, frame.height), short_side))


Item = CopyPicture | CopyVideo | ExtractFrames


def _jobs(draft: Draft) -> Iterator[tuple[Item, list[int]]]:
    """What is to be placed, and which of its pictures: none twice, since clips may overlap and work is parallel."""
    claimed: dict[str, Item] = {}
    for item in draft.work:
        targets = [item.target(k) for k in range(item.count)] if isinstance(item, ExtractFrames) else [item.target]
        other = claimed.get(targets[0])
        if other is not None and not isinstance(item, ExtractFrames) and other != item:
            raise UserError(f'two files would have one place, {targets[0]}', f'{other.source} and {item.source}',
                            'rename one of them')
        numbers = [k for k, target in enumerate(targets) if target not in claimed]
        claimed.update((target, item) for target in targets)
        if numbers:
            yield item, numbers


class _Placing:
    """Places items, from several threads; returns the pictures of each that failed."""

    def __init__(self, out: Path, sizes: dict[str | None, tuple[int, int]], quality: int, short_side: int | None,
                 total: int, progress: Callable[[int, int], None] | None) -> None:
        self.out, self.sizes, self.quality, self.short_side = out, sizes, quality, short_side
        self.total, self.progress = total, progress
        self.done = 0
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    def __call__(self, item: Item, numbers: list[int]) -> list[Failure]:
        if isinstance(item, ExtractFrames):
            return self._extract(item, numbers)
        target, failures = self.out / item.target, []
        if not target.exists():
            if isinstance(item, CopyVideo):
                write_atomically(target, lambda temporary: shutil.copyfile(item.source, temporary))
            else:
                try:
                    picture = read_picture(item.source)
                    check_size(picture, self.sizes.get(item.target), item.source)
                    _write(picture, target, self.quality, self.short_side, item.source)
                except UserError as error:
                    failures = [(item.target, error.what)]
        self._tell(1)
        return failures

    def _extract(self, item: ExtractFrames, numbers: list[int]) -> list[Failure]:
        waiting = {number for number in numbers if not (self.out / item.target(number)).exists()}
        self._tell(len(numbers) - len(waiting))
        if waiting:
            for number, picture in decode_in_order(item.source):
                if number in waiting:
                    _write(picture, self.out / item.target(number), self.quality, self.short_side, None)
                    waiting.remove(number)
                    self._tell(1)
                if not waiting or self.stopped.is_set():
                    break
        return [(item.target(number), 'it cannot be decoded') for number in sorted(waiting)]

    def _tell(self, count: int) -> None:
        with self.lock:
            self.done += count
            if self.progress:
                self.progress(self.done, self.total)


def decode_in_order(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Number and picture of all frames that can be decoded, numbered as :class:`VideoFile` does."""
    index = index_of(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = 'AUTO'
        try:
            for frame in container.decode(stream):
                number = int(np.searchsorted(index.pts, frame.pts)) if frame.pts is not None else len(index.pts)
                if number < len(index.pts) and index.pts[number] == frame.pts:
                    yield number, upright(frame)
        except av.FFmpegError:
            return  # what is missing is told by who asked for it


def _size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    if short_side is None or min(size) <= short_side:
        return size
    scale = short_side / min(size)
    return round(size[0] * scale), round(size[1] * scale)


def _write(picture: np.ndarray, target: Path, quality: int, short_side: int | None, source: Path | None) -> None:
    """Write a picture; one that keeps its size and comes from a file is that file to the byte."""
    height, width = picture.shape[:2]
    size = _size((width, height), short_side)
    if size == (width, height) and source is not None and source.suffix.lower() == target.suffix:
        write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))
        return
    if size != (width, height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)

    def encode(path: Path) -> None:
        if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality]):
            raise OSError(f'{target.name} could not be encoded')
    write_atomically(target, encode)


def _scaled(frame: Frame, size: tuple[int, int]) -> Frame:
    """A picture's record at another size. Pixel centres stay pixel centres, as cv2.resize has them."""
    if size == (frame.width, frame.height):
        return frame
    sx, sy = size[0] / frame.width, size[1] / frame.height
    tools = [replace(tool, segmentation=_scaled_mask(tool, frame, size), points=[
        replace(point, x=round((point.x + 0.5) * sx - 0.5, 3), y=round((point.y + 0.5) * sy - 0.5, 3))
        for point in tool.points]) for tool in frame.tools]
    return replace(frame, width=size[0], height=size[1], tools=tools)


def _scaled_mask(tool: Tool, frame: Frame, size: tuple[int, int]) -> dict[str, Any] | None:
    mask = tool.mask(frame.height, frame.width)
    if mask is None:
        return None
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return encode_mask(share >= 0.5)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A bool mask (H, W) as COCO's compressed run lengths."""
    from pycocotools import mask as coco_mask
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=list(mask.shape), counts=rle['counts'].decode())
