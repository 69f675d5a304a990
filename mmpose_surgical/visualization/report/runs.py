"""Finished runs, read from the folders that ``tools/train.py`` and ``tools/test.py`` leave, and what may be compared.

Nothing is evaluated here: figures come from ``metrics.json``, and seeds of one method are joined by mean and range.
"""
from __future__ import annotations

import ast
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.evaluator import OVERALL, RESERVED
from mmpose_surgical.evaluation.summary import provenance
from mmpose_surgical.files import read_json
from mmpose_surgical.landmarks import LANDMARKS

METRICS, RECORD = 'metrics.json', 'artifact.json'
HEATMAPS = 'heatmaps'
"""Where ``tools/test.py --heatmaps`` leaves the heatmaps of a model, in the folder of its results."""
ACTIONS = ('clip', 'grasp', 'dissect')
"""The order of the paper's tables; other actions follow by name."""
STRATEGIES = ('coarse', 'refine', 'direct_mask', 'refine_prior', 'refine_prior_aux')
"""The five strategies in the order of the paper's Table 3."""
BASELINES = ('simplebaseline', 'yolov8_pose', 'rtmpose')
"""The external comparisons in the order of the paper's Table 2."""

_AGAIN = 'evaluate the run again with tools/test.py'
_CELL = ('tp', 'fp', 'fn', 'precision', 'recall', 'f1', 'l2')
_PER_SEED = ('seed', 'upstream', 'start_weights')
"""What differs between seeds of one method: the seed, and what was made before it with that seed."""
_OF_THE_MACHINE = ('checkpoint', 'device')
"""Options of a prior that say where something is; weights count by the backend's fingerprint."""


@dataclass(frozen=True)
class Run:
    """One finished run.

    Args:
        folder: Its work directory.
        metrics: ``metrics.json``, checked as far as the tables need it.
        record: The training's own record (``artifact.json``), empty where there is none.
        trained_in: The folder of that record.
    """
    folder: Path
    metrics: Mapping[str, Any]
    record: Mapping[str, Any]
    trained_in: Path

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.metrics['meta']

    @property
    def config(self) -> str:
        """Name of the config, of the folder where the metrics name none."""
        return Path(self.meta.get('config') or self.folder.name).stem

    @property
    def seed(self) -> int | None:
        return self.record.get('content', {}).get('seed')

    @property
    def place(self) -> str:
        """The last two parts of the folder, which tell runs apart without giving a whole path away."""
        return '/'.join(self.folder.parts[-2:])

    @property
    def prior_fingerprint(self) -> str | None:
        return (self.meta.get('prior') or {}).get('fingerprint')

    @property
    def settings(self) -> str | None:
        """Digest of everything that was set except the seed, also for the networks before this one.

        ``None`` where nothing is recorded.
        """
        if not self.record:
            return None
        prior = self.record.get('facts', {}).get('prior_config') or {}
        coarse, predictions = (_record(folder) if (folder := self.fact_folder(name)) else None
                               for name in ('coarse', 'predictions'))
        settings = [_without_seed(self.record), self.meta.get('prior'), _without_seed(coarse),
                    {k: v for k, v in prior.items() if k not in _OF_THE_MACHINE},
                    # In-sample or out-of-fold.
                    (predictions or {}).get('facts', {}).get('chosen_on')]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    @property
    def is_oracle(self) -> bool:
        """Whether ground truth helped at test time, which configs and backends say in their names."""
        told = (self.config, str(self.meta.get('prior') or ''), str(self.meta.get('oracle') or ''))
        return any('oracle' in text for text in told)

    def fact_folder(self, name: str) -> Path | None:
        """A folder that the training used (``coarse``, ``predictions``, ``priors``), ``None`` where it is not there."""
        path = self.record.get('facts', {}).get(name)
        folder = (self.trained_in / path).resolve() if path else None
        return folder if folder is not None and folder.is_dir() else None

    def get(self, *path: str) -> Any:
        """An entry of the metrics; ``None`` where the run lacks it."""
        value: Any = self.metrics
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True)
class Joined:
    """One figure of a method over its seeds.

    Args:
        mean: Mean of the seeds that define it.
        low, high: Least and greatest of them.
        ci95: The run's 95 % interval; of several seeds the envelope of theirs, ``None`` unless all have one.
        seeds: How many define it.
    """
    mean: float
    low: float
    high: float
    ci95: tuple[float, float] | None
    seeds: int


@dataclass(frozen=True)
class Method:
    """A compared method: one run, or one per seed."""
    name: str
    runs: tuple[Run, ...]

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
        """The number at a path of the metrics over the seeds; ``None`` where no seed defines it."""
        values = [run.get(*path) for run in self.runs]
        values = [value for value in values if value is not None]
        if not values:
            return None
        bounds = [_interval(run, path) for run in self.runs]
        known = [b for b in bounds if b is not None]
        ci95 = (min(b[0] for b in known), max(b[1] for b in known)) if len(known) == len(self.runs) else None
        return Joined(sum(values) / len(values), min(values), max(values), ci95, len(values))


def _interval(run: Run, path: Sequence[str]) -> Sequence[float] | None:
    """The 95 % interval of a figure: by the figure's name, or bare where its object has one figure with an interval."""
    found = run.get(*path[:-1], 'ci95')
    found = found.get(path[-1]) if isinstance(found, Mapping) else found if path[-1] == 'accuracy' else None
    return None if found is None or None in found else found


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
        """What all numbers stand on, in words: data, matching, threshold source, prior."""
        told = [provenance(run.meta) for run in self.runs]
        def each(key: str) -> str:
            return '; '.join(dict.fromkeys(words[key] for words in told))
        return {'data': told[0]['data'], 'matching': told[0]['matching'], 'threshold': each('threshold_source'),
                'prior': each('prior')}

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


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read finished runs.

    Raises:
        UserError: A folder is no finished run, its metrics cannot be used, or a run is given twice.
    """
    runs = [_read_run(Path(folder)) for folder in folders]
    seen: dict[tuple, Run] = {}
    for run in runs:
        # A copy of a run is no second seed.
        identity = (json.dumps(run.meta.get('checkpoint')), run.settings, json.dumps(_key(run)), run.prior_fingerprint)
        same = seen.get((run.folder.resolve(),)) or (run.meta.get('checkpoint') and seen.get(identity))
        if same:
            raise UserError(f'the same run is given twice, also as {same.folder}', run.folder, 'give each run once')
        seen[(run.folder.resolve(),)] = seen[identity] = run
    return runs


def _read_run(folder: Path) -> Run:
    if not folder.is_dir():
        raise UserError('there is no such folder', folder, 'give work directories of finished runs')
    record = _record(folder)
    if record is not None and not record.get('done'):
        raise UserError('the run in this folder is not finished', folder, 'repeat its tools/train.py command')
    path = folder / METRICS
    if not path.is_file():
        beneath = sorted(str(p.parent) for p in folder.glob(f'*/{METRICS}'))
        raise UserError(f'this is no finished run: there is no {METRICS}', folder,
                        f'give the runs in it: {list_problems(beneath)}' if beneath
                        else 'finish it with tools/train.py, or evaluate it with tools/test.py')
    metrics = read_json(path, _AGAIN)
    problems = _problems(metrics)
    if problems:
        raise UserError(f'the metrics cannot be used: {list_problems(problems)}', path, _AGAIN)
    trained_in = folder
    if record is None:
        # tools/test.py leaves its results in a folder of the training's folder.
        trained_in, record = folder.parent, _record(folder.parent)
    if (record or {}).get('content', {}).get('stage') != 'train':
        trained_in, record = folder, {}
    return Run(folder, metrics, record, trained_in)


def _record(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if not path.is_file():
        return None
    record = read_json(path, 'repeat the tools/train.py command of this folder')
    if not isinstance(record, dict):
        raise UserError('record of the work directory is damaged', path, 'repeat its tools/train.py command')
    return record


def _without_seed(record: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (record or {}).get('content', {}).items() if k not in _PER_SEED}


def _problems(metrics: Any) -> list[str]:
    """What keeps metrics out of the tables."""
    if not isinstance(metrics, dict) or not all(isinstance(metrics.get(k), dict) for k in ('meta', 'results')):
        return ['not {"meta": {...}, "results": {...}}']
    meta, results = metrics['meta'], metrics['results']
    wrong = [f'meta.{key} is missing' for key in ('tolerance', 'canvas', 'protocol', 'threshold', 'frames',
                                                  'idle_frames') if key not in meta]
    if not isinstance(meta.get('data'), dict) or not meta['data'].get('sha256'):
        wrong.append('meta.data does not say which ground truth was used (sha256)')
    if OVERALL not in results:
        wrong.append(f'results.{OVERALL} is missing')
    for action, row in results.items():
        if not isinstance(row, dict):
            wrong.append(f'results.{action} is not an object')
            continue
        for landmark, cell in row.items():
            lacks = [k for k in _CELL if not isinstance(cell, dict) or not _is_figure(cell.get(k, ''))]
            if lacks:
                wrong.append(f'results.{action}.{landmark} has no number or null as {", ".join(lacks)}')
    return wrong


def _is_figure(value: Any) -> bool:
    return value is None or type(value) in (int, float) and math.isfinite(value)


def _key(run: Run) -> list[Any]:
    """What must agree for numbers to stand in one table."""
    meta = run.meta
    return [meta['data']['sha256'], meta.get('split'), meta['canvas'], float(meta['tolerance']), meta['protocol'],
            bool(meta.get('visible_only')), bool(meta.get('complete_only')), meta['frames'], meta['idle_frames']]


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
        grounds.setdefault(json.dumps(_key(run)), []).append(run)
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
    configs = [key[0] for key in joined]
    methods = []
    for (config, *_), group in joined.items():
        seeds = [run.seed for run in group]
        if len(group) > 1 and (None in seeds or len(set(seeds)) < len(seeds)):
            # Without a seed each, they cannot be told from repetitions of one run.
            raise UserError(f'runs of {config} have no seeds that differ: {list_problems([r.place for r in group])}',
                            None, 'give one run per seed, each as tools/train.py left it or in the folder inside it '
                            'that tools/test.py makes')
        group = sorted(group, key=lambda run: run.seed or 0)
        # Equal names with other settings or another prior are told apart by their folder.
        name = config if configs.count(config) == 1 else f'{config} ({group[0].place})'
        methods.append(Method(f'{name} [oracle]' if group[0].is_oracle else name, tuple(group)))
    return tuple(sorted(methods, key=_order))


def _order(method: Method) -> tuple:
    """Baselines, then strategies, each in the paper's order; demo_refine is the strategy refine."""
    config = method.config
    baseline = next((i for i, name in enumerate(BASELINES) if name in config), len(BASELINES))
    ends = [name for name in STRATEGIES if config == name or config.endswith(f'_{name}')]
    strategy = _place(max(ends, key=len, default=''), STRATEGIES)
    return baseline, strategy, method.name


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def data_root(run: Run) -> Path | None:
    """Folder of the data set as the dumped config names it; ``None`` where no config or folder is there."""
    for folder in (run.folder, run.trained_in):
        for path in sorted(folder.glob('*.py')):
            root = _constant(path, 'data_root')
            if root and Path(root).is_dir():
                return Path(root)
    return None


def _constant(path: Path, name: str) -> Any:
    """A constant of a dumped config, read without MMEngine (dumped configs are plain assignments)."""
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
    except (SyntaxError, UnicodeDecodeError):
        return None
    values = [node.value.value for node in tree.body if isinstance(node, ast.Assign)
              and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
              and isinstance(node.value, ast.Constant)]
    return values[-1] if values else None
