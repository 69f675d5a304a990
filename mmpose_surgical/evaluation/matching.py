"""One-to-one matching of predicted and ground-truth points (paper section 3.2). NumPy and SciPy only."""
from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

Protocol = Literal['max_pairs', 'global']
PROTOCOLS: tuple[str, ...] = ('max_pairs', 'global')

# A point exactly at the tolerance matches; stretching to the canvas must not push it out by a rounding error.
ROUNDING = 1e-9


class Matches(NamedTuple):
    """Pairs of one-to-one matched points: indices into the two point lists, and their distances."""

    gt: np.ndarray
    """(K,) int64."""
    pred: np.ndarray
    """(K,) int64."""
    distance: np.ndarray
    """(K,) float64, in the unit of the points."""


def to_canvas(xy: np.ndarray, size: np.ndarray, canvas: tuple[float, float] | None) -> np.ndarray:
    """Stretch points from pixels of their own pictures to the canvas, each axis by itself.

    Args:
        xy: (N, 2) points in pixels of the original picture.
        size: (N, 2) or (2,) width and height of each point's picture.
        canvas: width and height of the canvas; ``None`` leaves the points in original pixels.

    Returns:
        (N, 2) float64. Where a pixel's origin lies does not matter: only distances are used.
    """
    xy = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    if canvas is None:
        return xy
    return xy * (np.asarray(canvas, dtype=np.float64) / np.asarray(size, dtype=np.float64))


def match_points(gt: np.ndarray, pred: np.ndarray, tolerance: float,
                 protocol: Protocol = 'max_pairs') -> Matches:
    """Match the points of one landmark type in one frame, one to one.

    Args:
        gt: (n, 2) ground-truth points.
        pred: (m, 2) predicted points, in the same coordinates.
        tolerance: greatest distance of a pair, inclusive; ``inf`` accepts every pair.
        protocol: ``max_pairs`` makes as many pairs within the tolerance as possible and, among those
            solutions, takes the one of least total distance. ``global`` pairs everything by least total
            distance first and drops the pairs beyond the tolerance afterwards.
    """
    gt, pred = np.reshape(gt, (-1, 2)), np.reshape(pred, (-1, 2))
    one_group = (np.zeros(len(points), np.int64) for points in (gt, pred))
    return match_groups(gt, next(one_group), pred, next(one_group), tolerance, protocol)


def match_groups(gt: np.ndarray, gt_group: np.ndarray, pred: np.ndarray, pred_group: np.ndarray,
                 tolerance: float, protocol: Protocol = 'max_pairs') -> Matches:
    """:func:`match_points` in many groups at once; points of different groups never match.

    Args:
        gt: (N, 2) ground-truth points.
        gt_group: (N,) non-negative int, the group (frame and landmark type) of each.
        pred: (M, 2) predicted points.
        pred_group: (M,) likewise.
        tolerance: as in :func:`match_points`.
        protocol: as in :func:`match_points`.

    Returns:
        The matches, ``gt`` ascending. The order of the points within the inputs changes nothing, not even
        between equally good solutions.

    Raises:
        ValueError: unknown protocol, or a tolerance that is negative or NaN.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f'protocol {protocol!r} is not one of {PROTOCOLS}')
    if not tolerance >= 0:
        raise ValueError(f'tolerance {tolerance} is not a distance')
    gt, gt_group = np.asarray(gt, np.float64).reshape(-1, 2), np.asarray(gt_group, np.int64)
    pred, pred_group = np.asarray(pred, np.float64).reshape(-1, 2), np.asarray(pred_group, np.int64)
    n_groups = 1 + max(gt_group.max(initial=-1), pred_group.max(initial=-1))
    # Sorting by place makes the choice between equally good solutions independent of the input order.
    gt_order = np.lexsort((gt[:, 1], gt[:, 0], gt_group))
    pred_order = np.lexsort((pred[:, 1], pred[:, 0], pred_group))
    n_gt, n_pred = (np.bincount(g, minlength=n_groups) for g in (gt_group, pred_group))
    gt_start, pred_start = np.cumsum(n_gt) - n_gt, np.cumsum(n_pred) - n_pred

    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    filled = np.flatnonzero((n_gt > 0) & (n_pred > 0))
    for n, m in np.unique(np.stack([n_gt[filled], n_pred[filled]], axis=1), axis=0):
        groups = filled[(n_gt[filled] == n) & (n_pred[filled] == m)]
        rows = gt_order[gt_start[groups, None] + np.arange(n)]
        cols = pred_order[pred_start[groups, None] + np.arange(m)]
        distance = np.linalg.norm(gt[rows][:, :, None] - pred[cols][:, None], axis=-1)
        b, i, j = _assign(distance, tolerance, protocol)
        found.append((rows[b, i], cols[b, j], distance[b, i, j]))
    pairs = [np.concatenate(part) for part in zip(*found)]
    by_gt = np.argsort(pairs[0])
    return Matches(*(part[by_gt] for part in pairs))


def _assign(distance: np.ndarray, tolerance: float, protocol: Protocol) -> tuple[np.ndarray, ...]:
    """Matched (batch, row, column) indices of (B, n, m) distance matrices."""
    batch, n, m = distance.shape
    limit = tolerance + ROUNDING
    if min(n, m) == 1:
        # One point on one side: both protocols take its nearest, and no solver is needed.
        b, best = np.arange(batch), distance.reshape(batch, -1).argmin(axis=1)
        i, j = np.divmod(best, m)
    else:
        cost = distance
        if protocol == 'max_pairs' and np.isfinite(limit):
            # Every pair within the tolerance earns more than all distances together can cost.
            reward = (min(n, m) + 1) * limit + 1
            cost = np.where(distance <= limit, distance - reward, 0.0)
        solved = [linear_sum_assignment(c) for c in cost]
        i, j = (np.concatenate([s[side] for s in solved]) for side in (0, 1))
        b = np.repeat(np.arange(batch), min(n, m))
    near = distance[b, i, j] <= limit
    return b[near], i[near], j[near]
