"""Finished runs, read from the folders that ``tools/train.py`` and ``tools/test.py`` leave."""
from __future__ import annotations

import ast
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.evaluator import OVERALL
from mmpose_surgical.files import read_json

METRICS, RECORD = 'metrics.json', 'artifact.json'
HEATMAPS = 'heatmaps'
"""Where ``tools/test.py --heatmaps`` leaves the heatmaps of a model, in the folder of its results."""
AGAIN = 'evaluate the run again with tools/test.py'
_OBJECTS = ('per_video', 'by', 'macro', 'tolerance_curve', 'average_precision', 'score_curve', 'calibration', 'jitter',
            'active_tool_accuracy', 'false_points_per_idle_minute')
_CELL = ('tp', 'fp', 'fn', 'precision', 'recall', 'f1', 'l2')
_META: dict[str, tuple[str, Callable[[Any], bool]]] = {
    'prior': ('an object', lambda value: isinstance(value, dict)),
    'bootstrap': ('an object', lambda value: isinstance(value, dict)),
    'config': ('a name', lambda value: isinstance(value, str)),
    'split': ('a name', lambda value: isinstance(value, str)),
    'tolerance': ('a number', lambda value: is_figure(value)),
    'seeds': ('a number', lambda value: type(value) is int),
    'canvas': ('[width, height]', lambda value: isinstance(value, list) and [*map(is_figure, value)] == [True, True]),
    'threshold': ('a number or one per landmark', lambda value: isinstance(value, int | float | dict | list)),
    'threshold_from': ('a name or an object', lambda value: isinstance(value, str | dict | list)),
}
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
    def ground(self) -> list[Any]:
        """What must agree for numbers to stand in one table."""
        meta = self.meta
        return [meta['data']['sha256'], meta.get('split'), meta['canvas'], float(meta['tolerance']), meta['protocol'],
                bool(meta.get('visible_only')), bool(meta.get('complete_only')), meta['frames'], meta['idle_frames']]

    @property
    def is_oracle(self) -> bool:
        """Whether ground truth helped at test time, which configs and backends say in their names."""
        told = (self.config, str(self.meta.get('prior') or ''), str(self.meta.get('box') or ''))
        return any('oracle' in text for text in told)

    def fact_folder(self, name: str) -> Path | None:
        """A folder that the training used (``coarse``, ``predictions``, ``priors``), ``None`` where it is not there."""
        path = self.record.get('facts', {}).get(name)
        folder = (self.trained_in / path).resolve() if path else None
        return folder if folder is not None and folder.is_dir() else None

    def get(self, *path: str) -> Any:
        """An entry of the metrics; ``None`` where the run lacks it."""
        return entry(self.metrics, *path)


def entry(metrics: Mapping[str, Any], *path: str) -> Any:
    """An entry of metrics; ``None`` where they lack it."""
    value: Any = metrics
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read finished runs.

    Raises:
        UserError: A folder is no finished run, its metrics cannot be used, or a run is given twice.
    """
    runs = [_read_run(Path(folder)) for folder in folders]
    seen: dict[tuple, Run] = {}
    for run in runs:
        # A copy of a run is no second seed.
        identity = (json.dumps(run.meta.get('checkpoint')), run.settings, json.dumps(run.ground), run.prior_fingerprint)
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
        beneath = sorted(str(p.parent) for depth in ('*', '*/*') for p in folder.glob(f'{depth}/{METRICS}'))
        raise UserError(f'this is no finished run: there is no {METRICS}', folder,
                        f'give the runs in it: {list_problems(beneath)}' if beneath
                        else 'finish it with tools/train.py, or evaluate it with tools/test.py')
    metrics = read_json(path, AGAIN)
    problems = _problems(metrics)
    if problems:
        raise UserError(f'the metrics cannot be used: {list_problems(problems)}', path, AGAIN)
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
    if not isinstance(record, dict) or not all(isinstance(record.get(k, {}), dict) for k in ('content', 'facts')):
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
    data = meta.get('data')
    if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in ('name', 'sha256')):
        wrong.append('meta.data does not say which ground truth was used (name, sha256)')
    wrong += [f'meta.{key} is not {words}' for key, (words, fits) in _META.items()
              if meta.get(key) is not None and not fits(meta[key])]
    wrong += [f'{key} is not an object' for key in _OBJECTS if not isinstance(metrics.get(key) or {}, dict)]
    wrong += [f'{key}.{name} is not an object' for key in ('per_video', 'by') if isinstance(metrics.get(key), dict)
              for name, value in metrics[key].items() if not isinstance(value, dict)]
    if OVERALL not in results:
        wrong.append(f'results.{OVERALL} is missing')
    for action, row in results.items():
        if not isinstance(row, dict):
            wrong.append(f'results.{action} is not an object')
            continue
        for landmark, cell in row.items():
            lacks = [k for k in _CELL if not isinstance(cell, dict) or not is_figure(cell.get(k, ''))]
            if lacks:
                wrong.append(f'results.{action}.{landmark} has no number or null as {", ".join(lacks)}')
    return wrong


def is_figure(value: Any) -> bool:
    """Whether metrics may have this where a measure belongs: a finite number, or ``None`` where it is undefined."""
    return value is None or type(value) in (int, float) and math.isfinite(value)


def predictions_file(run: Run) -> Path:
    """Where a run's points on its evaluated split are, if they are there."""
    return run.folder / f'{run.meta.get("split") or "test"}_predictions.json'


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
