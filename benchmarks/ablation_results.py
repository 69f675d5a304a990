"""What the units of ablation.py answered: kept as files, read again, and put into ablation.json and ablation.md."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from mmpose_surgical.datasets.annotations import Annotations, Frame, load_annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.comparison import compare
from mmpose_surgical.evaluation.evaluator import Rules, match_runs
from mmpose_surgical.evaluation.full import evaluate_in_full
from mmpose_surgical.evaluation.predictions import Predictions, read_predictions, write_predictions
from mmpose_surgical.evaluation.summary import describe_data, p_text, percent, percent_range, with_meta
from mmpose_surgical.evaluation.thresholds import read_thresholds
from mmpose_surgical.files import read_json, write_json, write_text
from mmpose_surgical.visualization.report.comparison import Comparison
from mmpose_surgical.visualization.report.comparison import Method as Row
from mmpose_surgical.visualization.report.runs import Run, read_runs
from mmpose_surgical.visualization.report.tables import all_tables
from mmpose_surgical.visualization.report.texts import markdown_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
UNITS = RESULTS / 'ablation'
MARGIN = 0.03
"""Two methods count as equivalent within this difference."""


def keep(folder: Path, data: str, method: str, seed: int, command: str) -> None:
    """Keep a finished run's answers on the test split, and all that its numbers stand on."""
    run, = read_runs([folder])
    points = read_predictions(folder / 'test_predictions.json')
    # A hundredth of a pixel; scores as they are, because the threshold is one of them.
    rounded = Predictions(points.image_id, points.landmark, points.x.round(2), points.y.round(2), points.score)
    place = UNITS / data / method
    write_predictions(place / f'seed{seed}.csv.gz', rounded)
    thresholds, chosen = read_thresholds(folder / 'thresholds.json')
    priors = run.fact_folder('priors')
    write_json(place / f'seed{seed}.json', dict(
        command=command, seed=seed, settings=run.settings, thresholds=thresholds, validation_f1=chosen['f1'],
        epochs=run.record['content']['train_cfg']['max_epochs'],
        priors=priors and read_json(priors / 'artifact.json')['facts']['report'],
        meta={name: run.meta.get(name) for name in (
            'data', 'split', 'config', 'git_commit', 'checkpoint', 'prior', 'coarse_for_training', 'target_masks',
            'box', 'threshold_from')}, machine=describe_machine()))


def kept(data: str, method: str, seed: int) -> dict[str, Any] | None:
    """The record of a unit; ``None`` where none was kept."""
    path = UNITS / data / method / f'seed{seed}.json'
    return read_json(path) if path.exists() else None


def units_of(data: str, method: str) -> list[tuple[dict[str, Any], Predictions]]:
    """All kept seeds of a method, with their answers.

    Raises:
        UserError: They were not all set alike.
    """
    paths = sorted((UNITS / data / method).glob('seed*.json'), key=lambda path: int(path.stem.removeprefix('seed')))
    units = [(read_json(path), read_predictions(path.with_suffix('.csv.gz'))) for path in paths]
    if len({record['settings'] for record, _ in units}) > 1:
        raise UserError('the seeds of this method were not set alike', UNITS / data / method,
                        'remove those that are out of date, and train them again')
    return units


def chance(frames: Sequence[Frame]) -> float:
    """Expected ``active_tool_accuracy`` of an answer that takes any of the tools in view."""
    asked = [len([tool for tool in frame.tools if tool.points]) for frame in frames
             if len(frame.active_tools) == 1 and frame.active_tools[0].points
             and any(tool.points for tool in frame.tools if not tool.active)]
    return float(np.mean([1 / count for count in asked]))


def collect(data: str, methods: Sequence[tuple[str, str]], comparisons: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Metrics of all methods that have units on one bench, and their paired comparisons."""
    annotations = load_annotations(ROOT / 'data' / data)
    frames = frames_of_split(annotations, 'test')
    rules = Rules(landmarks=annotations.landmarks)
    found: dict[str, Any] = dict(
        data=describe_data(annotations), test_frames=len(frames), chance=chance(frames),
        test_videos=len({frame.video.name for frame in frames}), methods={}, comparisons=[])
    matched = {}
    for name, _ in methods:
        units = units_of(data, name)
        if not units:
            continue
        records, points = zip(*units)
        thresholds = [record['thresholds'] for record in records]
        matched[name] = match_runs(frames, points, thresholds, rules)
        found['methods'][name] = _method(annotations, frames, records, evaluate_in_full(
            frames, points, thresholds, rules, by=()))
    for a, b in comparisons:
        if a in matched and b in matched:
            found['comparisons'].append(dict(
                a=a, b=b, seeds=[matched[name].table.seeds for name in (a, b)],
                **compare(matched[a], matched[b], margin=MARGIN)))
    return found


def _method(annotations: Annotations, frames: Sequence[Frame], records: Sequence[dict[str, Any]],
            metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a method with all that they stand on, without what is long."""
    metas = [record['meta'] for record in records]
    if {meta['data']['sha256'] for meta in metas} != {annotations.sha256}:
        raise UserError('units of this method were evaluated on another ground truth', annotations.path,
                        'make the data again with its spec, or remove the units')
    same = {name: metas[0][name] for name in ('data', 'split', 'config', 'prior', 'coarse_for_training',
                                              'target_masks', 'box')}
    told = with_meta(metrics, **same, threshold_from=[meta['threshold_from'] for meta in metas],
                     checkpoint=[meta['checkpoint'] for meta in metas],
                     git_commit=sorted({meta['git_commit'] for meta in metas}))
    left = {name: told[name] for name in ('meta', 'results', 'macro', 'per_seed', 'active_tool_accuracy',
                                          'false_points_per_idle_minute', 'average_precision', 'tolerance_curve',
                                          'jitter') if name in told}
    return dict(left, seeds=[record['seed'] for record in records], commands=[record['command'] for record in records],
                epochs=records[0]['epochs'], validation_f1=[record['validation_f1'] for record in records],
                priors=[record['priors'] for record in records],
                machines=sorted({record['machine']['gpu'] or record['machine']['processor'] for record in records}))


def write_results(methods: Sequence[tuple[str, str, str]], comparisons: Sequence[tuple[str, str]]) -> None:
    """Make ablation.json and ablation.md of what is kept; ``methods`` are (bench, name, config)."""
    benches = dict.fromkeys(data for data, _, _ in methods)
    record = dict(
        command='python benchmarks/ablation.py --collect', machine=describe_machine(),
        benches={data: collect(data, [(name, config) for bench, name, config in methods if bench == data], comparisons)
                 for data in benches if (ROOT / 'data' / data / 'annotations.json').exists()})
    write_json(RESULTS / 'ablation.json', record)
    write_text(RESULTS / 'ablation.md', tables(record))


def tables(record: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ['# The compared methods on the synthetic bench', '',
             '`python benchmarks/ablation.py`. Rates in per cent at 15 px on 640x480, L2 in pixels over matched pairs; '
             'in brackets 95 % intervals (BCa over videos x seeds). Counts are summed over the seeds; the threshold of '
             'each is chosen on its validation videos. `simulated` and `grabcut` are stand-ins for SAM 3. Best of a '
             'column in bold.', '']
    for data, found in record['benches'].items():
        if found['methods']:
            lines += _bench_tables(data, found)
    return '\n'.join(lines)


def _bench_tables(data: str, found: dict[str, Any]) -> list[str]:
    lines = [f'## {data}: {found["test_frames"]} test frames of {found["test_videos"]} videos, ground truth '
             f'{found["data"]["sha256"][:12]}', '', *_overview(found)]
    rows = Comparison(tuple(Row(name, (Run(Path(name), metrics, {}, Path(name)),))
                            for name, metrics in found['methods'].items() if not _is_variant(name)))
    if rows.methods:
        for table in all_tables(rows):
            if table.key in ('methods', 'strategies'):
                lines += ['', f'### {table.title}', '', *markdown_table(table)]
    return [*lines, '', *_comparisons(found), '']


def _is_variant(name: str) -> bool:
    """Whether a method is no row of the paper's tables: another length, window or kind of training predictions."""
    return name.endswith('_half') or name.startswith(('coarse_t', 'in_sample'))


def _overview(found: dict[str, Any]) -> list[str]:
    """One line for each method, variants too, and what chance would give."""
    lines = ['| method | seeds | epochs | prior | prior IoU | tip F1 | anchor F1 | best tip on the acting tool | '
             'false points / idle min |', '|---|---|---|---|---|---|---|---|---|']
    for name, metrics in found['methods'].items():
        overall, active = metrics['results']['overall'], metrics['active_tool_accuracy']
        prior, idle = metrics['meta']['prior'], metrics['false_points_per_idle_minute']['all']
        ious = [report['mean_iou'] for report in metrics['priors'] if report]
        f1 = (_with_interval(overall[lm]['f1'], overall[lm].get('ci95', {}).get('f1')) for lm in ('tip', 'anchor'))
        lines.append(_line([
            name, ', '.join(map(str, metrics['seeds'])), metrics['epochs'],
            '-' if prior is None else prior['backend'] + (
                ', in-sample' if metrics['meta']['coarse_for_training'] == 'in-sample' else ''),
            f'{np.mean(ious):.2f}' if ious else '-', *f1,
            _with_interval(active['accuracy'], active.get('ci95')), '-' if idle is None else f'{idle:.0f}']))
    return [*lines, '', f'An answer that takes any of the tools in view is on the acting one in '
            f'{percent(found["chance"])} % of the frames with several.']


def _comparisons(found: dict[str, Any]) -> list[str]:
    """Paired differences, and whether they are smaller than the margin."""
    if not found['comparisons']:
        return []
    lines = ['Paired differences a - b in points. p is the larger of permutation by video and bootstrap, not corrected '
             f'for many comparisons; the last column tests equivalence within +-{100 * MARGIN:g} points.', '',
             '| a - b | seeds | tip F1 | p | anchor F1 | p | acting tool | p | equivalent: tip, anchor, acting tool |',
             '|---|---|---|---|---|---|---|---|---|']
    for entry in found['comparisons']:
        parts = [*(entry['f1']['overall'][lm] for lm in ('tip', 'anchor')), entry['active_tool_accuracy']]
        cells = [text for part in parts for text in (
            _with_interval(part['difference'], part['ci95'], '+'), p_text(part['p']))]
        equal = (part['equivalence'] for part in parts)
        told = (f'{ {True: "yes", False: "no", None: "-"}[e["equivalent"]]} ({p_text(e["p"])})' for e in equal)
        lines.append(_line([f'{entry["a"]} - {entry["b"]}', ' / '.join(map(str, entry['seeds'])), *cells,
                            ', '.join(told)]))
    return lines


def _line(cells: Sequence[Any]) -> str:
    return f'| {" | ".join(map(str, cells))} |'


def _with_interval(value: float | None, ends: Sequence[float] | None, sign: str = '') -> str:
    told = '-' if value is None else f'{100 * value:{sign}.1f}'
    return told if ends is None else f'{told} ({percent_range(ends, " to ", sign)})'
