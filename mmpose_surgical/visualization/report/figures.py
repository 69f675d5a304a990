"""The figures of the report, in Plotly: every one also as a table of its values, for readers without a pointer."""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mmpose_surgical.evaluation.evaluator import OVERALL
from mmpose_surgical.files import read_json
from mmpose_surgical.priors.maker import HELD_OUT
from mmpose_surgical.visualization.report.comparison import Comparison, Method
from mmpose_surgical.visualization.report.runs import RECORD, Run

# Near Okabe and Ito's colours, which colour-blind readers tell apart, as they stand out on white and on dark ground;
# lines and marks differ as well, for print.
COLOURS = ('#3388CC', '#E69F00', '#009E73', '#CC79A7', '#D55E00', '#56B4E9', '#8A63B8', '#808080')
_DASHES = ('solid', 'dash', 'dot', 'dashdot', 'longdash', 'longdashdot')
_MARKS = ('circle', 'square', 'diamond', 'triangle-up', 'x', 'cross', 'star', 'triangle-down')


@dataclass(frozen=True)
class Figure:
    """A figure.

    Args:
        key: Its name in the page.
        title: What it shows, in a few words.
        note: How to read it.
        plot: Plotly's figure; ``meta`` of each trace is the index of its method, so that methods can be hidden.
        heads: Headings of the table of values.
        rows: The values.
    """
    key: str
    title: str
    note: str
    plot: go.Figure
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def json(self) -> str:
        """Plotly's JSON, safe inside a script element and without the template that the page replaces by its own."""
        spec = json.loads(self.plot.to_json())
        spec['layout'].pop('template', None)
        return json.dumps(spec, separators=(',', ':')).replace('<', '\\u003c')


def all_figures(comparison: Comparison) -> list[Figure]:
    """The figures that the runs have figures for."""
    made = (tolerance_figure(comparison), *score_figures(comparison), calibration_figure(comparison),
            video_figure(comparison), prior_figure(comparison), gain_figure(comparison))
    return [figure for figure in made if figure is not None]


def _panels(names: Sequence[str], x: str, y: str, **more: Any) -> go.Figure:
    plot = make_subplots(rows=1, cols=len(names), subplot_titles=list(names), shared_yaxes=True, **more)
    plot.update_xaxes(title_text=x)
    plot.update_yaxes(title_text=y, col=1)
    return plot


def _line(i: int) -> dict[str, Any]:
    return dict(color=COLOURS[i % len(COLOURS)], dash=_DASHES[i % len(_DASHES)])


def _mark(i: int, size: int = 8) -> dict[str, Any]:
    return dict(color=COLOURS[i % len(COLOURS)], symbol=_MARKS[i % len(_MARKS)], size=size)


def _show(value: float | None, digits: int = 1, scale: float = 100) -> str:
    return '-' if value is None else f'{value * scale:.{digits}f}'


def tolerance_figure(comparison: Comparison) -> Figure | None:
    """F1 over the tolerance: mean of the seeds, their range as a band."""
    plot = _panels(comparison.landmarks, 'tolerance in px', 'F1 in %')
    rows = []
    for i, method in enumerate(comparison.methods):
        for column, landmark in enumerate(comparison.landmarks, 1):
            seeds: dict[float, list[float]] = {}
            for run in method.runs:
                for x, f1 in zip(run.get('tolerance_curve', 'tolerance') or (),
                                 run.get('tolerance_curve', landmark) or ()):
                    if f1 is not None:
                        seeds.setdefault(x, []).append(100 * f1)
            if not seeds:
                continue
            x = sorted(seeds)
            mean = [sum(seeds[v]) / len(seeds[v]) for v in x]
            common = dict(legendgroup=method.name, meta=i)
            if len(method.runs) > 1:
                band = [*(min(seeds[v]) for v in x), *(max(seeds[v]) for v in reversed(x))]
                plot.add_scatter(x=[*x, *reversed(x)], y=band, fill='toself', line=dict(width=0), opacity=0.25,
                                 fillcolor=COLOURS[i % len(COLOURS)], hoverinfo='skip', showlegend=False,
                                 mode='lines', row=1, col=column, **common)
            plot.add_scatter(x=x, y=mean, name=method.name, showlegend=column == 1, mode='lines', line=_line(i),
                             row=1, col=column, **common)
            rows += [(method.name, landmark, f'{v:g}', f'{m:.1f}', str(len(seeds[v]))) for v, m in zip(x, mean)]
    if not rows:
        return None
    tolerance = float(comparison.meta['tolerance'])
    plot.add_vline(x=tolerance, line=dict(width=1, dash='dot', color='#888'))
    return Figure('tolerance', 'F1 over the tolerance', f'Overall, mean of the seeds and their range; the dotted line '
                  f'is the tolerance of the tables ({tolerance:g} px).', plot,
                  ('Method', 'Landmark', 'Tolerance px', 'F1 %', 'Seeds'), tuple(rows))


def score_figures(comparison: Comparison) -> list[Figure]:
    """Precision over recall, and F1 over the score, one line per seed."""
    made = []
    for key, title, x_name, y_name, x_key, y_key in (
            ('precision-recall', 'Precision over recall', 'recall in %', 'precision in %', 'recall', 'precision'),
            ('f1-score', 'F1 over the score threshold', 'score threshold', 'F1 in %', 'score', 'f1')):
        def points(run: Run, landmark: str, x_key: str = x_key, y_key: str = y_key) -> list[tuple[float, float]]:
            pairs = zip(run.get('score_curve', landmark, x_key) or (), run.get('score_curve', landmark, y_key) or ())
            return [(x * (100 if x_key == 'recall' else 1), 100 * y) for x, y in pairs if None not in (x, y)]
        figure = _seed_lines(comparison, key, title, x_name, y_name, points)
        made += [figure] if figure else []
    return made


def calibration_figure(comparison: Comparison) -> Figure | None:
    """Share of right points over the mean score of each bin, one line per seed."""
    def points(run: Run, landmark: str) -> list[tuple[float, float]]:
        bins = zip(run.get('calibration', landmark, 'mean_score') or (),
                   run.get('calibration', landmark, 'precision') or (),
                   run.get('calibration', landmark, 'count') or ())
        return [(score, 100 * share) for score, share, count in bins if count and None not in (score, share)]
    figure = _seed_lines(comparison, 'calibration', 'Calibration of scores from 0 to 1', 'mean score of the bin',
                         'right points in %', points, 'lines+markers')
    if figure:
        for column in range(1, len(comparison.landmarks) + 1):
            figure.plot.add_scatter(x=[0, 1], y=[0, 100], mode='lines', line=dict(width=1, dash='dot', color='#888'),
                                    hoverinfo='skip', showlegend=False, row=1, col=column)
    return figure


def _seed_lines(comparison: Comparison, key: str, title: str, x_name: str, y_name: str,
                points: Callable[[Run, str], list[tuple[float, float]]], mode: str = 'lines') -> Figure | None:
    """One line per run, the seeds of a method alike; ``points(run, landmark)`` gives (x, y) pairs."""
    plot = _panels(comparison.landmarks, x_name, y_name)
    rows = []
    for i, method in enumerate(comparison.methods):
        for column, landmark in enumerate(comparison.landmarks, 1):
            for number, run in enumerate(method.runs):
                xy = points(run, landmark)
                if not xy:
                    continue
                x, y = zip(*xy)
                plot.add_scatter(x=x, y=y, name=method.name, legendgroup=method.name, mode=mode, line=_line(i),
                                 marker=_mark(i, 6), showlegend=column == 1 and number == 0, meta=i, row=1, col=column)
                seed = '-' if run.seed is None else str(run.seed)
                # A table of every score would fill the page: at most some twenty rows a line.
                rows += [(method.name, seed, landmark, f'{a:.3g}', f'{b:.1f}') for a, b in
                         xy[::max(1, len(xy) // 20)]]
    if not rows:
        return None
    return Figure(key, title, 'Overall, one line per seed.', plot, ('Method', 'Seed', 'Landmark', x_name, y_name),
                  tuple(rows))


def video_figure(comparison: Comparison) -> Figure | None:
    """F1 per test video, methods side by side, with the range over the seeds."""
    videos = {name: entry for run in comparison.runs for name, entry in (run.get('per_video') or {}).items()}
    if not videos:
        return None
    order = sorted(videos, key=lambda name: (str(videos[name].get('source')), name))
    plot = make_subplots(rows=len(comparison.landmarks), cols=1, subplot_titles=comparison.landmarks,
                         shared_xaxes=True, vertical_spacing=0.1)
    rows = []
    for i, method in enumerate(comparison.methods):
        for number, landmark in enumerate(comparison.landmarks, 1):
            joined = [(name, method.joined('per_video', name, landmark, 'f1')) for name in order]
            joined = [(name, value) for name, value in joined if value is not None]
            if not joined:
                continue
            spread = dict(array=[100 * (v.high - v.mean) for _, v in joined], width=0, thickness=1, symmetric=False,
                          arrayminus=[100 * (v.mean - v.low) for _, v in joined])
            plot.add_scatter(x=[name for name, _ in joined], y=[100 * v.mean for _, v in joined], name=method.name,
                             mode='markers', marker=_mark(i, 9), legendgroup=method.name, showlegend=number == 1,
                             error_y=spread if len(method.runs) > 1 else None, offsetgroup=method.name, meta=i,
                             row=number, col=1)
            rows += [(method.name, name, str(videos[name].get('source') or '-'), str(videos[name].get('frames', '-')),
                      landmark, _show(v.mean), f'{_show(v.low)}–{_show(v.high)}' if v.seeds > 1 else '-')
                     for name, v in joined]
    plot.update_yaxes(title_text='F1 in %', range=[-3, 103])
    plot.update_xaxes(categoryorder='array', categoryarray=order, tickson='boundaries')
    # Methods side by side within a video, videos apart.
    plot.update_layout(height=280 * len(comparison.landmarks) + 120, scattermode='group', scattergap=0.4)
    return Figure('videos', 'F1 of each test video', 'Mean of the seeds, bars from the least to the greatest. A video '
                  'without the landmark has no mark.', plot,
                  ('Method', 'Video', 'Source', 'Frames', 'Landmark', 'F1 %', 'Seeds %'), tuple(rows))


def prior_quality(run: Run) -> dict[str, Any] | None:
    """What the maker of the priors that a run used has recorded of pictures that no model was trained on.

    Pictures, failed, straddling, mean IoU. (Training pictures are prompted by other networks.) From the report of
    ``tools/make_priors.py`` if it was run, else from the facts of the store.
    """
    folder = prior_folder(run)
    if folder is None:
        return None
    written = folder / 'report' / 'report.json'
    if written.is_file():
        groups = read_json(written, 'repeat tools/make_priors.py').get('groups', [])
        found = next((group for group in groups if (group.get('by'), group.get('name')) == ('pictures', HELD_OUT)),
                     None)
    else:
        record = folder / RECORD
        facts = read_json(record, 'repeat the command').get('facts', {}) if record.is_file() else {}
        found = (facts.get('report') or {}).get(HELD_OUT)
    return found if isinstance(found, Mapping) and found.get('pictures') else None


def prior_folder(run: Run) -> Path | None:
    """The store of the priors that a run read: its own if it was tested on other data, else its training's."""
    backend = (run.meta.get('prior') or {}).get('backend')
    if backend is None:
        return None
    own = run.folder / f'priors-{backend}'
    return own if own.is_dir() else run.fact_folder('priors')


_SHARES = (('mean IoU', lambda q: q.get('mean_iou')),
           ('failed', lambda q: q['failed'] / max(q['pictures'] - q['unprompted'], 1)),
           ('straddling', lambda q: q['straddling'] / q['with_instances'] if q['with_instances']
            else None),
           ('no prompt', lambda q: q['unprompted'] / q['pictures']))


def prior_figure(comparison: Comparison) -> Figure | None:
    """How good the priors are."""
    plot = go.Figure()
    rows = []
    for i, method, qualities in _with_priors(comparison):
        values = [[share(q) for q in qualities] for _, share in _SHARES]
        known = [[v for v in column if v is not None] for column in values]
        means = [100 * sum(v) / len(v) if v else None for v in known]
        name = f'{method.name} (prior: {method.prior})'
        plot.add_bar(x=[title for title, _ in _SHARES], y=means, name=name, meta=i,
                     marker=dict(color=COLOURS[i % len(COLOURS)], pattern=dict(shape=('', '/', 'x', '.')[i % 4])),
                     error_y=dict(array=[100 * max(v) - m if v else 0 for v, m in zip(known, means)], symmetric=False,
                                  arrayminus=[m - 100 * min(v) if v else 0 for v, m in zip(known, means)])
                     if len(qualities) > 1 else None)
        rows += [(method.name, method.prior, str(sum(q['pictures'] for q in qualities)), title,
                  '-' if mean is None else f'{mean:.1f}') for (title, _), mean in zip(_SHARES, means)]
    if not rows:
        return None
    plot.update_layout(barmode='group', showlegend=True)
    plot.update_yaxes(title_text='%', range=[0, 100])
    return Figure('priors', 'Quality of the mask priors', 'Over the pictures that no model was trained on, validation '
                  'included; mean of the seeds and their range. IoU with the acting tool, where its mask is known; '
                  'straddling: the prompts lie on two tools.', plot,
                  ('Method', 'Prior', 'Pictures', 'Measure', '%'), tuple(rows))


def _with_priors(comparison: Comparison) -> list[tuple[int, Method, list[dict[str, Any]]]]:
    found = [(i, method, [q for q in map(prior_quality, method.runs) if q]) for i, method
             in enumerate(comparison.methods)]
    return [entry for entry in found if entry[2]]


def gain_figure(comparison: Comparison) -> Figure | None:
    """IoU of a refiner's priors against what refinement gained over its own coarse network, one mark per seed."""
    by_folder = {run.trained_in.resolve(): run for run in comparison.runs}
    plot = _panels(comparison.landmarks, 'mean IoU of the priors in %', 'F1 gained in points')
    rows = []
    for i, method in enumerate(comparison.methods):
        for column, landmark in enumerate(comparison.landmarks, 1):
            points = []
            for run in method.runs:
                coarse, quality = by_folder.get(run.fact_folder('coarse')), prior_quality(run)
                ends = [r and r.get('results', OVERALL, landmark, 'f1') for r in (run, coarse)]
                if None not in ends and quality and quality.get('mean_iou') is not None:
                    points.append((100 * quality['mean_iou'], 100 * (ends[0] - ends[1]), str(run.seed),
                                   str(quality['pictures'])))
            if points:
                plot.add_scatter(x=[p[0] for p in points], y=[p[1] for p in points], mode='markers', name=method.name,
                                 marker=_mark(i, 10), legendgroup=method.name, showlegend=column == 1, meta=i, row=1,
                                 col=column)
                rows += [(method.name, method.prior, seed, pictures, landmark, f'{iou:.1f}', f'{gain:+.1f}')
                         for iou, gain, seed, pictures in points]
    if not rows:
        return None
    plot.update_layout(showlegend=True)
    return Figure('gain', 'Refinement gain over prior quality', 'F1 of a refiner less F1 of the coarse network behind '
                  'it, both from the tables above.', plot,
                  ('Method', 'Prior', 'Seed', 'Pictures', 'Landmark', 'IoU %', 'F1 gained'), tuple(rows))
