"""Everything that is said about a method at the end: counts, breakdowns, curves and intervals."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmpose_surgical.datasets.annotations import Frame
from mmpose_surgical.evaluation import breakdowns, curves
from mmpose_surgical.evaluation.bootstrap import FEW_VIDEOS, MIN_VIDEOS, RESAMPLES, cluster_bootstrap
from mmpose_surgical.evaluation.breakdowns import MEASURES, cell, measures, shares
from mmpose_surgical.evaluation.comparison import plain
from mmpose_surgical.evaluation.evaluator import Matched, Rules, ScoreThreshold, match_runs, summarise
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
        - ``by``: ``{attribute: {value: {landmark: cell}}}``;
        - ``macro``: ``{landmark: {action_f1, video_f1}}``;
        - ``tolerance_curve``: ``{tolerance: [...], landmark: [f1, ...]}``;
        - ``average_precision``: ``{landmark: area}``, over all points, before any threshold;
        - ``score_curve``: ``{landmark: {score, precision, recall, f1}}``, likewise, as lists;
        - ``calibration``: ``{landmark: {edges, precision, mean_score, count, ece}}``, likewise;
        - ``jitter``: ``{landmark: pixels}``;
        - ``ci95`` in the cells of ``results`` and ``by`` and in ``active_tool_accuracy``, ``{measure: [lo, hi]}``, of
          those measures that can have an interval; ``meta.bootstrap`` says how, or why there is none.

    Raises:
        UserError: as :func:`~mmpose_surgical.evaluation.evaluator.evaluate`; or an attribute that no picture has.
    """
    matched = match_runs(frames, runs, thresholds, rules)
    every_point = matched if all(t is None for t in thresholds) else match_runs(frames, runs, [None] * len(runs), rules)
    landmarks = matched.table.landmarks
    metrics = summarise(matched, thresholds)
    names, counts = breakdowns.count_actions(matched)
    metrics['per_video'] = breakdowns.per_video(matched, counts)
    if matched.table.seeds > 1:
        metrics['per_seed'] = [_row(counts[s, :, 0].sum(axis=0), landmarks) for s in range(matched.table.seeds)]
    metrics['macro'] = breakdowns.macro(names, counts, landmarks)
    groups, left_out = breakdowns.group_frames(matched.table.frames, by)
    labels = [(name, value) for name, values in groups.items() for value in values]
    if labels:
        by_frames = breakdowns.count_frames(matched, np.stack([groups[name][value] for name, value in labels]))
        metrics['by'] = {name: {} for name in groups}
        for row, (name, value) in enumerate(labels):
            metrics['by'][name][value] = _row(by_frames[:, :, row].sum(axis=(0, 1)), landmarks)
        counts = np.concatenate([counts, by_frames], axis=2)
    metrics['meta']['by_left_out'] = left_out
    metrics |= {'tolerance_curve': curves.tolerance_curve(matched),
                'average_precision': curves.average_precision(every_point),
                'score_curve': curves.score_curve(every_point),
                'calibration': curves.calibration(every_point), 'jitter': curves.jitter(matched)}
    rows = [metrics['results'].get(name) for name in names] + [metrics['by'][name][value] for name, value in labels]
    metrics['meta']['bootstrap'] = _add_intervals(metrics, rows, counts, matched, resamples)
    return metrics


def _row(counts: np.ndarray, landmarks: Sequence[str]) -> dict[str, Any]:
    return {landmark: cell(counts[k]) for k, landmark in enumerate(landmarks)}


def _add_intervals(metrics: dict[str, Any], rows: list[dict[str, Any] | None], counts: np.ndarray, matched: Matched,
                   resamples: int) -> dict[str, Any]:
    """Give the cells their ``ci95``; returns what is said of it in ``meta``."""
    seeds, videos = counts.shape[:2]
    about = {'resamples': resamples, 'videos': videos, 'seeds': seeds}
    if not resamples:
        return {**about, 'note': 'no intervals were asked for'}
    if videos < MIN_VIDEOS:
        return {**about, 'note': f'no intervals: {videos} video(s), and from fewer than {MIN_VIDEOS} none is reliable'}
    limits = cluster_bootstrap([counts], measures, resamples=resamples).interval()
    limits = limits.reshape(*counts.shape[2:4], len(MEASURES), 2)
    for row, of_row in zip(rows, limits):
        for landmark, of_cell in zip(matched.table.landmarks, of_row):
            interval = {name: plain(ends) for name, ends in zip(MEASURES, of_cell)}
            if row is not None and any(interval.values()):
                row[landmark]['ci95'] = {name: ends for name, ends in interval.items() if ends is not None}
    active = cluster_bootstrap([breakdowns.count_active_tool(matched)], shares, resamples=resamples).interval()[0]
    if plain(active) is not None:
        metrics['active_tool_accuracy']['ci95'] = plain(active)
    about['method'] = 'BCa over videos' + (' x seeds' if seeds > 1 else '')
    if videos <= FEW_VIDEOS:
        about['caution'] = f'{videos} videos are few: the intervals may be too narrow'
    return about
