"""What one threshold and one tolerance do not show: curves, average precision, calibration of the score, jitter."""
from __future__ import annotations

from typing import Any

import numpy as np

from mmpose_surgical.evaluation.evaluator import Matched
from mmpose_surgical.evaluation.matching import match_groups
from mmpose_surgical.evaluation.thresholds import sweep

TOLERANCES = (5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0, 22.5, 25.0, 27.5, 30.0)
BINS = 10
CURVE_POINTS = 101
MAX_GAP = 0.5
"""Seconds: frames further apart say nothing of jitter."""


def tolerance_curve(matched: Matched) -> tuple[dict[str, Any], np.ndarray]:
    """Micro F1 per landmark at each of :data:`TOLERANCES`, in canvas pixels, by the same points and protocol.

    Returns:
        ``{tolerance: [...], landmark: [f1, ...]}``, and the (S, V, L, T, 2) parts and wholes that F1 is the ratio of.
    """
    table = matched.table
    counts = np.zeros((table.seeds, len(table.videos), len(table.landmarks), len(TOLERANCES), 2))

    def add(tolerance: int | slice, which: int, frame: np.ndarray, landmark: np.ndarray, weight: int) -> None:
        np.add.at(counts[:, :, :, tolerance, which], (table.frame_seed[frame], table.frame_video[frame], landmark),
                  weight)
    add(slice(None), 1, table.gt_frame, table.gt_landmark, 1)
    add(slice(None), 1, table.pred_frame, table.pred_landmark, 1)
    for number, tolerance in enumerate(TOLERANCES):
        found = match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group, tolerance,
                             matched.rules.protocol)
        add(number, 0, table.gt_frame[found.gt], table.gt_landmark[found.gt], 2)
    sums = counts.sum(axis=(0, 1))
    return {'tolerance': list(TOLERANCES), **{
        landmark: [part / whole if whole else None for part, whole in sums[k].tolist()]
        for k, landmark in enumerate(table.landmarks)}}, counts


def average_precision(matched: Matched) -> dict[str, float | None]:
    """Area under precision over recall as the score threshold falls, per landmark: sum of recall steps x precision.

    The definition of scikit-learn: no interpolation. At every distinct score the points above are matched anew.

    Args:
        matched: all points of the method, without a threshold.
    """
    areas: dict[str, float | None] = {}
    for k, landmark in enumerate(matched.table.landmarks):
        _, tp, kept, wanted = _falling_threshold(matched, k)
        areas[landmark] = float((np.diff(tp, prepend=0) * tp / kept).sum() / wanted) if wanted else None
    return areas


def score_curve(matched: Matched) -> dict[str, Any]:
    """Precision, recall and F1 as the score threshold falls, per landmark that has ground truth and predictions.

    Args:
        matched: all points of the method, without a threshold.

    Returns:
        ``{landmark: {score, precision, recall, f1}}``, lists of at most :data:`CURVE_POINTS` values.
    """
    found: dict[str, Any] = {}
    for k, landmark in enumerate(matched.table.landmarks):
        score, tp, kept, wanted = _falling_threshold(matched, k)
        if not wanted or not len(score):
            continue
        shown = np.unique(np.linspace(0, len(score) - 1, CURVE_POINTS).round().astype(int))
        score, tp, kept = score[shown], tp[shown], kept[shown]
        found[landmark] = {'score': score.tolist(), 'precision': (tp / kept).tolist(),
                           'recall': (tp / wanted).tolist(), 'f1': (2 * tp / (kept + wanted)).tolist()}
    return found


def _falling_threshold(matched: Matched, landmark: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """:func:`sweep` over the points of one landmark, and the number of its ground-truth points."""
    table, rules = matched.table, matched.rules
    gt, pred = table.gt_landmark == landmark, table.pred_landmark == landmark
    return *sweep(table.gt_xy[gt], table.gt_frame[gt], table.pred_xy[pred], table.pred_frame[pred],
                  table.pred_score[pred], rules.tolerance, rules.protocol), int(gt.sum())


def calibration(matched: Matched) -> dict[str, Any]:
    """How often points of a score are right: reliability bins and the expected calibration error, per landmark.

    ``precision`` of a bin is the share of its points that match; ``ece`` is the mean distance between precision and
    mean score over the points. A landmark with scores outside of 0 to 1, which are no probabilities, is not in the
    result.

    Args:
        matched: all points of the method, without a threshold.
    """
    table = matched.table
    edges = np.arange(BINS + 1) / BINS
    found: dict[str, Any] = {}
    for k, landmark in enumerate(table.landmarks):
        of = table.pred_landmark == k
        score, right = table.pred_score[of], ~matched.false[of]
        if len(score) and not 0 <= score.min() <= score.max() <= 1:
            continue
        place = np.clip(np.searchsorted(edges, score, side='right') - 1, 0, BINS - 1)
        count, hits, sums = (np.bincount(place, weights, BINS) for weights in (None, right, score))
        found[landmark] = {
            'edges': edges.tolist(),
            'precision': [h / n if n else None for h, n in zip(hits.tolist(), count.tolist())],
            'mean_score': [s / n if n else None for s, n in zip(sums.tolist(), count.tolist())],
            'count': count.tolist(),
            'ece': float(np.abs(hits - sums).sum() / len(score)) if len(score) else None}
    return found


def jitter(matched: Matched) -> dict[str, float | None]:
    """Mean change of the error vector from one annotated frame to the next, per landmark, in canvas pixels.

    The error vector is predicted minus true place of a matched point, so that neither the motion of the tool nor a
    constant offset is jitter. Counted are landmarks of a tool that match in two successive annotated frames of the
    same clip of a dense video, at most :data:`MAX_GAP` seconds apart. Independent errors of standard deviation s per
    axis give sqrt(pi) s. ``None`` where no two frames are that near.
    """
    table, (gt, pred, _) = matched.table, matched.matches
    frames = table.frames
    fps = np.array([f.video.fps if f.video.dense and f.video.fps else 0.0 for f in frames])
    number = np.array([f.frame_id for f in frames], dtype=np.int64)
    seen = _order_in_clip(matched)
    known = table.gt_track[gt] >= 0
    gt, error = gt[known], (table.pred_xy[pred] - table.gt_xy[gt])[known]
    frame, track = table.gt_frame[gt], table.gt_track[gt]
    order = np.lexsort((number[frame], track, table.frame_seed[frame]))
    frame, track, error, landmark = frame[order], track[order], error[order], table.gt_landmark[gt][order]
    before, after = frame[:-1], frame[1:]
    pair = (track[:-1] == track[1:]) & (table.frame_seed[before] == table.frame_seed[after])
    pair &= (seen[after] - seen[before] == 1) & (number[after] - number[before] <= MAX_GAP * fps[after])
    change = np.linalg.norm(np.diff(error, axis=0), axis=1)
    return {name: float(change[of].mean()) if (of := pair & (landmark[1:] == k)).any() else None
            for k, name in enumerate(table.landmarks)}


def _order_in_clip(matched: Matched) -> np.ndarray:
    """(F,) position of each frame among the annotated ones of its clip."""
    clips: dict[tuple, list[int]] = {}
    for index, (frame, seed) in enumerate(zip(matched.table.frames, matched.table.frame_seed.tolist())):
        clips.setdefault((seed, frame.video.id, frame.clip and frame.clip.id), []).append(index)
    seen = np.zeros(len(matched.table.frames), dtype=np.int64)
    for own in clips.values():
        for position, index in enumerate(sorted(own, key=lambda i: matched.table.frames[i].frame_id)):
            seen[index] = position
    return seen
