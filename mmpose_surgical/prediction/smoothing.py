"""Smoothing of points over time, beside the raw ones (no torch in here)."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.matching import match_points

MIN_CUTOFF, BETA = 1.0, 0.02
"""Defaults for points, in Hz and in Hz for each pixel per second of a picture 640 wide."""


@dataclass
class OneEuroFilter:
    """A low-pass filter whose cutoff rises with speed (Casiez, Roussel and Vogel, CHI 2012).

    Args:
        min_cutoff: Hz at rest; lower is smoother and lags more.
        beta: Hz for each unit per second of speed; higher lags less in motion.
        speed_cutoff: Hz of the filter on the speed.
    """
    min_cutoff: float = MIN_CUTOFF
    beta: float = BETA
    speed_cutoff: float = 1.0
    _time: float | None = None
    _value: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _speed: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __call__(self, value: np.ndarray, time: float) -> np.ndarray:
        """The smoothed value (D,) of a measurement (D,) at a time in seconds, later than that of the last."""
        value = np.asarray(value, np.float64)
        if self._time is None:
            self._time, self._value, self._speed = time, value, np.zeros_like(value)
            return value
        gap = time - self._time
        if gap <= 0:
            raise ValueError(f'time went from {self._time} to {time}')
        self._speed += _share(self.speed_cutoff, gap) * ((value - self._value) / gap - self._speed)
        cutoff = self.min_cutoff + self.beta * float(np.linalg.norm(self._speed))
        self._value = self._value + _share(cutoff, gap) * (value - self._value)
        self._time = time
        return self._value


def _share(cutoff: float, gap: float) -> float:
    """What the new value weighs in a first-order low-pass filter."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * gap))


@dataclass
class _Track:
    landmark: str
    filter: OneEuroFilter
    xy: np.ndarray
    time: float


class PointSmoother:
    """One-Euro filters on the points of a video. Points have no names beyond their landmark: tracks tell them apart.

    A point goes on with the nearest track of its landmark, all points of a frame together at the least distance; one
    that is farther than ``reach`` from all, and one after a gap of ``patience``, begins a new track and is its own
    smoothed place.

    Args:
        width: Of the picture in pixels; distances and speeds are those of a picture 640 wide.
        min_cutoff: See :class:`OneEuroFilter`, for pixels.
        beta: See :class:`OneEuroFilter`, for pixels.
        reach: Farthest step of a track from one frame to the next, in pixels.
        patience: Seconds for which a track waits for its point.

    Raises:
        UserError: A parameter makes no sense.
    """

    def __init__(self, width: int, min_cutoff: float = MIN_CUTOFF, beta: float = BETA, reach: float = 60.,
                 patience: float = 0.25) -> None:
        if not (0 < min_cutoff < math.inf and 0 <= beta < math.inf):
            raise UserError(f'smoothing with a cutoff of {min_cutoff} Hz and beta {beta}',
                            fix='give a cutoff above 0 and a beta of 0 or more')
        self.scale = 640 / width
        self.min_cutoff, self.beta, self.reach, self.patience = min_cutoff, beta, reach, patience
        self._tracks: list[_Track] = []

    def __call__(self, points: list[dict[str, Any]], time: float) -> list[dict[str, Any]]:
        """Points of the next frame with ``x_smooth`` and ``y_smooth`` besides; ``x`` and ``y`` stay as they are."""
        self._tracks = [track for track in self._tracks if time - track.time <= self.patience]
        smoothed = [dict(point) for point in points]
        for landmark in {point['landmark'] for point in points}:
            mine = [point for point in smoothed if point['landmark'] == landmark]
            tracks = [track for track in self._tracks if track.landmark == landmark]
            places = np.array([(point['x'], point['y']) for point in mine]) * self.scale
            pairs = match_points(places, np.array([track.xy for track in tracks]), self.reach)
            own = dict(zip(pairs.gt.tolist(), pairs.pred.tolist()))
            for row, (point, place) in enumerate(zip(mine, places)):
                if row in own:
                    track = tracks[own[row]]
                else:
                    track = _Track(landmark, OneEuroFilter(self.min_cutoff, self.beta), place, time)
                    self._tracks.append(track)
                track.xy, track.time = place, time
                x, y = track.filter(place, time) / self.scale
                point.update(x_smooth=float(x), y_smooth=float(y))
        return smoothed
