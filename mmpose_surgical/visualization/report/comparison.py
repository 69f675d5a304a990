"""What may be compared: seeds joined into methods, and methods that stand on the same ground."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.evaluator import OVERALL, RESERVED
from mmpose_surgical.evaluation.summary import provenance
from mmpose_surgical.landmarks import LANDMARKS
from mmpose_surgical.visualization.report.runs import AGAIN, METRICS, Run, entry, is_figure

ACTIONS = ('clip', 'grasp', 'dissect')
"""The order of the paper's tables; other actions follow by name."""
STRATEGIES = ('coarse', 'refine', 'direct_mask', 'refine_prior', 'refine_prior_aux')
"""The five strategies in the order of the paper's Table 3."""
BASELINES = ('simplebaseline', 'yolov8_pose', 'rtmpose')
"""The external comparisons in the order of the paper's Table 2."""


@dataclass(frozen=True)
class Joined:
    """One figure of a method over its seeds.

    Args:
        mean: The figure of all seeds together, where their predictions were joined; else the mean of the seeds that
            define it.
        low, high: Least and greatest of them.
        ci95: 95 % interval of the run, or of the joined seeds; ``None`` for a mean of seeds.
        seeds: How many define it.
    """
    mean: float
    low: float
    high: float
    ci95: tuple[float, float] | None
    seeds: int


@dataclass(frozen=True)
class Method:
    """A compared method: one run, or one per seed.

    Args:
        name: Of the row.
        runs: Its runs.
        pooled: Metrics of all runs together, counts summed; see :mod:`~mmpose_surgical.visualization.report.pooling`.
    """
    name: str
    runs: tuple[Run, ...]
    pooled: Mapping[str, Any] | None = None

    @property
    def config(self) -> str:
        return self.runs[0].config

    @property
    def prior(self) -> str:
        return provenance(self.runs[0].meta)['prior']

    @property
    def seeds(self) -> int:
        """How many trainings; one folder may hold several that ``tools/evaluate.py`` joined."""
        return sum(run.meta.get('seeds', 1) for run in self.runs)

    @property
    def is_baseline(self) -> bool:
        return any(name in self.config for name in BASELINES)

    def joined(self, *path: str) -> Joined | None:
        """The number at a path of the metrics over the seeds; ``None`` where no seed defines it.

        Raises:
            UserError: A run has something else there.
        """
        values = [run.get(*path) for run in self.runs]
        if strange := [run for run, value in zip(self.runs, values) if not is_figure(value)]:
            raise UserError(f'{".".join(path)} is no number', strange[0].folder / METRICS, AGAIN)
        values = [value for value in values if value is not None]
        if not values:
            return None
        whole = self.pooled if self.pooled is not None else self.runs[0].metrics if len(self.runs) == 1 else {}
        value = entry(whole, *path)
        return Joined(sum(values) / len(values) if value is None else value, min(values), max(values),
                      _interval(whole, path), len(values))


def _interval(metrics: Mapping[str, Any], path: Sequence[str]) -> tuple[float, float] | None:
    """The 95 % interval of a figure: by the figure's name, or bare where its object has one figure with an interval."""
    found = entry(metrics, *path[:-1], 'ci95')
    found = found.get(path[-1]) if isinstance(found, Mapping) else found if path[-1] == 'accuracy' else None
    return None if found is None or None in found else (found[0], found[1])


def _bootstrap(meta: Mapping[str, Any]) -> str:
    """How intervals were made, or why there are none; empty where metrics do not say."""
    about = meta.get('bootstrap') or {}
    if 'method' not in about:
        return about.get('note', '')
    return f'{about["method"]}, {about["resamples"]:,} resamples of {about["videos"]} videos'


@dataclass(frozen=True)
class Comparison:
    """Methods whose numbers may stand in one table: same frames, ground truth, canvas, tolerance and protocol."""
    methods: tuple[Method, ...]

    @property
    def runs(self) -> list[Run]:
        return [run for method in self.methods for run in method.runs]

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.runs[0].meta

    @property
    def stands_on(self) -> dict[str, str]:
        """What all numbers stand on, in words: data, matching, threshold source, prior, and the kind of intervals."""
        told = [provenance(run.meta) for run in self.runs]

        def each(key: str) -> str:
            return '; '.join(dict.fromkeys(words[key] for words in told))
        words = {'data': told[0]['data'], 'matching': told[0]['matching'], 'threshold': each('threshold_source'),
                 'prior': each('prior')}
        intervals = '; '.join(dict.fromkeys(filter(None, (
            _bootstrap(method.pooled['meta'] if method.pooled else run.meta)
            for method in self.methods for run in method.runs if method.pooled or len(method.runs) == 1))))
        return words | ({'intervals': intervals} if intervals else {})

    @property
    def caption(self) -> str:
        return '. '.join(f'{name.capitalize()}: {words}' for name, words in self.stands_on.items()) + '.'

    @property
    def actions(self) -> list[str]:
        """Actions of the tables in the paper's order; rows of points that belong to none are left to the counts."""
        found = {name for run in self.runs for name in run.metrics['results']} - RESERVED
        return sorted(found, key=lambda name: (_place(name, ACTIONS), name))

    @property
    def landmarks(self) -> list[str]:
        return [name for name in LANDMARKS if any(name in run.metrics['results'][OVERALL] for run in self.runs)]


def compare(runs: Sequence[Run], separate: bool = False) -> list[Comparison]:
    """Join seeds into methods, and methods into what may stand in one table.

    Args:
        runs: Finished runs.
        separate: Put runs on different ground truth, frames or rules apart instead of refusing them.

    Raises:
        UserError: The runs have no common ground and are not to be put apart, or were split differently.
    """
    grounds: dict[str, list[Run]] = {}
    for run in runs:
        grounds.setdefault(json.dumps(run.ground), []).append(run)
    if len(grounds) > 1 and not separate:
        told = [f'{group[0].place}: {_ground(group[0])}' for group in grounds.values()]
        raise UserError(f'these runs were not evaluated alike: {list_problems(told)}', None,
                        'evaluate them alike with tools/test.py, or put them apart with --separate')
    for group in grounds.values():
        splits = {run.record['content']['splits']: run for run in group if 'splits' in run.record.get('content', {})}
        if len(splits) > 1:
            raise UserError('the data set was split differently for these runs: '
                            + ', '.join(run.place for run in splits.values()), None,
                            'train them with the same splits.json, or report them apart')
    return [Comparison(_methods(group)) for group in grounds.values()]


def _ground(run: Run) -> str:
    words = provenance(run.meta)
    return f'{words["data"]} ({run.meta["data"]["sha256"][:8]}), {words["matching"]}'


def _methods(runs: Sequence[Run]) -> tuple[Method, ...]:
    """Runs of one config, settings and prior backend are seeds of one method."""
    joined: dict[tuple, list[Run]] = {}
    for run in runs:
        source = provenance(run.meta)['threshold_source']
        joined.setdefault((run.config, run.prior_fingerprint, run.settings, source), []).append(run)
    alike: dict[str, list[list[Run]]] = {}
    for (config, *_), group in joined.items():
        alike.setdefault(config, []).append(group)
    methods = []
    for (config, *_), group in joined.items():
        seeds = [run.seed for run in group]
        if len(group) > 1 and (None in seeds or len(set(seeds)) < len(seeds)):
            # Without a seed each, they cannot be told from repetitions of one run.
            raise UserError(f'runs of {config} have no seeds that differ: {list_problems([r.place for r in group])}',
                            None, 'give one run per seed, each as tools/train.py left it or in the folder inside it '
                            'that tools/test.py makes')
        group = sorted(group, key=lambda run: run.seed or 0)
        name = config if len(alike[config]) == 1 else f'{config} ({_told_apart_by(group, alike[config])})'
        methods.append(Method(f'{name} [oracle]' if group[0].is_oracle else name, tuple(group)))
    return tuple(sorted(methods, key=_order))


def _told_apart_by(group: Sequence[Run], alike: Sequence[Sequence[Run]]) -> str:
    """What only these runs of a config have: their prior, how they were trained, their folder's name, or its place."""
    def backend(runs: Sequence[Run]) -> str:
        return (runs[0].meta.get('prior') or {}).get('backend') or ''

    def training(runs: Sequence[Run]) -> str:
        return runs[0].meta.get('coarse_for_training') or ''

    def both(runs: Sequence[Run]) -> str:
        return ', '.join(filter(None, (backend(runs), training(runs))))

    def folder(runs: Sequence[Run]) -> str:
        names = {run.folder.name for run in runs}
        return names.pop() if len(names) == 1 else ''
    for tell in (backend, training, both, folder):
        if (own := tell(group)) and [tell(runs) for runs in alike].count(own) == 1:
            return own
    return group[0].place


def _order(method: Method) -> tuple:
    """Baselines, then strategies, each in the paper's order; demo_refine is the strategy refine.

    A variant behind in-sample predictions stands before the one that is not, so that the last one is no such variant.
    """
    config = method.config
    baseline = next((i for i, name in enumerate(BASELINES) if name in config), len(BASELINES))
    ends = [name for name in STRATEGIES if config == name or config.endswith(f'_{name}')]
    strategy = _place(max(ends, key=len, default=''), STRATEGIES)
    return baseline, strategy, method.runs[0].meta.get('coarse_for_training') != 'in-sample', method.name


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)
