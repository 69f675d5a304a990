"""What a training left in its work directory, read without torch and without running any of it."""
from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.splits import Splits, load_splits
from mmpose_surgical.doctor.finding import Finding
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import file_digest, read_json
from mmpose_surgical.pipeline.artifacts import RECORD

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RunFolder:
    """A work directory of ``tools/train.py``, or of a fold inside one."""

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """``artifact.json``: fingerprint, done, git_commit, facts, content."""
        return read_json(self.folder / RECORD, 'name a work directory of tools/train.py')

    @property
    def facts(self) -> dict[str, Any]:
        """What the run recorded at its end."""
        return self.record['facts']

    @property
    def train_split(self) -> str:
        """The split that the weights were trained on."""
        return self.record['content']['train_dataloader']['dataset']['split']

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``metrics.json``."""
        return read_json(self.folder / 'metrics.json', 'evaluate again with tools/train.py')

    @cached_property
    def thresholds(self) -> dict[str, Any]:
        """``thresholds.json``."""
        return read_json(self.folder / 'thresholds.json', 'evaluate again with tools/train.py')

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config that the training dumped."""
        files = sorted(self.folder.glob('*.py'))
        if len(files) != 1:
            raise UserError(f'{len(files)} dumped configs where one is expected', self.folder,
                            'restore the config of this training')
        return read_dumped_config(files[0])


def read_dumped_config(path: Path) -> dict[str, Any]:
    """The top-level entries of a config that MMEngine dumped: literals and calls of ``dict``; others are ``None``."""
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
    except SyntaxError as error:
        raise UserError(f'config is damaged: {error.msg}', path, 'restore the config of this training') from None
    return {node.targets[0].id: _literal(node.value) for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {word.arg: _literal(word.value) for word in node.keywords}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_literal(key): _literal(value) for key, value in zip(node.keys, node.values)}
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


@dataclass(frozen=True)
class DataSet:
    """The data set of a run, found unchanged."""

    root: Path
    annotations: Annotations
    splits: Splits


def open_data(run: RunFolder) -> tuple[DataSet | None, Finding]:
    """The data set that a run was made from, ``None`` where it is not there or not the same, and what is to say of it.

    The dumped config may name it relative to the folder that the training was started from, usually the checkout.
    """
    named = Path(run.config['data_root'])
    root = next((path for path in (named, ROOT / named) if (path / 'annotations.json').is_file()), None)
    if root is None:
        return None, Finding('data', None, f'no data set at {named}', 'mount the data set, or run the audit from the '
                             'same folder as the training')
    try:
        annotations = load_annotations(root)
        splits = load_splits(root, annotations)
    except UserError as error:
        return None, Finding('data', False, f'{error.what} ({error.where})', error.fix or '')
    content = run.record['content']
    for file, found, recorded in (('annotations.json', annotations.sha256, content['data']),
                                  ('splits.json', file_digest(root / 'splits.json'), content['splits'])):
        if found != recorded:
            return None, Finding('data', False, f'{root / file} is not the file that the run was made from (SHA-256 '
                                 f'{str(found)[:12]}, recorded {str(recorded)[:12]})', 'restore it, or train anew')
    return DataSet(root, annotations, splits), Finding('data', True, f'{root}, {len(annotations.frames)} pictures, '
                                                       f'SHA-256 {annotations.sha256[:12]} as recorded')
