"""Hand-made folders of finished runs."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_runs import cell

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.evaluation.predictions import Predictions, write_predictions


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run(name, seed, overall_tip, ...)`` writes ``<tmp>/<seed>/<name>`` and returns it.

    ``meta`` and ``more`` go into the metrics, ``content`` into the training's record.
    """
    def make(name: str = 'coarse', seed: int = 0, tip: dict | None = None, *, anchor: dict | None = None,
             actions: dict[str, dict] | None = None, meta: dict | None = None, more: dict | None = None,
             content: dict | None = None, facts: dict | None = None, done: bool = True) -> Path:
        folder = tmp_path / str(seed) / name
        folder.mkdir(parents=True)
        row = dict(tip=tip or cell(6, 2, 4), anchor=anchor or cell(5, 5, 5))
        data = dict(name='toy', sha256='a' * 64, synthetic=True)
        metrics = dict(
            meta=dict(tolerance=15, canvas=[640, 480], protocol='max_pairs', visible_only=False, complete_only=False,
                      threshold=dict(tip=0.3, anchor=0.2), frames=20, idle_frames=2, split='test', data=data,
                      threshold_from=dict(file='thresholds.json', split='val', data=data), config=f'{name}.py',
                      git_commit='c0ffee', checkpoint=dict(name='epoch_1.pth', sha256=f'{name}{seed}'),
                      prior=None) | (meta or {}),
            results=dict(overall=row, **{action: dict(row) | cells for action, cells in (actions or {}).items()}),
            **(more or {}))
        (folder / 'metrics.json').write_text(json.dumps(metrics))
        record = dict(fingerprint='f', done=done, facts=facts or {},
                      content=dict(stage='train', seed=seed, splits='s', model=name) | (content or {}))
        (folder / 'artifact.json').write_text(json.dumps(record))
        return folder
    return make


@pytest.fixture
def shown_run(make_run: Callable[..., Path], toy_data: Path) -> Callable[..., Path]:
    """``shown_run(name, points)``: a run on the test split of the toy data with predictions, for the gallery."""
    def make(name: str, points: list[dict], **more: Any) -> Path:
        annotations = load_annotations(toy_data)
        meta = dict(data=dict(name=toy_data.name, sha256=annotations.sha256, synthetic=True), threshold=None,
                    canvas=None, tolerance=5)
        folder = make_run(name, meta=meta | more.pop('meta', {}), **more)
        write_predictions(folder / 'test_predictions.json', Predictions.from_records(points))
        (folder / f'{name}.py').write_text(f'data_root = {str(toy_data)!r}\n')
        return folder
    return make
