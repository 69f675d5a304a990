"""The tables of the report: the layouts of the paper's Tables 2 and 3, and a second look beneath the averages."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mmpose_surgical.evaluation.bootstrap import FEW_VIDEOS, MIN_VIDEOS
from mmpose_surgical.evaluation.evaluator import OVERALL, RESERVED
from mmpose_surgical.visualization.report.comparison import Comparison, Joined, Method
from mmpose_surgical.visualization.report.runs import entry

Better = Literal['higher', 'lower'] | None
_DIGITS = {'%': 1, 'px': 2, '': 2, 'count': 1, 'p': 3}
_MISSING = '-'


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Args:
        group: Heading over several columns.
        name: Heading, without the unit.
        unit: ``%`` (of a fraction), ``px``, ``count``, ``p`` or none.
        better: Which end is best; ``None`` marks none.
        interval: Whether intervals stand beside the number on paper; on the page they can be shown for all.
    """
    group: str
    name: str
    unit: str = '%'
    better: Better = None
    interval: bool = False

    @property
    def heading(self) -> str:
        unit = f' {self.unit}' if self.unit not in ('', 'count', 'p') else ''
        return self.name + unit + {'higher': ' ↑', 'lower': ' ↓', None: ''}[self.better]


@dataclass(frozen=True)
class Cell:
    """A number with what stands beside it, ready to print."""
    column: Column
    value: Joined | None
    best: bool = False

    def _text(self, number: float) -> str:
        if self.column.unit == 'p' and number < 0.001:
            return '<0.001'
        if self.column.unit == 'count' and number == int(number):
            return str(int(number))
        return f'{number * (100 if self.column.unit == "%" else 1):.{_DIGITS[self.column.unit]}f}'

    @property
    def text(self) -> str:
        return _MISSING if self.value is None else self._text(self.value.mean)

    @property
    def ci95(self) -> str:
        """``[low, high]``, empty where there is none."""
        bounds = self.value and self.value.ci95
        return f'[{self._text(bounds[0])}, {self._text(bounds[1])}]' if bounds else ''

    @property
    def seeds(self) -> str:
        """``(least-greatest)`` over the seeds, empty for a single run."""
        if self.value is None or self.value.seeds < 2:
            return ''
        return f'({self._text(self.value.low)}–{self._text(self.value.high)})'

    @property
    def beside(self) -> str:
        """What stands beside the number on paper."""
        return ' '.join(filter(None, (self.seeds, self.ci95))) if self.column.interval else ''


@dataclass(frozen=True)
class Row:
    """A row of numbers behind its headings; ``contest`` names the rows of its section that it competes with."""
    heads: tuple[str, ...]
    cells: tuple[Cell, ...]
    method: int | None = None
    contest: str = ''


@dataclass(frozen=True)
class Section:
    """Rows under one title."""
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table; ``key`` is its name in addresses and labels, ``caption`` says what its numbers stand on."""
    key: str
    title: str
    caption: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings over the columns, with the number of columns each spans."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans


def mark_best(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Row, ...]:
    """Mark the best cell of each column among rows of one contest; equal as printed means equally good.

    A contest of fewer than two numbers has no best.
    """
    best: set[tuple[int, int]] = set()
    for c, column in enumerate(columns):
        contests: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for r, row in enumerate(rows):
            if column.better and row.cells[c].value is not None:
                contests[row.contest].append((float(row.cells[c].text), r))
        for entries in contests.values():
            top = (max if column.better == 'higher' else min)(value for value, _ in entries)
            best |= {(r, c) for value, r in entries if value == top and len(entries) > 1}
    return tuple(replace(row, cells=tuple(replace(cell, best=(r, c) in best) for c, cell in enumerate(row.cells)))
                 for r, row in enumerate(rows))


def _row(columns: Sequence[Column], heads: tuple[str, ...], values: Sequence[Joined | None], method: int,
         contest: str = '') -> Row:
    cells = tuple(Cell(column, value) for column, value in zip(columns, values, strict=True))
    return Row(heads, cells, method, contest)


def _full(group: str) -> list[Column]:
    return [Column(group, 'P', '%', 'higher'), Column(group, 'R', '%', 'higher'),
            Column(group, 'F1', '%', 'higher', interval=True), Column(group, 'L2', 'px', 'lower')]


_FULL = ('precision', 'recall', 'f1', 'l2')
_SHORT = ('f1', 'l2')


def all_tables(comparison: Comparison) -> list[Table]:
    """The tables of a comparison, in reading order; those that no run has figures for are left out.

    Oracles, which use ground truth at test time, stand in a table of their own and compete with nothing.
    """
    numbered = list(enumerate(comparison.methods))
    plain = [(i, m) for i, m in numbered if not m.runs[0].is_oracle]
    oracles = [(i, m) for i, m in numbered if m.runs[0].is_oracle]
    strategies = [(i, m) for i, m in plain if not m.is_baseline]
    by_action = _by_action(comparison)
    tables = []
    if plain:
        tables.append(_sections('methods', 'All methods by action (layout of Table 2)', comparison, plain, by_action))
    if strategies:
        tables.append(strategies_table(comparison, strategies))
    if oracles:
        tables.append(_sections('oracles', 'Oracles: upper bounds that use ground truth at test time', comparison,
                                oracles, by_action, competing=False))
    tables += _second_looks(comparison, plain)
    tables += [_measures(comparison, numbered), _counts(comparison, numbered), _runs(comparison)]
    return [table for table in tables if any(section.rows for section in table.sections)]


def _by_action(comparison: Comparison) -> list[tuple[str, Callable[[str], tuple[str, ...]]]]:
    return [(name, lambda landmark, name=name: ('results', name, landmark))
            for name in (*comparison.actions, OVERALL)]


def _sections(key: str, title: str, comparison: Comparison, methods: Sequence[tuple[int, Method]],
              sections: Sequence[tuple[str, Callable[[str], tuple[str, ...]]]], competing: bool = True) -> Table:
    """Sections of methods x (landmark: P, R, F1, L2), as in the paper's Table 2."""
    columns = tuple(column for landmark in comparison.landmarks for column in _full(landmark))
    if not competing:
        columns = tuple(replace(column, better=None) for column in columns)
    built = []
    for name, path in sections:
        rows = [_row(columns, (method.name, method.prior),
                     [method.joined(*path(lm), figure) for lm in comparison.landmarks for figure in _FULL], i)
                for i, method in methods]
        built.append(Section(name, mark_best(rows, columns)))
    return Table(key, title, comparison.caption, ('Method', 'Prior'), columns, tuple(built))


def strategies_table(comparison: Comparison, methods: Sequence[tuple[int, Method]]) -> Table:
    """Methods x landmarks, F1 and L2 by action and everything overall, as in the paper's Table 3."""
    columns = (*(column for action in comparison.actions for column in _full(action)[2:]), *_full(OVERALL))
    rows = [_row(columns, (method.name, method.prior, landmark),
                 [*(method.joined('results', action, landmark, figure)
                    for action in comparison.actions for figure in _SHORT),
                  *(method.joined('results', OVERALL, landmark, figure) for figure in _FULL)], i, landmark)
            for i, method in methods for landmark in comparison.landmarks]
    return Table('strategies', 'Strategies (layout of Table 3)', comparison.caption, ('Method', 'Prior', 'LM'),
                 columns, (Section('', mark_best(rows, columns)),))


def _second_looks(comparison: Comparison, methods: Sequence[tuple[int, Method]]) -> list[Table]:
    """One table per attribute that the metrics are broken down by (source, condition, ...)."""
    tables = []
    attributes = dict.fromkeys(name for run in comparison.runs for name in run.get('by') or {})
    for attribute in attributes:
        values = sorted({str(v) for run in comparison.runs for v in run.get('by', attribute) or {}})
        sections = [(_group(comparison, attribute, value),
                     lambda lm, value=value, attribute=attribute: ('by', attribute, value, lm)) for value in values]
        tables.append(_sections(f'by-{attribute}', f'A second look: by {attribute}', comparison, methods, sections))
    return tables


def _group(comparison: Comparison, attribute: str, value: str) -> str:
    """Title of a group of frames, with a word of caution where it has few videos."""
    told = (metrics for method in comparison.methods
            for metrics in (method.pooled or {}, *(run.metrics for run in method.runs)))
    videos = next((n for metrics in told if (n := entry(metrics, 'meta', 'by_videos', attribute, value))), None)
    if not isinstance(videos, int):
        return f'{attribute}: {value}'
    few = ': intervals may be too narrow' if MIN_VIDEOS <= videos <= FEW_VIDEOS else ''
    return f'{attribute}: {value} ({videos} video{"s" * (videos > 1)}{few})'


def _measures(comparison: Comparison, methods: Sequence[tuple[int, Method]]) -> Table:
    """What else the evaluator measures; a column that no run has is left out (the page lists what is lacking)."""
    found: list[tuple[Column, tuple[str, ...]]] = [
        (Column('acting tool', 'correct', '%', 'higher'), ('active_tool_accuracy', 'accuracy')),
        (Column('acting tool', 'answered', '%'), ('active_tool_accuracy', 'answered')),
        (Column('false points per idle minute', 'all', 'count', 'lower'), ('false_points_per_idle_minute', 'all'))]
    for lm in comparison.landmarks:
        found += [(Column(lm, 'AP', '%', 'higher'), ('average_precision', lm)),
                  (Column(lm, 'F1, mean of actions', '%', 'higher'), ('macro', lm, 'action_f1')),
                  (Column(lm, 'F1, mean of videos', '%', 'higher'), ('macro', lm, 'video_f1')),
                  (Column(lm, 'calibration error', '%', 'lower'), ('calibration', lm, 'ece')),
                  (Column(lm, 'jitter', 'px', 'lower'), ('jitter', lm))]
    found = [(column, path) for column, path in found if any(run.get(*path) is not None for run in comparison.runs)]
    columns = tuple(column for column, _ in found)
    rows = [_row(columns, (method.name, method.prior), [method.joined(*path) for _, path in found], i,
                 'oracle' if method.runs[0].is_oracle else '') for i, method in methods] if found else []
    return Table('measures', 'More measures', comparison.caption, ('Method', 'Prior'), columns,
                 (Section('', mark_best(rows, columns)),))


def _counts(comparison: Comparison, methods: Sequence[tuple[int, Method]]) -> Table:
    """Counts behind the rates, also of points that belong to no action, and the other distances."""
    figures = (('TP', 'tp', 'count'), ('FP', 'fp', 'count'), ('FN', 'fn', 'count'), ('L2 median', 'l2_median', 'px'),
               ('L2 assigned', 'l2_assigned', 'px'))
    columns = tuple(Column(lm, name, unit) for lm in comparison.landmarks for name, _, unit in figures)
    present = {name for run in comparison.runs for name in run.metrics['results']}
    sections = []
    for name in [*comparison.actions, *sorted(present & RESERVED - {OVERALL}), OVERALL]:
        rows = [_row(columns, (method.name, method.prior),
                     [method.joined('results', name, lm, key) for lm in comparison.landmarks for _, key, _ in figures],
                     i) for i, method in methods]
        titles = {'none': 'none (nothing acts)', 'ambiguous': 'ambiguous (several actions in one frame)'}
        sections.append(Section(titles.get(name, name), tuple(rows)))
    return Table('counts', 'Counts and other distances', comparison.caption, ('Method', 'Prior'), columns,
                 tuple(sections))


def _runs(comparison: Comparison) -> Table:
    """Every run by itself."""
    columns = tuple(column for landmark in comparison.landmarks for column in (
        replace(c, better=None, interval=c.name == 'F1') for c in _full(landmark)))
    rows = []
    for i, method in enumerate(comparison.methods):
        for run in method.runs:
            alone = Method(method.name, (run,))
            heads = (method.name, method.prior, '-' if run.seed is None else str(run.seed), run.place)
            rows.append(_row(columns, heads, [alone.joined('results', OVERALL, lm, figure)
                                              for lm in comparison.landmarks for figure in _FULL], i))
    return Table('runs', 'Each run, overall', comparison.caption, ('Method', 'Prior', 'Seed', 'Folder'), columns,
                 (Section('', tuple(rows)),))
