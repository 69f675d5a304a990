"""From folders of finished runs to ``report.html``, ``report.md`` and ``report.tex``."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.summary import provenance
from mmpose_surgical.files import write_text
from mmpose_surgical.visualization.report.comparison import Comparison, compare
from mmpose_surgical.visualization.report.figures import Figure, all_figures, prior_folder, prior_quality
from mmpose_surgical.visualization.report.gallery import Gallery, heatmap_folder, make_gallery
from mmpose_surgical.visualization.report.pooling import differences_table, pool_seeds
from mmpose_surgical.visualization.report.runs import Run, data_root, read_runs
from mmpose_surgical.visualization.report.tables import Table, all_tables
from mmpose_surgical.visualization.report.texts import LEGEND, latex, markdown

if TYPE_CHECKING:
    from jinja2 import Environment

LIMIT = 20_000_000
"""Greatest size of the page in bytes."""

_OPTIONAL = {
    'tolerance_curve': 'F1 over the tolerance', 'score_curve': 'precision over recall and F1 over the score',
    'calibration': 'calibration', 'average_precision': 'average precision', 'per_video': 'figures per video',
    'by': 'figures per source or condition', 'macro': 'means over actions and videos', 'jitter': 'temporal jitter'}
"""Parts of the metrics that not every evaluation has, and what is not shown without."""


@dataclass
class Part:
    """A comparison as the page shows it; a page has several when runs are put apart."""
    number: int
    comparison: Comparison
    tables: list[Table]
    figures: list[Figure]
    lacking: list[str]
    annotations: Annotations | None
    no_gallery: str
    gallery: Gallery | None = None

    @property
    def title(self) -> str:
        words = self.comparison.stands_on
        return f'{words["data"]}; {words["matching"]}'

    @property
    def origins(self) -> list[tuple[int, Run, dict[str, str]]]:
        """Every run with the index of its method and what its numbers stand on."""
        return [(i, run, provenance(run.meta)) for i, method in enumerate(self.comparison.methods)
                for run in method.runs]


def write_report(folders: Sequence[Path], out: Path, *, markdown_out: Path | None = None,
                 latex_out: Path | None = None, data: Path | None = None, frames: Sequence[int] = (), count: int = 6,
                 separate: bool = False, limit: int = LIMIT) -> list[Part]:
    """Write the page and its tables.

    Args:
        folders: Work directories of finished runs.
        out: The page.
        markdown_out, latex_out: The tables; beside the page by default.
        data: The data set's folder, for the gallery; what the runs' configs name by default.
        frames: Image ids to show in the gallery besides.
        count: Frames of each kind in the gallery; 0 leaves it out.
        separate: Put runs that were evaluated on different grounds apart, instead of refusing them.
        limit: Greatest size of the page in bytes; the gallery is cut to fit.

    Returns:
        The parts of the page.

    Raises:
        UserError: Runs cannot be used or compared, the data set is another one, the page cannot be small enough, or
            two outputs have one name.
    """
    outs = _places(out, markdown_out, latex_out)
    parts = [_part(number, comparison, data, count)
             for number, comparison in enumerate(compare(read_runs(folders), separate), 1)]
    if data is not None and count and all(part.annotations is None for part in parts):
        raise UserError('this is not the data set that the runs were evaluated on', data,
                        'give the folder of ' + '; '.join(part.comparison.stands_on['data'] for part in parts))
    environment = _environment()
    bare = len(render(environment, parts).encode())
    with_gallery = [part for part in parts if part.annotations is not None]
    for part in with_gallery:
        # A tenth of what is left is kept for the words around the pictures.
        part.gallery = make_gallery(part.comparison, part.annotations, count, frames,
                                    int(0.9 * (limit - bare) / len(with_gallery)))
    page = render(environment, parts)
    if len(page.encode()) > limit:
        raise UserError(f'the page takes {len(page.encode()) / 1e6:.1f} MB, more than {limit / 1e6:g}', out,
                        'report fewer runs at a time')
    titled = [(part.title, part.tables) for part in parts]
    for path, text in zip(outs, (page, markdown(titled), latex(titled))):
        write_text(path, text)
    return parts


def _places(out: Path, markdown_out: Path | None, latex_out: Path | None) -> tuple[Path, Path, Path]:
    """Where page, Markdown and LaTeX go."""
    if not out.name or out.is_dir():
        raise UserError('this is a folder', out, 'name a file in it')
    places = out, markdown_out or out.with_suffix('.md'), latex_out or out.with_suffix('.tex')
    if len({path.resolve() for path in places}) < len(places):
        raise UserError('the page and its tables would take one place', out, 'name different files')
    for path, suffixes in zip(places, ({'.html', '.htm'}, {'.md', '.txt'}, {'.tex'})):
        if path.suffix.lower() not in suffixes or path.is_dir():
            # Any other name may be that of a file of a run.
            raise UserError(f'not a name of this output, which ends in {" or ".join(sorted(suffixes))}', path,
                            'name another file')
    return places


def _part(number: int, comparison: Comparison, data: Path | None, count: int) -> Part:
    annotations, why = _annotations(comparison, data)
    differences = None
    if annotations is not None:
        comparison = pool_seeds(comparison, annotations)
        differences = differences_table(comparison, annotations)
    tables = all_tables(comparison)
    if differences is not None:
        # Behind the tables of the paper, before the breakdowns.
        tables.insert(sum(table.key in ('methods', 'strategies') for table in tables), differences)
    figures, lacks = all_figures(comparison), lacking(comparison)
    if not count:
        annotations, why = None, 'it was not asked for'
    return Part(number, comparison, tables, figures, lacks, annotations, why)


def _annotations(comparison: Comparison, data: Path | None) -> tuple[Annotations | None, str]:
    """The data set of the runs, or why it is not there."""
    roots = [data] if data is not None else [root for run in comparison.runs if (root := data_root(run))]
    if not roots:
        return None, 'the data set is not where the configs of the runs say; name it with --data'
    annotations = load_annotations(roots[0])
    if annotations.sha256 != comparison.meta['data']['sha256']:
        return None, f'the data set in {roots[0].name} is not the one that the runs were evaluated on'
    return annotations, ''


def lacking(comparison: Comparison) -> list[str]:
    """What runs of this comparison do not bring, one sentence each."""
    found = []

    def ask(words: str, what: Callable[[Run], object], runs: Sequence[Run] = comparison.runs) -> None:
        without = [run.place for run in runs if not what(run)]
        if without:
            some = len(runs) - len(without)
            found.append(f'{words}: ' + (
                f'{some} of {len(runs)} runs; without: {", ".join(without)}' if some else 'no run'))
    for key, words in _OPTIONAL.items():
        ask(words, lambda run, key=key: run.get(key))
    ask('95 % intervals', lambda run: any('ci95' in cell for cell in run.metrics['results']['overall'].values()))
    ask('heatmaps of the network', heatmap_folder)
    ask('quality of the mask priors that were read, told by tools/make_priors.py', prior_quality,
        [run for run in comparison.runs if prior_folder(run) is not None])
    return found


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    return Environment(loader=PackageLoader('mmpose_surgical.visualization.report'), autoescape=True, trim_blocks=True,
                       lstrip_blocks=True, undefined=StrictUndefined)


def render(environment: Environment, parts: Sequence[Part]) -> str:
    """The page; scripts and styles are part of it."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    def inline(name: str) -> Markup:
        return Markup(environment.loader.get_source(environment, name)[0])
    has_figures = any(part.figures for part in parts)
    return environment.get_template('report.html.j2').render(
        parts=parts, legend=LEGEND, today=date.today().isoformat(), style=inline('report.css'),
        script=inline('report.js'), plotly=Markup(get_plotlyjs()) if has_figures else '',
        raw=Markup)
