"""What is said about an evaluation: its meta record, the metrics file and the terminal table."""
from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmpose_surgical.datasets.boxes import ORACLE_LABEL, WHOLE_PICTURE
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.evaluation.thresholds import THIS_DATA
from mmpose_surgical.files import write_json

if TYPE_CHECKING:
    from rich.table import Table

NO_THRESHOLD = 'none: all points count'


def describe_data(annotations: Annotations) -> dict[str, Any]:
    """Which data set: ``{name, sha256, synthetic}``; the name is the folder's, so that no path leaks."""
    return {'name': annotations.path.resolve().parent.name, 'sha256': annotations.sha256,
            'synthetic': annotations.synthetic}


def git_commit() -> str | None:
    """Commit of the checkout that runs, ``-dirty`` where it differs; ``None`` for an installed package.

    Results of benchmarks do not count: a benchmark that writes them changes nothing that the next one runs.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / '.git').exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(['git', *words], cwd=root, capture_output=True, text=True, timeout=10,
                              check=True).stdout.strip()
    try:
        commit = git('rev-parse', 'HEAD')
        changes = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!benchmarks/results')
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ('-dirty' if changes else '')


def with_meta(metrics: Mapping[str, Any], **meta: Any) -> dict[str, Any]:
    """The metrics with more in their ``meta``.

    The usual keys are ``data`` (of :func:`describe_data`), ``split``, ``threshold_from``, ``prior``
    (``{backend, stand_in, fingerprint}``, and ``label`` where the prompts are not the paper's),
    ``coarse_for_training`` (``out-of-fold`` or ``in-sample``), ``target_masks`` (of direct mask supervision: where they
    come from), ``config`` and ``git_commit``.
    """
    return {**metrics, 'meta': {**metrics['meta'], **meta}}


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write the metrics as JSON, whole or not at all; what is undefined is ``null``, never NaN."""
    write_json(path, metrics)


def metrics_table(metrics: Mapping[str, Any]) -> Table:
    """Rows action x landmark, rates in per cent, distances in pixels; undefined cells are ``-``.

    Where there are intervals, that of F1 takes the place of the median distance. The caption says what the numbers
    stand on: data, canvas, tolerance, threshold and its source, and the prior backend.
    """
    intervals = any('ci95' in cell for row in metrics['results'].values() for cell in row.values())
    table = _table(('action', 'landmark'),
                   ('P %', 'R %', 'F1 %', *(('F1 95 %',) if intervals else ()), 'L2 px',
                    *(() if intervals else ('median',)), 'TP', 'FP', 'FN'), _caption(metrics))
    for action, row in metrics['results'].items():
        for number, (landmark, cell) in enumerate(row.items()):
            rates = [percent(cell[name]) for name in ('precision', 'recall', 'f1')]
            lengths = ['-' if cell[name] is None else f'{cell[name]:.2f}' for name in ('l2', 'l2_median')]
            if intervals:
                rates, lengths = [*rates, percent_range(cell.get('ci95', {}).get('f1'))], lengths[:1]
            counts = (str(cell[name]) for name in ('tp', 'fp', 'fn'))
            table.add_row('' if number else action, landmark, *rates, *lengths, *counts,
                          end_section=number == len(row) - 1)
    return table


def comparison_table(metrics: Mapping[str, Any]) -> Table:
    """F1 of two methods, their difference in points with its interval, and p."""
    found = metrics['comparison']
    caption = (f'difference: {", ".join(found["of"])} less {", ".join(found["with"])}\n'
               f'threshold of the other: {_each_threshold(found, metrics["meta"], _threshold)}\n'
               'p: the larger of permutation by video and bootstrap; not corrected for many comparisons')
    margin = found['active_tool_accuracy'].get('equivalence', {}).get('margin')
    if margin is not None:
        caption += f'\nequal: p of two one-sided tests that the difference lies within +-{100 * margin:g} points'
    table = _table(('action', 'landmark'), ('F1 %', 'other', 'difference', '95 %', 'p',
                                            *(('equal',) if margin is not None else ())), caption)
    for action, row in found['f1'].items():
        for number, (landmark, cell) in enumerate(row.items()):
            _add_difference(table, '' if number else action, landmark, cell, number == len(row) - 1)
    _add_difference(table, 'active tool', 'best tip', found['active_tool_accuracy'], True)
    return table


def _add_difference(table: Table, action: str, landmark: str, cell: Mapping[str, Any], last: bool) -> None:
    equal = [p_text(cell['equivalence']['p'])] if 'equivalence' in cell else []
    table.add_row(action, landmark, percent(cell['a']), percent(cell['b']),
                  '-' if cell['difference'] is None else f'{100 * cell["difference"]:+.1f}',
                  percent_range(cell['ci95'], ' to ', '+'), p_text(cell['p']), *equal, end_section=last)


def p_text(p: float | None) -> str:
    """A p value with three decimals, ``-`` if undefined."""
    return '-' if p is None else '<0.001' if p < 0.001 else f'{p:.3f}'


def _table(left: Sequence[str], right: Sequence[str], caption: str) -> Table:
    # Imported here because rich takes a good part of a command's start-up time.
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    table = Table(box=box.SIMPLE_HEAD, caption=escape(caption), caption_justify='left',
                  padding=(0, 1, 0, 0), pad_edge=False)  # as narrow as 80 columns want it
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify='right')
    return table


def percent(value: float | None) -> str:
    """A fraction in per cent with one decimal, ``-`` if undefined."""
    return '-' if value is None else f'{100 * value:.1f}'


def percent_range(ends: Sequence[float] | None, between: str = '-', sign: str = '') -> str:
    """An interval of fractions in per cent, ``-`` if there is none."""
    return '-' if ends is None else f'{100 * ends[0]:{sign}.1f}{between}{100 * ends[1]:{sign}.1f}'


def _caption(metrics: Mapping[str, Any]) -> str:
    meta = metrics['meta']
    active, idle = metrics['active_tool_accuracy'], metrics['false_points_per_idle_minute']
    words = provenance(meta)
    lines = [*(f'{name}: {words[name]}' for name in ('data', 'matching', 'threshold', 'prior')),
             f'best tip on the acting tool: {percent(active["accuracy"])} % of {active["frames"]} frames '
             f'(answered: {percent(active["answered"])} %)',
             f'false points per idle minute: {"-" if idle["all"] is None else format(idle["all"], ".1f")} '
             f'({idle["frames"]} frames)', *_intervals(meta)]
    return '\n'.join(lines)


def _intervals(meta: Mapping[str, Any]) -> list[str]:
    """What the intervals stand on, or why there are none; nothing where none were thought of."""
    about = meta.get('bootstrap')
    if not about:
        return []
    said = about.get('note') or f'{about["method"]}, {about["resamples"]:,} resamples of {about["videos"]} videos' + (
        f' x {about["seeds"]} seeds' if about['seeds'] > 1 else '')
    return [f'95 % intervals: {said}', *([about['caution']] if 'caution' in about else [])]


def provenance(meta: Mapping[str, Any]) -> dict[str, str]:
    """What the numbers of a metrics file stand on, in words, by the names of these lines.

    ``data``, ``matching`` (tolerance, canvas, protocol), ``threshold`` (value and source), ``threshold_source`` (what
    several runs of one method share), and ``prior`` (the backend, a stand-in named so).
    """
    return {'data': _data(meta),
            'matching': f'{meta["tolerance"]:g} px on {_canvas(meta["canvas"])}, {meta["protocol"]}',
            'threshold': _each_threshold(meta, meta, _threshold),
            'threshold_source': _each_threshold(meta, meta, _threshold_source), 'prior': _prior(meta)}


def _data(meta: Mapping[str, Any]) -> str:
    data = meta.get('data') or {}
    kind = {True: ' (synthetic)', False: ' (not synthetic)'}.get(data.get('synthetic'), '')
    parts = [f'{data.get("name", "unnamed")}{kind}', f'split {meta["split"]}' if meta.get('split') else '',
             f'{meta["frames"]} frames', f'{meta["idle_frames"]} idle',
             f'{meta["seeds"]} seeds, counts summed' if meta.get('seeds', 1) > 1 else '',
             'visible points only' if meta.get('visible_only') else '',
             'complete frames only' if meta.get('complete_only') else '']
    return ', '.join(part for part in parts if part)


def _canvas(canvas: list[float] | None) -> str:
    return 'original pixels' if canvas is None else f'a canvas of {canvas[0]:g}x{canvas[1]:g}'


def _each_threshold(record: Mapping[str, Any], meta: Mapping[str, Any], describe: Callable[..., str]) -> str:
    """The words of the threshold, of each seed where they differ."""
    values, sources = record['threshold'], record.get('threshold_from')
    if not isinstance(values, list):
        values, sources = [values], [sources]
    return '; '.join(dict.fromkeys(describe(value, source, meta) for value, source in zip(values, sources)))


def _threshold(value: Any, source: Any, meta: Mapping[str, Any]) -> str:
    if value is None:
        return NO_THRESHOLD
    if isinstance(value, Mapping):
        told = ', '.join(f'{k} {"none" if v is None else format(v, ".4g")}' for k, v in value.items())
    else:
        told = f'{value:.4g}'
    return f'{told} (from {_threshold_source(value, source, meta)})'


def _threshold_source(value: Any, source: Any, meta: Mapping[str, Any]) -> str:
    if value is None:
        return NO_THRESHOLD
    if isinstance(source, Mapping):
        chosen_on = source['data'] or {}
        sha256 = chosen_on.get('sha256')
        seen = sha256 is not None and sha256 == (meta.get('data') or {}).get('sha256') and meta.get('split') in (
            None, 'all', source['split'])
        told = [f'split {source["split"]}' if source['split'] else '', chosen_on.get('name')]
        source = f'{source["file"]}: {" of ".join(filter(None, told)) or "it does not say where it was chosen"}'
        if seen:
            source += ', frames that this table counts too: it flatters'
    elif source == THIS_DATA:
        source += ': it flatters'
    return source or 'an unnamed source'


def _prior(meta: Mapping[str, Any]) -> str:
    prior = meta.get('prior')
    # A predictions file does not say what made it.
    told = 'none' if 'prior' in meta else 'not recorded'
    if prior:
        label = prior.get('label')
        told = f'{prior["backend"]}{" (a stand-in)" if prior.get("stand_in") else ""}{f", {label}" if label else ""}'
    if meta.get('target_masks'):
        told += f'; masks in the target: {meta["target_masks"]}'
    if meta.get('coarse_for_training') == 'in-sample':
        told += '; coarse predictions in-sample in training'
    if (box := meta.get('box', WHOLE_PICTURE)) != WHOLE_PICTURE:
        told += f'; box: {box}' + (', from the ground truth: not to be compared' if box == ORACLE_LABEL else '')
    return told
