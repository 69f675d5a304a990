"""Precision, recall, F1 and localisation error per action and landmark (paper section 3.2, Tables 2 and 3).

Everything is counted from one flat table of matched and unmatched points, so "overall" is a micro aggregate
over landmark instances and F1 always follows from the counts.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mmpose_surgical.datasets.annotations import LANDMARKS
from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.evaluation.matching import PROTOCOLS, Matches, Protocol, match_groups, to_canvas
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.evaluation.table import CANVAS, OVERALL, RESERVED, PointTable, build_table, join_seeds

TOLERANCE = 15.0

ScoreThreshold = float | Mapping[str, float | None] | None


@dataclass(frozen=True)
class Rules:
    """What counts and what matches.

    Args:
        tolerance: greatest distance of a match, inclusive, in canvas pixels.
        canvas: (width, height) that every picture is stretched to, each axis by itself; ``None`` keeps
            original pixels.
        visible_only: ground truth with v = 2 only, instead of v > 0.
        complete_only: count only frames whose acting tools show a tip and an anchor, all points visible.
        protocol: see :func:`~mmpose_surgical.evaluation.matching.match_points`.
        landmarks: landmark types that the data set annotates; predictions of others are ignored and counted.
        known_images: image ids outside the evaluated frames (other splits) whose predictions are ignored and
            counted.
    """

    tolerance: float = TOLERANCE
    canvas: tuple[float, float] | None = CANVAS
    visible_only: bool = False
    complete_only: bool = False
    protocol: Protocol = 'max_pairs'
    landmarks: Sequence[str] = LANDMARKS
    known_images: Collection[int] = ()

    def table(self, frames: Sequence[Frame], predictions: Predictions) -> PointTable:
        """The points that count."""
        return build_table(frames, predictions, canvas=self.canvas, visible_only=self.visible_only,
                           complete_only=self.complete_only, landmarks=self.landmarks,
                           known_images=self.known_images)


@dataclass(frozen=True)
class Matched:
    """A point table with its matched pairs, and the rules that they were matched by."""

    table: PointTable
    matches: Matches
    rules: Rules

    @cached_property
    def missed(self) -> np.ndarray:
        """(N,) bool, ground-truth points without a partner: the false negatives."""
        return _without(len(self.table.gt_frame), self.matches.gt)

    @cached_property
    def false(self) -> np.ndarray:
        """(P,) bool, predicted points without a partner: the false positives."""
        return _without(len(self.table.pred_frame), self.matches.pred)

    @cached_property
    def idle(self) -> np.ndarray:
        """(F,) bool, frames in which nothing acts."""
        return np.array([not frame.active_tools for frame in self.table.frames], dtype=bool)

    @cached_property
    def by_action(self) -> tuple[list[str], np.ndarray]:
        """Row names, overall first, and (S, V, rows, L, 4) counts of :meth:`tabulate`."""
        table = self.table
        names, codes = [OVERALL], np.zeros(len(table.actions), dtype=np.int64)
        for name, code in actions_in_order(table):
            codes[code] = len(names)
            names.append(name)
        counts = self.tabulate(codes[table.gt_action], codes[table.frame_action][table.pred_frame], len(names))
        counts[:, :, 0] = counts.sum(axis=2)
        return names, counts

    def tabulate(self, gt_row: np.ndarray, pred_row: np.ndarray, rows: int) -> np.ndarray:
        """(S, V, rows, L, 4) counts per seed, video, row and landmark.

        The last axis is tp, fp, fn and the summed distance of the matched pairs in canvas pixels.

        Args:
            gt_row: (N,) row that each ground-truth point, with its partner, counts in.
            pred_row: (P,) row of each prediction without a partner.
            rows: how many there are.
        """
        table, (gt, _, distance) = self.table, self.matches
        counts = np.zeros((table.seeds, len(table.videos), rows, len(table.landmarks), 4))

        def add(which: int, frame: np.ndarray, row: np.ndarray, landmark: np.ndarray, what: Any = 1) -> None:
            np.add.at(counts, (table.frame_seed[frame], table.frame_video[frame], row, landmark, which), what)
        add(0, table.gt_frame[gt], gt_row[gt], table.gt_landmark[gt])
        add(1, table.pred_frame[self.false], pred_row[self.false], table.pred_landmark[self.false])
        add(2, table.gt_frame[self.missed], gt_row[self.missed], table.gt_landmark[self.missed])
        add(3, table.gt_frame[gt], gt_row[gt], table.gt_landmark[gt], distance)
        return counts

    @cached_property
    def active_tool(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the best tip of each frame lies, as three bool (F,): asked, answered, correct.

        Frames with exactly one acting tool and at least one other tool, both with points (v > 0, tips and anchor), ask
        the question; a predicted tip answers it, and the best one is correct if it is strictly nearer to the acting
        tool than to any other. Equal scores are decided by place.
        """
        table = self.table
        best: dict[int, np.ndarray] = {}
        if 'tip' in table.landmarks:
            tips = np.flatnonzero(table.pred_landmark == table.landmarks.index('tip'))
            x, y = table.pred_xy[tips].T
            for row in tips[np.lexsort((-y, -x, table.pred_score[tips]))]:
                best[table.pred_frame[row]] = table.pred_xy[row]
        asked, answered, correct = np.zeros((3, len(table.frames)), dtype=bool)
        for index, frame in enumerate(table.frames):
            acting = frame.active_tools
            others = [p for tool in frame.tools if not tool.active for p in tool.points]
            if len(acting) != 1 or not acting[0].points or not others:
                continue
            asked[index] = True
            if index in best:
                answered[index] = True
                points = np.array([(p.x, p.y) for p in (*acting[0].points, *others)])
                points = to_canvas(points, (frame.width, frame.height), self.rules.canvas)
                away = np.hypot(*(points - best[index]).T)
                split = len(acting[0].points)
                correct[index] = away[:split].min() < away[split:].min()
        return asked, answered, correct


def match_runs(frames: Sequence[Frame], runs: Sequence[Predictions], thresholds: Sequence[ScoreThreshold],
               rules: Rules) -> Matched:
    """Match the predictions of the training seeds of one method: one run and one threshold a seed."""
    table = join_seeds([rules.table(frames, apply_threshold(run, threshold))
                        for run, threshold in zip(runs, thresholds, strict=True)])
    return Matched(table, match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group, rules.tolerance,
                                       rules.protocol), rules)


def evaluate(frames: Sequence[Frame], predictions: Predictions, *, score_thr: ScoreThreshold = None,
             **rules: Any) -> dict[str, Any]:
    """Evaluate predictions against the annotated frames.

    Args:
        frames: frames of the evaluated split; those that are not annotated do not count.
        predictions: the points of any method.
        score_thr: points below it are dropped; one number, or one per landmark (``None``: no threshold).
        rules: the arguments of :class:`Rules`.

    Returns:
        ``{meta, results, active_tool_accuracy, false_points_per_idle_minute}``. ``results[action][landmark]``
        holds tp, fp, fn, precision, recall, f1 (fractions), l2 and l2_median over matched pairs, and
        l2_assigned over all pairs of least total distance without a tolerance (canvas pixels). What is
        undefined (0/0) is ``None``.

    Raises:
        UserError: predictions for unknown images, or an action with a reserved name.
    """
    return summarise(match_runs(frames, [predictions], [score_thr], Rules(**rules)), [score_thr])


def summarise(matched: Matched, thresholds: Sequence[ScoreThreshold]) -> dict[str, Any]:
    """What :func:`evaluate` returns, for the runs of one or several training seeds; counts are sums over the seeds."""
    table, rules = matched.table, matched.rules
    recorded = [dict(value) if isinstance(value, Mapping) else value for value in thresholds]
    return {
        'meta': {
            'tolerance': rules.tolerance,
            'canvas': None if rules.canvas is None else list(rules.canvas),
            'protocol': rules.protocol,
            'visible_only': rules.visible_only,
            'complete_only': rules.complete_only,
            'threshold': recorded[0] if len(recorded) == 1 else recorded,
            'frames': len(table.frames) // table.seeds,
            'idle_frames': int(matched.idle.sum()) // table.seeds,
            'videos': len(table.videos),
            'seeds': table.seeds,
            'ignored_predictions': table.ignored,
            'groups_where_protocols_differ': _protocols_differ(table, rules.tolerance),
            # Elsewhere they have nothing to differ about.
            'groups_on_both_sides': len(np.intersect1d(table.gt_group, table.pred_group)),
        },
        'results': _count(matched),
        'active_tool_accuracy': _active_tool_accuracy(*matched.active_tool),
        'false_points_per_idle_minute': _idle_minute(table, matched.idle),
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


def _count(matched: Matched) -> dict[str, Any]:
    """Counts and measures per action and landmark from the matched pairs."""
    table, (gt, _, distance) = matched.table, matched.matches
    assigned = match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group, np.inf, 'global')
    counts = matched.by_action[1].sum(axis=(0, 1))
    results: dict[str, Any] = {}
    for (name, code), of_row in zip([(OVERALL, None), *actions_in_order(table)], counts):
        if code is not None and not of_row[:, :3].any():
            continue
        results[name] = {}
        for k, landmark in enumerate(table.landmarks):
            of_gt = (table.gt_landmark == k) & (code is None or table.gt_action == code)
            results[name][landmark] = {
                **rates(*(int(n) for n in of_row[k, :3])), 'l2': _average(distance[of_gt[gt]], np.mean),
                'l2_median': _average(distance[of_gt[gt]], np.median),
                'l2_assigned': _average(assigned.distance[of_gt[assigned.gt]], np.mean)}
    return results


def actions_in_order(table: PointTable) -> list[tuple[str, int]]:
    """The rows below overall: actions by name with their codes, then the reserved ones."""
    codes = sorted((name in RESERVED, name, code) for code, name in enumerate(table.actions))
    return [(name, code) for _, name, code in codes]


def _without(size: int, partners: np.ndarray) -> np.ndarray:
    left = np.ones(size, dtype=bool)
    left[partners] = False
    return left


def rates(tp: int, fp: int, fn: int) -> dict[str, Any]:
    """The counts with precision, recall and F1, ``None`` where 0/0."""
    return {'tp': tp, 'fp': fp, 'fn': fn, 'precision': _share(tp, tp + fp), 'recall': _share(tp, tp + fn),
            'f1': _share(2 * tp, 2 * tp + fp + fn)}


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _average(values: np.ndarray, of: Any) -> float | None:
    return float(of(values)) if len(values) else None


def _active_tool_accuracy(asked: np.ndarray, answered: np.ndarray, correct: np.ndarray) -> dict[str, Any]:
    """Share of asked frames that are correct; one without a predicted tip counts as wrong."""
    frames = int(asked.sum())
    return {'accuracy': _share(int(correct.sum()), frames), 'answered': _share(int(answered.sum()), frames),
            'frames': frames}


def _idle_minute(table: PointTable, idle: np.ndarray) -> dict[str, Any]:
    """False points per minute of video in which nothing acts, per landmark and in ``all``."""
    sums = count_idle(table, idle).sum(axis=(0, 1))
    return {**{name: _share(float(points), int(frames)) for name, (points, frames) in zip(
        ('all', *table.landmarks), sums)}, 'frames': int(sums[0, 1])}


def count_idle(table: PointTable, idle: np.ndarray) -> np.ndarray:
    """(S, V, 1 + L, 2) points x fps x 60 (all, and per landmark) of the idle frames of dense videos, and those frames.

    Only videos with a known rate count; the ratio of the two is the number of false points per idle minute.
    """
    fps = np.array([f.video.fps if f.video.dense and f.video.fps else 0.0 for f in table.frames])
    rate = np.where(idle, fps, 0.0)
    counts = np.zeros((table.seeds, len(table.videos), 1 + len(table.landmarks), 2))
    np.add.at(counts[..., 1], (table.frame_seed, table.frame_video), (rate > 0)[:, None])
    frame = table.pred_frame
    np.add.at(counts[..., 0], (table.frame_seed[frame], table.frame_video[frame], 1 + table.pred_landmark),
              rate[frame] * 60)
    counts[:, :, 0, 0] = counts[:, :, 1:, 0].sum(axis=2)
    return counts
