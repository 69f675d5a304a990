"""Hand-made folders of finished runs."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from report_runs import write_run

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.evaluation.predictions import Predictions, write_predictions


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """``make_run(name, seed, overall_tip, ...)`` writes ``<tmp>/<seed>/<name>`` and returns it."""
    return partial(write_run, tmp_path)


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
