"""Precision, recall, F1 and localisation error per action and landmark (paper section 3.2, Tables 2 and 3).

Everything is counted from one flat table of matched and unmatched points, so "overall" is a micro aggregate
over landmark instances and F1 always follows from the counts.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmpose_surgical.datasets.annotations import LANDMARKS, Frame
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.matching import PROTOCOLS, Protocol, match_groups, to_canvas
from mmpose_surgical.evaluation.predictions import Predictions

TOLERANCE = 15.0
CANVAS = (640, 480)
OVERALL, AMBIGUOUS, NOTHING_ACTS, UNNAMED = 'overall', 'ambiguous', 'none', 'unnamed'
RESERVED = {OVERALL, AMBIGUOUS, NOTHING_ACTS}

ScoreThreshold = float | Mapping[str, float | None] | None


@dataclass(frozen=True)
class PointTable:
    """Ground-truth and predicted points of the frames that count, on the canvas, in flat arrays.

    ``*_frame`` (N,) indexes ``frames``, ``*_landmark`` (N,) indexes ``landmarks``, ``*_xy`` is (N, 2) canvas
    pixels, ``gt_action`` (N,) is the action of a ground-truth point and ``frame_action`` (F,) the one that an
    unmatched prediction of the frame is counted under, both as indices into ``actions``.
    """

    frames: list[Frame]
    landmarks: tuple[str, ...]
    actions: tuple[str, ...]
    frame_action: np.ndarray
    gt_frame: np.ndarray
    gt_landmark: np.ndarray
    gt_action: np.ndarray
    gt_xy: np.ndarray
    pred_frame: np.ndarray
    pred_landmark: np.ndarray
    pred_xy: np.ndarray
    pred_score: np.ndarray
    ignored: dict[str, int]

    @property
    def gt_group(self) -> np.ndarray:
        """(N,) one number per frame and landmark: points match within it only."""
        return self.gt_frame * len(self.landmarks) + self.gt_landmark

    @property
    def pred_group(self) -> np.ndarray:
        """(P,) likewise."""
        return self.pred_frame * len(self.landmarks) + self.pred_landmark


def evaluate(frames: Sequence[Frame], predictions: Predictions, *, tolerance: float = TOLERANCE,
             canvas: tuple[float, float] | None = CANVAS, score_thr: ScoreThreshold = None,
             visible_only: bool = False, complete_only: bool = False, protocol: Protocol = 'max_pairs',
             landmarks: Sequence[str] = LANDMARKS, known_images: Collection[int] = ()) -> dict[str, Any]:
    """Evaluate predictions against the annotated frames.

    Args:
        frames: frames of the evaluated split; those that are not annotated do not count.
        predictions: the points of any method.
        tolerance: greatest distance of a match, inclusive, in canvas pixels.
        canvas: (width, height) that every picture is stretched to, each axis by itself; ``None`` keeps
            original pixels.
        score_thr: points below it are dropped; one number, or one per landmark (``None``: no threshold).
        visible_only: ground truth with v = 2 only, instead of v > 0.
        complete_only: count only frames whose acting tools show a tip and an anchor, all points visible.
        protocol: see :func:`~mmpose_surgical.evaluation.matching.match_points`.
        landmarks: landmark types that the data set annotates; predictions of others are ignored and counted.
        known_images: image ids outside ``frames`` (other splits) whose predictions are ignored and counted.

    Returns:
        ``{meta, results, active_tool_accuracy, false_points_per_idle_minute}``. ``results[action][landmark]``
        holds tp, fp, fn, precision, recall, f1 (fractions), l2 and l2_median over matched pairs, and
        l2_assigned over all pairs of least total distance without a tolerance (canvas pixels). What is
        undefined (0/0) is ``None``.

    Raises:
        UserError: predictions for unknown images, or an action with a reserved name.
    """
    predictions = apply_threshold(predictions, score_thr)
    table = build_table(frames, predictions, canvas=canvas, visible_only=visible_only,
                        complete_only=complete_only, landmarks=landmarks, known_images=known_images)
    matches = match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group, tolerance, protocol)
    idle = np.array([not f.active_tools for f in table.frames], dtype=bool)
    return {
        'meta': {
            'tolerance': tolerance,
            'canvas': None if canvas is None else list(canvas),
            'protocol': protocol,
            'visible_only': visible_only,
            'complete_only': complete_only,
            'threshold': dict(score_thr) if isinstance(score_thr, Mapping) else score_thr,
            'frames': len(table.frames),
            'idle_frames': int(idle.sum()),
            'ignored_predictions': table.ignored,
            'groups_where_protocols_differ': _protocols_differ(table, tolerance),
        },
        'results': _count(table, matches.gt, matches.pred, matches.distance),
        'active_tool_accuracy': _active_tool_accuracy(table, canvas),
        'false_points_per_idle_minute': _idle_minute(table, idle),
    }


def apply_threshold(predictions: Predictions, score_thr: ScoreThreshold) -> Predictions:
    """Keep the points whose score is at least the threshold (of their landmark)."""
    if score_thr is None:
        return predictions
    if not isinstance(score_thr, Mapping):
        return predictions.select(predictions.score >= score_thr)
    keep = np.ones(len(predictions), dtype=bool)
    for landmark, threshold in score_thr.items():
        if threshold is not None:
            keep &= (predictions.landmark != landmark) | (predictions.score >= threshold)
    return predictions.select(keep)


def build_table(frames: Sequence[Frame], predictions: Predictions, *,
                canvas: tuple[float, float] | None = CANVAS, visible_only: bool = False,
                complete_only: bool = False, landmarks: Sequence[str] = LANDMARKS,
                known_images: Collection[int] = ()) -> PointTable:
    """Lay out the points of the frames that count; arguments and errors as in :func:`evaluate`."""
    landmarks = tuple(landmarks)
    counted = [f for f in frames if f.annotated and (not complete_only or _is_complete(f))]
    actions: dict[str, int] = {}
    frame_action = np.zeros(len(counted), dtype=np.int64)
    used: set[str] = set()
    rows: list[tuple[int, int, int]] = []
    xy: list[tuple[float, float]] = []
    for index, frame in enumerate(counted):
        acting = [(tool, _action(tool, frame)) for tool in frame.active_tools]
        names = {action for _, action in acting}
        used |= names
        name = NOTHING_ACTS if not names else AMBIGUOUS if len(names) > 1 else names.pop()
        frame_action[index] = actions.setdefault(name, len(actions))
        for tool, action in acting:
            for point in tool.points:
                if point.landmark in landmarks and (point.v == 2 or not visible_only):
                    code = actions.setdefault(action, len(actions))
                    rows.append((index, landmarks.index(point.landmark), code))
                    xy.append((point.x, point.y))
    if used & RESERVED:
        raise UserError(f'actions are called {sorted(used & RESERVED)}, but these name rows of the result',
                        None, 'rename these actions in the annotations')
    gt_frame, gt_landmark, gt_action = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    size = np.array([(f.width, f.height) for f in counted], dtype=np.float64).reshape(-1, 2)
    predictions, pred_frame, ignored = _place(predictions, frames, counted, landmarks, known_images)
    pred_landmark = np.zeros(len(predictions), dtype=np.int64)
    for code, name in enumerate(landmarks):
        pred_landmark[predictions.landmark == name] = code
    gt_xy = to_canvas(np.array(xy, dtype=np.float64), size[gt_frame], canvas)
    pred_xy = to_canvas(predictions.xy, size[pred_frame], canvas)
    return PointTable(counted, landmarks, tuple(actions), frame_action, gt_frame, gt_landmark, gt_action,
                      gt_xy, pred_frame, pred_landmark, pred_xy, predictions.score, ignored)


def _place(predictions: Predictions, frames: Sequence[Frame], counted: list[Frame],
           landmarks: tuple[str, ...], known_images: Collection[int],
           ) -> tuple[Predictions, np.ndarray, dict[str, int]]:
    """The predictions that count, the (P,) index of each one's frame, and how many were ignored and why."""
    index = {frame.image_id: i for i, frame in enumerate(counted)}
    listed, outside = {f.image_id for f in frames}, set(known_images)
    ids, inverse = np.unique(predictions.image_id, return_inverse=True)
    unknown = [f'image {i}' for i in ids.tolist() if i not in listed and i not in outside]
    if unknown:
        raise UserError(f'{len(unknown)} predicted image id(s) are not in the annotations: '
                        f'{list_problems(unknown)}', 'predictions',
                        'evaluate against the annotation file that they belong to')
    pred_frame = np.array([index.get(i, -1) for i in ids.tolist()], dtype=np.int64)[inverse]
    in_frames = np.array([i in listed for i in ids.tolist()], dtype=bool)[inverse]
    annotated = np.isin(predictions.landmark, landmarks)
    ignored = {'outside_split': int((~in_frames).sum()),
               'frame_does_not_count': int((in_frames & (pred_frame < 0)).sum()),
               'landmark_not_annotated': int(((pred_frame >= 0) & ~annotated).sum())}
    keep = (pred_frame >= 0) & annotated
    return predictions.select(keep), pred_frame[keep], ignored


def _protocols_differ(table: PointTable, tolerance: float) -> int:
    """Number of frame x landmark groups whose pairs differ, in number or total distance."""
    sums = []
    for protocol in PROTOCOLS:
        found = match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group, tolerance,
                             protocol)
        # A pair more weighs more than any difference in distance.
        sums.append(np.bincount(table.gt_group[found.gt], found.distance + 1e6,
                                minlength=len(table.frames) * len(table.landmarks)))
    return int((np.abs(sums[0] - sums[1]) > 1e-6).sum())


def _action(tool: Any, frame: Frame) -> str:
    """The action of an acting tool: its own, else its clip's."""
    return tool.action or (frame.clip.action if frame.clip else None) or UNNAMED


def _is_complete(frame: Frame) -> bool:
    points = [p for tool in frame.active_tools for p in tool.points]
    return {p.landmark for p in points} >= set(LANDMARKS) and all(p.v == 2 for p in points)


def _count(table: PointTable, gt: np.ndarray, pred: np.ndarray, distance: np.ndarray) -> dict[str, Any]:
    """Counts and measures per action and landmark from the matched pairs (indices into the table)."""
    assigned = match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group, np.inf, 'global')
    missed = np.ones(len(table.gt_frame), dtype=bool)
    missed[gt] = False
    false = np.ones(len(table.pred_frame), dtype=bool)
    false[pred] = False
    pred_action = table.frame_action[table.pred_frame]
    codes = sorted((name in RESERVED, name, code) for code, name in enumerate(table.actions))
    results: dict[str, Any] = {}
    for name, code in [(OVERALL, None), *((name, code) for _, name, code in codes)]:
        row = {}
        for k, landmark in enumerate(table.landmarks):
            of_gt = (table.gt_landmark == k) & (code is None or table.gt_action == code)
            of_pred = (table.pred_landmark == k) & (code is None or pred_action == code)
            row[landmark] = {**_rates(int((~missed & of_gt).sum()), int((false & of_pred).sum()),
                                      int((missed & of_gt).sum())),
                             'l2': _average(distance[of_gt[gt]], np.mean),
                             'l2_median': _average(distance[of_gt[gt]], np.median),
                             'l2_assigned': _average(assigned.distance[of_gt[assigned.gt]], np.mean)}
        if code is None or any(cell['tp'] + cell['fp'] + cell['fn'] for cell in row.values()):
            results[name] = row
    return results


def _rates(tp: int, fp: int, fn: int) -> dict[str, Any]:
    return {'tp': tp, 'fp': fp, 'fn': fn, 'precision': _share(tp, tp + fp), 'recall': _share(tp, tp + fn),
            'f1': _share(2 * tp, 2 * tp + fp + fn)}


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _average(values: np.ndarray, of: Any) -> float | None:
    return float(of(values)) if len(values) else None


def _active_tool_accuracy(table: PointTable, canvas: tuple[float, float] | None) -> dict[str, Any]:
    """Share of frames whose best tip is strictly nearer to the acting tool than to any other.

    Frames with exactly one acting tool and at least one other tool, both with points (v > 0, tips and
    anchor), ask the question; a frame without a predicted tip counts as wrong. Equal scores are decided by
    place.
    """
    best: dict[int, np.ndarray] = {}
    if 'tip' in table.landmarks:
        tips = np.flatnonzero(table.pred_landmark == table.landmarks.index('tip'))
        x, y = table.pred_xy[tips].T
        for row in tips[np.lexsort((-y, -x, table.pred_score[tips]))]:
            best[table.pred_frame[row]] = table.pred_xy[row]
    frames = answered = correct = 0
    for index, frame in enumerate(table.frames):
        acting = frame.active_tools
        others = [p for tool in frame.tools if not tool.active for p in tool.points]
        if len(acting) != 1 or not acting[0].points or not others:
            continue
        frames += 1
        if index in best:
            answered += 1
            points = np.array([(p.x, p.y) for p in (*acting[0].points, *others)])
            points = to_canvas(points, (frame.width, frame.height), canvas)
            away = np.hypot(*(points - best[index]).T)
            split = len(acting[0].points)
            correct += bool(away[:split].min() < away[split:].min())
    return {'accuracy': _share(correct, frames), 'answered': _share(answered, frames), 'frames': frames}


def _idle_minute(table: PointTable, idle: np.ndarray) -> dict[str, Any]:
    """False points per minute of video in which nothing acts, per landmark and in ``all``.

    Mean over the idle frames of dense videos with a known rate of points x fps x 60.
    """
    fps = np.array([f.video.fps if f.video.dense and f.video.fps else 0.0 for f in table.frames])
    rate = np.where(idle, fps, 0.0)
    frames = int((rate > 0).sum())
    weight = rate[table.pred_frame] * 60
    names = [('all', np.ones(len(weight), dtype=bool)),
             *((name, table.pred_landmark == k) for k, name in enumerate(table.landmarks))]
    return {**{name: _share(float(weight[of].sum()), frames) for name, of in names}, 'frames': frames}
