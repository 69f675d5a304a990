"""A video with what was predicted drawn into it: points, trail, outline of the mask, heat."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from mmpose_surgical.apis.sources import SourceFrame
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import write_atomically
from mmpose_surgical.prediction.heat import unpack_heat
from mmpose_surgical.visualization.overlays import (
    COLOURS,
    PRIOR_COLOUR,
    caption_bar,
    line_width,
    mark_point,
    relative_size,
)

CODEC = 'libx264'
_LEGEND, _SMOOTHED = 'yellow: tip   blue: anchor', '   cross: as predicted   ring: smoothed'
_TICKS = 90000
"""Of a second: the clock of MPEG, in which the common frame rates are whole numbers."""


class OverlayPainter:
    """Draws the frames of a video in order.

    Args:
        caption: What the bar below the picture says of the whole video, e.g. the model and its prior.
        trail: Seconds for which the places of points stay visible.
        heat: Show the heatmaps that records hold.
        smooth: Records hold smoothed places too, which the legend then names.
    """

    def __init__(self, caption: str, trail: float = 1., heat: bool = False, smooth: bool = False) -> None:
        self.caption, self.trail, self.heat = caption, trail, heat
        self._legend = _LEGEND + (_SMOOTHED if smooth else '')
        self._past: deque[tuple[float, str, int, int]] = deque()
        self._last: np.ndarray | None = None

    def __call__(self, frame: SourceFrame, record: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
        """Draw a frame: (height + bar, width, 3) BGR uint8, of even sides.

        Args:
            frame: The picture; one that cannot be read leaves the last one, darker.
            record: What is known of it, see ``record_of`` in ``prediction/records.py``.
            size: Width and height of the video.
        """
        unit = relative_size(size[0])
        if frame.picture is not None:
            self._last = frame.picture
            canvas = frame.picture.copy()
            self._draw(canvas, record, unit)
        else:
            canvas = np.zeros((size[1], size[0], 3), np.uint8) if self._last is None else self._last // 3
        told = dict(point=self._legend, none='no point', broken='this frame cannot be read')[record['state']]
        lines = [f'{_clock(record["time"])}  #{record["frame"]}   {told}', self.caption]
        return _even(np.vstack([canvas, caption_bar(size[0], unit, lines)]))

    def _draw(self, canvas: np.ndarray, record: dict[str, Any], unit: float) -> None:
        thick, now = line_width(unit), record['time']
        if self.heat and 'heat' in record:
            _tint(canvas, unpack_heat(record['heat']))
        outlines = [np.array(polygon, np.int32).reshape(-1, 1, 2) for polygon in record.get('outline', ())]
        cv2.polylines(canvas, outlines, True, PRIOR_COLOUR, thick, cv2.LINE_AA)
        while self._past and self._past[0][0] < now - self.trail:
            self._past.popleft()
        for time, landmark, x, y in self._past:
            fresh = 1 - (now - time) / self.trail
            cv2.circle(canvas, (x, y), max(1, round(3 * unit * fresh)), COLOURS[landmark], -1, cv2.LINE_AA)
        for point in record['points']:
            place = (point['x'], point['y'])
            if 'x_smooth' in point:
                place = (point['x_smooth'], point['y_smooth'])
                centre = (round(place[0]), round(place[1]))
                cv2.circle(canvas, centre, round(8 * unit), (0, 0, 0), thick + 2, cv2.LINE_AA)
                cv2.circle(canvas, centre, round(8 * unit), COLOURS[point['landmark']], thick, cv2.LINE_AA)
            mark_point(canvas, point['landmark'], point['x'], point['y'], point['score'], unit)
            if self.trail > 0:
                self._past.append((now, point['landmark'], round(place[0]), round(place[1])))


def _tint(canvas: np.ndarray, maps: np.ndarray) -> None:
    """Colour a picture where heatmaps (L, h, w) uint8 are high; all but the last are tips, as in the slots."""
    height, width = canvas.shape[:2]
    for index, levels in enumerate(maps):
        colour = COLOURS['anchor' if index == len(maps) - 1 else 'tip']
        share = cv2.resize(levels, (width, height))[..., None].astype(np.float32) / 255 * 0.7
        canvas[:] = np.rint(canvas * (1 - share) + np.float32(colour) * share).astype(np.uint8)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f'{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:06.3f}'


def _even(picture: np.ndarray) -> np.ndarray:
    """Sides that 4:2:0 colour can have."""
    height, width = picture.shape[:2]
    return cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def write_overlay_video(path: Path, frames: Iterable[tuple[SourceFrame, dict[str, Any]]], painter: OverlayPainter,
                        fps: float, done: Callable[[int], None] = lambda count: None) -> None:
    """Encode the frames of a video with what is drawn into them, each at its own time: H.264 in MP4, without sound.

    Args:
        path: The file, which is there whole or not at all.
        frames: Pictures and records, in order. The first that can be read gives the size.
        painter: Draws them.
        fps: Of the video, for its header; every frame has its own time stamp.
        done: Called with the number of frames so far.

    Raises:
        UserError: This build of PyAV has no H.264, no frame can be read, or the place cannot be written.
    """
    if CODEC not in av.codecs_available:
        raise UserError('PyAV cannot write H.264 here', fix='pip install --force-reinstall --only-binary av av, or '
                        'pass --no-overlay')
    write_atomically(path, lambda temporary: _encode(temporary, frames, painter, fps, done))


def _encode(path: Path, frames: Iterable[tuple[SourceFrame, dict[str, Any]]], painter: OverlayPainter, fps: float,
            done: Callable[[int], None]) -> None:
    waiting: list[tuple[SourceFrame, dict[str, Any]]] = []
    size: tuple[int, int] | None = None
    count, ticks = 0, -1
    with av.open(str(path), 'w', format='mp4', options=dict(movflags='faststart')) as container:
        stream = container.add_stream(CODEC, rate=Fraction(fps).limit_denominator(1001 * 1000))
        stream.pix_fmt = 'yuv420p'
        stream.options = dict(crf='20', preset='veryfast')
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.thread_type = 'AUTO'
        for pair in frames:
            waiting.append(pair)
            if size is None and pair[0].picture is None:
                continue
            size = size or (pair[0].picture.shape[1], pair[0].picture.shape[0])
            for frame, record in waiting:
                drawn = painter(frame, record, size)
                if not count:
                    stream.width, stream.height = drawn.shape[1], drawn.shape[0]
                picture = av.VideoFrame.from_ndarray(drawn, format='bgr24')
                # Of two frames at one time the second is shown a tick later.
                ticks = max(round(record['time'] * _TICKS), ticks + 1)
                picture.pts, picture.time_base = ticks, Fraction(1, _TICKS)
                container.mux(stream.encode(picture))
                count += 1
                done(count)
            waiting = []
        if size is None:
            raise UserError('no frame can be read, so there is nothing to draw into', fix='restore the video, or pass '
                            '--no-overlay')
        container.mux(stream.encode())
