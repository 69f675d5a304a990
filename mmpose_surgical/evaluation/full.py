"""Everything that is said about a method at the end: counts, breakdowns, curves and intervals."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.evaluation import breakdowns, curves
from mmpose_surgical.evaluation.bootstrap import FEW_VIDEOS, MIN_VIDEOS, RESAMPLES, cluster_bootstrap
from mmpose_surgical.evaluation.breakdowns import GREATEST, MEASURES, cell, measures, shares
from mmpose_surgical.evaluation.comparison import plain
from mmpose_surgical.evaluation.evaluator import Matched, Rules, ScoreThreshold, count_idle, match_runs, summarise
from mmpose_surgical.evaluation.predictions import Predictions


def evaluate_in_full(frames: Sequence[Frame], runs: Sequence[Predictions], thresholds: Sequence[ScoreThreshold],
                     rules: Rules, *, by: Sequence[str] | None = None, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Evaluate a method, of one or several training seeds, with all breakdowns, curves and intervals.

    Args:
        frames: frames of the evaluated split; those that are not annotated do not count.
        runs: the points of each seed on these frames, before any threshold.
        thresholds: the score threshold of each.
        rules: what counts and what matches.
        by: picture attributes (or ``source``) to break down by; ``None``: all with few values.
        resamples: of the bootstrap; 0: no intervals.

    Returns:
        What :func:`~mmpose_surgical.evaluation.evaluator.evaluate` returns, counts summed over the seeds, and

        - ``per_video``: ``{video: {source, frames, landmark: cell}}``;
        - ``per_seed``: ``[{landmark: cell}]``, where there are several;
        - ``by``: ``{attribute: {value: {landmark: cell}}}``; ``meta.by_videos`` has the number of videos of each;
        - ``macro``: ``{landmark: {action_f1, video_f1}}``;
        - ``tolerance_curve``: ``{tolerance: [...], landmark: [f1, ...]}``;
        - ``average_precision``: ``{landmark: area}``, over all points, before any threshold;
        - ``score_curve``: ``{landmark: {score, precision, recall, f1}}``, likewise, as lists;
        - ``calibration``: ``{landmark: {edges, precision, mean_score, count, ece}}``, likewise;
        - ``jitter``: ``{landmark: pixels}``;
        - ``ci95`` in the cells of ``results``, ``by`` and ``macro``, in ``active_tool_accuracy``,
          ``false_points_per_idle_minute`` and ``tolerance_curve``, ``{measure: [lo, hi]}``, of those measures that can
          have an interval; ``meta.bootstrap`` says how, or why there is none.

    Raises:
        UserError: as :func:`~mmpose_surgical.evaluation.evaluator.evaluate`; or an attribute that no picture has.
    """
    matched = match_runs(frames, runs, thresholds, rules)
    every_point = matched if all(t is None for t in thresholds) else match_runs(frames, runs, [None] * len(runs), rules)
    landmarks = matched.table.landmarks
    metrics = summarise(matched, thresholds)
    names, counts = matched.by_action
    metrics['per_video'] = breakdowns.per_video(matched, counts)
    if matched.table.seeds > 1:
        metrics['per_seed'] = [_row(counts[s, :, 0].sum(axis=0), landmarks) for s in range(matched.table.seeds)]
    metrics['macro'] = breakdowns.macro(names, counts, landmarks)
    groups, left_out = breakdowns.group_frames(matched.table.frames, by)
    labels = [(name, value) for name, values in groups.items() for value in values]
    if labels:
        by_frames = breakdowns.count_frames(matched, np.stack([groups[name][value] for name, value in labels]))
        metrics['by'] = {name: {} for name in groups}
        # Intervals of a group stand on the videos that it has.
        metrics['meta']['by_videos'] = {name: {value: len(np.unique(matched.table.frame_video[its]))
                                               for value, its in values.items()} for name, values in groups.items()}
        for row, (name, value) in enumerate(labels):
            metrics['by'][name][value] = _row(by_frames[:, :, row].sum(axis=(0, 1)), landmarks)
        counts = np.concatenate([counts, by_frames], axis=2)
    metrics['meta']['by_left_out'] = left_out
    curve, curve_counts = curves.tolerance_curve(matched)
    metrics |= {'tolerance_curve': curve,
                'average_precision': curves.average_precision(every_point),
                'score_curve': curves.score_curve(every_point),
                'calibration': curves.calibration(every_point), 'jitter': curves.jitter(matched)}
    rows = [metrics['results'].get(name) for name in names] + [metrics['by'][name][value] for name, value in labels]
    about = metrics['meta']['bootstrap'] = _about_intervals(counts, resamples)
    if 'method' in about:
        _add_intervals(metrics, rows, counts, matched, resamples)
        _add_further_intervals(metrics, names, counts[:, :, :len(names)], curve_counts, matched, resamples)
    return metrics


def _row(counts: np.ndarray, landmarks: Sequence[str]) -> dict[str, Any]:
    return {landmark: cell(counts[k]) for k, landmark in enumerate(landmarks)}


def _about_intervals(counts: np.ndarray, resamples: int) -> dict[str, Any]:
    """How intervals are made, or why there are none."""
    seeds, videos = counts.shape[:2]
    about = {'resamples': resamples, 'videos': videos, 'seeds': seeds}
    if not resamples:
        return {**about, 'note': 'no intervals were asked for'}
    if videos < MIN_VIDEOS:
        return {**about, 'note': f'no intervals: {videos} video(s), and from fewer than {MIN_VIDEOS} none is reliable'}
    about['method'] = 'BCa over videos' + (", Student's t over seeds" if seeds > 1 else '')
    few = ([f'{videos} videos'] if videos <= FEW_VIDEOS else []) + (['2 seeds'] if seeds == 2 else [])
    if few:
        about['caution'] = f'{" and ".join(few)} are few: the intervals may be too narrow'
    return about


def _add_intervals(metrics: dict[str, Any], rows: list[dict[str, Any] | None], counts: np.ndarray, matched: Matched,
                   resamples: int) -> None:
    """Give the cells, and the share of frames whose acting tool was found, their ``ci95``."""
    most = np.tile(GREATEST, counts[0, 0, ..., 0].size)
    limits = cluster_bootstrap([counts], measures, resamples=resamples).interval(least=0, most=most)
    limits = limits.reshape(*counts.shape[2:4], len(MEASURES), 2)
    for row, of_row in zip(rows, limits):
        for landmark, of_cell in zip(matched.table.landmarks, of_row):
            interval = {name: plain(ends) for name, ends in zip(MEASURES, of_cell)}
            if row is not None and any(interval.values()):
                row[landmark]['ci95'] = {name: ends for name, ends in interval.items() if ends is not None}
    active, = cluster_bootstrap([breakdowns.count_active_tool(matched)], shares, resamples=resamples).interval(
        least=0, most=1)
    if plain(active) is not None:
        metrics['active_tool_accuracy']['ci95'] = plain(active)


def _add_further_intervals(metrics: dict[str, Any], names: Sequence[str], counts: np.ndarray, curve_counts: np.ndarray,
                           matched: Matched, resamples: int) -> None:
    """The same for the means over actions and videos, false points while nothing acts, and the tolerance curve."""
    landmarks = matched.table.landmarks

    def limits(table: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], most: float = 1,
               ) -> list[list[float] | None]:
        found = cluster_bootstrap([table], statistic, resamples=resamples)
        return [plain(ends) for ends in found.interval(least=0, most=most)]
    of_actions = limits(counts, breakdowns.mean_of_actions(names))
    of_videos = limits(breakdowns.count_videos(counts), shares)
    for k, landmark in enumerate(landmarks):
        _give(metrics['macro'][landmark], {'action_f1': of_actions[k], 'video_f1': of_videos[k]})
    idle = limits(count_idle(matched.table, matched.idle), shares, most=np.inf)
    _give(metrics['false_points_per_idle_minute'], dict(zip(('all', *landmarks), idle)))
    steps = len(curves.TOLERANCES)
    curve = limits(curve_counts, shares)
    own = {landmark: curve[k * steps:(k + 1) * steps] for k, landmark in enumerate(landmarks)}
    _give(metrics['tolerance_curve'], {landmark: ends if any(ends) else None for landmark, ends in own.items()})


def _give(place: dict[str, Any], intervals: dict[str, Any]) -> None:
    if known := {name: ends for name, ends in intervals.items() if ends is not None}:
        place['ci95'] = known
