"""Hand-made folders of finished runs, and parts of their metrics."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def cell(tp: int, fp: int, fn: int, l2: float | None = 5., **more: Any) -> dict[str, Any]:
    """A cell of the results; rates follow from the counts."""
    return dict(tp=tp, fp=fp, fn=fn, precision=tp / (tp + fp), recall=tp / (tp + fn), f1=2 * tp / (2 * tp + fp + fn),
                l2=l2, l2_median=l2, l2_assigned=l2, **more)


def write_run(root: Path, name: str = 'coarse', seed: int = 0, tip: dict | None = None, *, anchor: dict | None = None,
              actions: dict[str, dict] | None = None, meta: dict | None = None, more: dict | None = None,
              content: dict | None = None, facts: dict | None = None, done: bool = True) -> Path:
    """Write ``<root>/<seed>/<name>``; ``meta`` and ``more`` go into the metrics, ``content`` into the record."""
    folder = root / str(seed) / name
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
