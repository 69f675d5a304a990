"""What is said about an evaluation: its meta record, the metrics file and the terminal table."""
from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmpose_surgical.datasets.annotations import Annotations
from mmpose_surgical.files import write_json

if TYPE_CHECKING:
    from rich.table import Table

NO_THRESHOLD = 'none: all points count'
THIS_DATA = 'this data'


def describe_data(annotations: Annotations) -> dict[str, Any]:
    """Which data set: ``{name, sha256, synthetic}``; the name is the folder's, so that no path leaks."""
    return {'name': annotations.path.resolve().parent.name, 'sha256': annotations.sha256,
            'synthetic': annotations.synthetic}


def git_commit() -> str | None:
    """Commit of the checkout that runs, ``-dirty`` where it differs; ``None`` for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / '.git').exists():
        return None
    try:
        done = subprocess.run(['git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'],
                              cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def with_meta(metrics: Mapping[str, Any], **meta: Any) -> dict[str, Any]:
    """The metrics with more in their ``meta``.

    The usual keys are ``data`` (of :func:`describe_data`), ``split``, ``threshold_from``, ``prior``
    (``{backend, stand_in, fingerprint}``), ``config`` and ``git_commit``.
    """
    return {**metrics, 'meta': {**metrics['meta'], **meta}}


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write the metrics as JSON, whole or not at all; what is undefined is ``null``, never NaN."""
    write_json(path, metrics)


def metrics_table(metrics: Mapping[str, Any]) -> Table:
    """Rows action x landmark, rates in per cent, distances in pixels; undefined cells are ``-``.

    The caption says what the numbers stand on: data, canvas, tolerance, threshold and its source, and the
    prior backend.
    """
    # Imported here because rich takes a good part of a command's start-up time.
    from rich import box
    from rich.table import Table
    table = Table(box=box.SIMPLE_HEAD, caption=_caption(metrics), caption_justify='left')
    table.add_column('action')
    table.add_column('landmark')
    for name in ('P %', 'R %', 'F1 %', 'L2 px', 'median', 'TP', 'FP', 'FN'):
        table.add_column(name, justify='right')
    for action, row in metrics['results'].items():
        for number, (landmark, cell) in enumerate(row.items()):
            rates = (percent(cell[name]) for name in ('precision', 'recall', 'f1'))
            lengths = ('-' if cell[name] is None else f'{cell[name]:.2f}' for name in ('l2', 'l2_median'))
            counts = (str(cell[name]) for name in ('tp', 'fp', 'fn'))
            table.add_row('' if number else action, landmark, *rates, *lengths, *counts,
                          end_section=number == len(row) - 1)
    return table


def percent(value: float | None) -> str:
    """A fraction in per cent with one decimal, ``-`` if undefined."""
    return '-' if value is None else f'{100 * value:.1f}'


def _caption(metrics: Mapping[str, Any]) -> str:
    from rich.markup import escape
    meta = metrics['meta']
    active, idle = metrics['active_tool_accuracy'], metrics['false_points_per_idle_minute']
    words = provenance(meta)
    lines = [*(f'{name}: {words[name]}' for name in ('data', 'matching', 'threshold', 'prior')),
             f'best tip on the acting tool: {percent(active["accuracy"])} % of {active["frames"]} frames '
             f'(answered: {percent(active["answered"])} %)',
             f'false points per idle minute: {"-" if idle["all"] is None else format(idle["all"], ".1f")} '
             f'({idle["frames"]} frames)']
    return escape('\n'.join(lines))


def provenance(meta: Mapping[str, Any]) -> dict[str, str]:
    """What the numbers of a metrics file stand on, in words, by the names of these lines.

    ``data``, ``matching`` (tolerance, canvas, protocol), ``threshold`` (value and source), ``threshold_source`` (what
    several runs of one method share), and ``prior`` (the backend, a stand-in named so).
    """
    return {'data': _data(meta),
            'matching': f'{meta["tolerance"]:g} px on {_canvas(meta["canvas"])}, {meta["protocol"]}',
            'threshold': _threshold(meta), 'threshold_source': _threshold_source(meta), 'prior': _prior(meta)}


def _data(meta: Mapping[str, Any]) -> str:
    data = meta.get('data') or {}
    kind = {True: ' (synthetic)', False: ' (not synthetic)'}.get(data.get('synthetic'), '')
    parts = [f'{data.get("name", "unnamed")}{kind}', f'split {meta["split"]}' if meta.get('split') else '',
             f'{meta["frames"]} frames', f'{meta["idle_frames"]} idle',
             'visible points only' if meta.get('visible_only') else '',
             'complete frames only' if meta.get('complete_only') else '']
    return ', '.join(part for part in parts if part)


def _canvas(canvas: list[float] | None) -> str:
    return 'original pixels' if canvas is None else f'a canvas of {canvas[0]:g}x{canvas[1]:g}'


def _threshold(meta: Mapping[str, Any]) -> str:
    value = meta['threshold']
    if value is None:
        return NO_THRESHOLD
    if isinstance(value, Mapping):
        value = ', '.join(f'{k} {"none" if v is None else format(v, ".4g")}' for k, v in value.items())
    else:
        value = f'{value:.4g}'
    return f'{value} (from {_threshold_source(meta)})'


def _threshold_source(meta: Mapping[str, Any]) -> str:
    if meta['threshold'] is None:
        return NO_THRESHOLD
    source = meta.get('threshold_from')
    if isinstance(source, Mapping):
        chosen_on = source['data'] or {}
        sha256 = chosen_on.get('sha256')
        seen = sha256 is not None and sha256 == (meta.get('data') or {}).get('sha256') and meta.get('split') in (
            'all', source['split'])
        source = f'{source["file"]}: split {source["split"]} of {chosen_on.get("name")}'
        if seen:
            source += ', frames that this table counts too: it flatters'
    return source or 'an unnamed source'


def _prior(meta: Mapping[str, Any]) -> str:
    prior = meta.get('prior')
    if not prior:
        # A predictions file does not say what made it.
        return 'none' if 'prior' in meta else 'not recorded'
    return f'{prior["backend"]}{" (a stand-in)" if prior.get("stand_in") else ""}'
