"""Seeds of a method joined as the evaluator joins them, and methods compared in pairs, where the predictions are there.

A folder of a finished run has its predictions and thresholds; with the data set they give what no mean of finished
figures can: intervals over videos and seeds, and differences that are paired by video.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.evaluation.comparison import compare
from mmpose_surgical.evaluation.evaluator import OVERALL, Matched, Rules, match_runs
from mmpose_surgical.evaluation.full import evaluate_in_full
from mmpose_surgical.evaluation.predictions import Predictions, read_predictions
from mmpose_surgical.visualization.report.comparison import Comparison, Joined, Method
from mmpose_surgical.visualization.report.runs import Run, predictions_file
from mmpose_surgical.visualization.report.tables import Cell, Column, Row, Section, Table


def pool_seeds(comparison: Comparison, annotations: Annotations) -> Comparison:
    """The same comparison, in which methods of several runs have metrics of all runs together.

    A method with a run whose predictions are not in its folder is left as it is.
    """
    frames = _frames(comparison, annotations)
    return Comparison(tuple(
        replace(method, pooled=evaluate_in_full(frames, points, [run.meta['threshold'] for run in method.runs],
                                                _rules(method.runs[0], annotations)))
        if len(method.runs) > 1 and (points := _points(method, annotations)) else method
        for method in comparison.methods))


def differences_table(comparison: Comparison, annotations: Annotations) -> Table | None:
    """F1 of every method less that of the last one, which is the fullest strategy; ``None`` without two to compare."""
    frames = _frames(comparison, annotations)
    answers: dict[Path, Predictions] = {}
    compared: list[tuple[int, Method]] = []
    for i, method in enumerate(comparison.methods):
        if not method.runs[0].is_oracle and (points := _points(method, annotations)):
            compared.append((i, method))
            answers |= {run.folder: own for run, own in zip(method.runs, points)}
    if len(compared) < 2:
        return None
    *others, (_, reference) = compared

    matched: dict[tuple[Path, ...], Matched] = {}

    def match(method: Method) -> Matched:
        """Once for the same seeds: the reference stands in every row."""
        folders = tuple(run.folder for run in method.runs)
        if folders not in matched:
            matched[folders] = match_runs(frames, [answers[folder] for folder in folders],
                                          [run.meta['threshold'] for run in method.runs],
                                          _rules(method.runs[0], annotations))
        return matched[folders]
    columns = tuple(column for landmark in comparison.landmarks for column in (
        Column(landmark, 'F1 difference', '%', interval=True), Column(landmark, 'p', 'p')))
    rows = []
    for i, method in others:
        both = common_seeds(method, reference)
        cells = compare(*map(match, both), paired_seeds=share_coarse(*both))['f1'][OVERALL]
        values = [value for landmark in comparison.landmarks for value in (
            _joined(cells[landmark]['difference'], cells[landmark]['ci95']), _joined(cells[landmark]['p'], None))]
        rows.append(Row((method.name, method.prior, ' / '.join(dict.fromkeys(map(_seeds, both)))), tuple(
            Cell(column, value) for column, value in zip(columns, values, strict=True)), i))
    return Table('differences', f'Differences to {reference.name}, prior: {reference.prior}',
                 'Overall F1 less that of the method in the title, in points, over the seeds that both have, or over '
                 'all (row / title) where they have none in common; paired by video, and by seed behind one coarse '
                 'network, with 95 % intervals over videos and seeds, of one seed over videos only. p is the larger of '
                 f'permutation by video and bootstrap, not corrected for many comparisons. {comparison.caption}',
                 ('Method', 'Prior', 'Seeds'), columns, (Section('', tuple(rows)),))


def common_seeds(a: Method, b: Method) -> tuple[Method, Method]:
    """Two methods with the runs of the seeds that both have; as they are where none is known to be common."""
    seeds = {run.seed for run in a.runs} & {run.seed for run in b.runs} - {None}
    if not seeds:
        return a, b
    return tuple(replace(method, runs=tuple(run for run in method.runs if run.seed in seeds)) for method in (a, b))


def _seeds(method: Method) -> str:
    return ', '.join('-' if run.seed is None else str(run.seed) for run in method.runs)


def share_coarse(a: Method, b: Method) -> bool:
    """Whether the seeds of two methods belong together: each two stand on the same coarse network, or one is it."""
    def coarse(method: Method) -> list[Path]:
        return [run.fact_folder('coarse') or run.trained_in.resolve() for run in method.runs]
    return len(a.runs) > 1 and coarse(a) == coarse(b)


def _joined(value: float | None, ends: Sequence[float] | None) -> Joined | None:
    return None if value is None else Joined(value, value, value, None if ends is None else (ends[0], ends[1]), 1)


def _frames(comparison: Comparison, annotations: Annotations) -> list[Frame]:
    return frames_of_split(annotations, comparison.meta.get('split') or 'all')


def _rules(run: Run, annotations: Annotations) -> Rules:
    meta = run.meta
    return Rules(meta['tolerance'], meta['canvas'] and tuple(meta['canvas']), bool(meta.get('visible_only')),
                 bool(meta.get('complete_only')), meta['protocol'], annotations.landmarks, annotations.by_id)


def _points(method: Method, annotations: Annotations) -> list[Predictions] | None:
    """All points of each run; ``None`` where a run has no predictions of its own, or stands for several already."""
    paths = [predictions_file(run) for run in method.runs]
    if any(run.meta.get('seeds', 1) > 1 for run in method.runs) or not all(path.is_file() for path in paths):
        return None
    return [read_predictions(path, known_images=annotations.by_id) for path in paths]
