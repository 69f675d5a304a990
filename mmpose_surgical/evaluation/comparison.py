"""Two methods on the same frames: differences with interval, p and, for a margin, equivalence."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mmpose_surgical.evaluation.bootstrap import RESAMPLES, cluster_bootstrap, permutation_p
from mmpose_surgical.evaluation.breakdowns import GREATEST, MEASURES, count_active_tool, measures, shares
from mmpose_surgical.evaluation.evaluator import Matched


def compare(a: Matched, b: Matched, *, margin: float | None = None, paired_seeds: bool = False,
            resamples: int = RESAMPLES) -> dict[str, Any]:
    """Differences a - b of precision, recall, F1 and L2 per action and landmark, and of ``active_tool_accuracy``.

    The videos are drawn for both methods together; the training seeds of each vary by themselves, or in pairs. ``p`` is
    the larger of two: ``p_permutation`` swaps the methods in whole videos, which is exact for few videos and speaks of
    these trained models only; ``p_bootstrap`` inverts the interval, which knows the spread of the seeds and is too sure
    with few videos. So p < 0.05 only where the interval leaves 0 out, and about 5 % of simulated pairs of equal methods
    come below it, where the bootstrap alone gives 15 % (6 videos, one seed) and the permutation alone 15 % (40 videos,
    three seeds that differ). Nothing is corrected for many comparisons.

    Args:
        a: a method, matched by the same rules on the same frames as
        b: the other one.
        paired_seeds: the seeds of both belong together, see
            :func:`~mmpose_surgical.evaluation.bootstrap.cluster_bootstrap`.
        margin: also test that the difference is smaller (fractions; two one-sided tests); not of L2, in pixels.
        resamples: of the bootstrap and of the permutation.

    Returns:
        ``{precision, recall, f1, l2: {action: {landmark: cell}}, active_tool_accuracy: cell}``; a cell holds a, b,
        difference, ci95, p, p_permutation and p_bootstrap, and with a margin ``equivalence: {margin, p, ci90,
        equivalent}``. What is undefined is ``None``: all but p_permutation where the videos are too few.

    Raises:
        ValueError: the methods were evaluated on different frames.
    """
    if a.rules != b.rules or _frames(a) != _frames(b):
        raise ValueError('the methods were evaluated on different frames or by different rules')
    landmarks = a.table.landmarks
    names, counts = a.by_action
    most = np.tile(GREATEST, len(names) * len(landmarks))
    cells = iter(_cells(counts, b.by_action[1], measures, margin, paired_seeds, resamples, most))
    found: dict[str, Any] = {measure: {name: {} for name in names} for measure in MEASURES}
    for name in names:
        for landmark in landmarks:
            for measure in MEASURES:
                found[measure][name][landmark] = next(cells)
                if measure == 'l2':
                    found[measure][name][landmark].pop('equivalence', None)
    active = _cells(count_active_tool(a), count_active_tool(b), shares, margin, paired_seeds, resamples, np.ones(1))
    return {**found, 'active_tool_accuracy': active[0]}


def _frames(method: Matched) -> list[int]:
    table = method.table
    return [frame.image_id for frame in table.frames[:len(table.frames) // table.seeds]]


def _cells(a: np.ndarray, b: np.ndarray, measure: Callable[[np.ndarray], np.ndarray], margin: float | None,
           paired_seeds: bool, resamples: int, most: np.ndarray) -> list[dict[str, Any]]:
    """One cell per value of a measure of the (S, V, ...) counts of two methods, which differ by at most ``most``."""
    def difference(sums_a: np.ndarray, sums_b: np.ndarray) -> np.ndarray:
        return measure(sums_a) - measure(sums_b)
    found = cluster_bootstrap([a, b], difference, resamples=resamples, paired_seeds=paired_seeds)
    p_permutation = permutation_p(a.mean(axis=0), b.mean(axis=0), difference, resamples=resamples)
    p_bootstrap = found.p_value()
    columns = {'a': measure(a.sum(axis=(0, 1))).ravel(), 'b': measure(b.sum(axis=(0, 1))).ravel(),
               'difference': found.estimate, 'ci95': found.interval(least=-most, most=most),
               # NaN where the bootstrap cannot tell: the test cannot either.
               'p': np.maximum(p_permutation, p_bootstrap), 'p_permutation': p_permutation, 'p_bootstrap': p_bootstrap}
    cells = [{name: plain(values[m]) for name, values in columns.items()} for m in range(len(found.estimate))]
    if margin is not None:
        p, ci90 = found.p_equivalence(margin), found.interval(0.9, -most, most)
        for m, cell in enumerate(cells):
            cell['equivalence'] = {'margin': margin, 'p': plain(p[m]), 'ci90': plain(ci90[m]),
                                   'equivalent': bool(p[m] < 0.05) if np.isfinite(p[m]) else None}
    return cells


def plain(value: np.ndarray) -> float | list[float] | None:
    """A number or an array as JSON has it; ``None`` where it is not all finite."""
    return value.tolist() if np.isfinite(value).all() else None
