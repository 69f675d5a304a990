"""Fixtures that all tests share."""
from __future__ import annotations

import importlib
import os
import runpy
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# Two threads at most, set before numpy or torch is imported: small tensors gain nothing from more.
for _variable in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_variable, '1')

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))  # helpers such as toy_data.py
# No test reaches beyond this machine, nor does a process that one starts; what would fails instead of passing only
# where there is a network.
OFFLINE = ROOT / 'tests/offline'
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get('PYTHONPATH')]))
os.environ['TESTS_REFUSED'] = tempfile.mkstemp(prefix='refused')[1]
runpy.run_path(str(OFFLINE / 'sitecustomize.py'))


@pytest.fixture(scope='session')
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope='session')
def shared_real() -> Path:
    """The folder of real frames beside the checkout; the test is skipped where it is absent."""
    folder = ROOT.parent / 'shared' / 'real'
    if not folder.is_dir():
        pytest.skip(f'no real frames at {folder}')
    return folder


@pytest.fixture(scope='session')
def plugin() -> ModuleType:
    """MMPose with everything of this package registered (imports MMPose: ten seconds when cold)."""
    module = importlib.import_module('mmpose_surgical.plugin')
    from mmpose.utils import register_all_modules

    register_all_modules()  # sets the default scope 'mmpose' for code that builds without a Runner
    return module


@pytest.fixture(autouse=True, scope='session')
def _nothing_was_refused() -> Iterator[None]:
    yield
    refused = Path(os.environ['TESTS_REFUSED'])
    lines = refused.read_text()
    refused.unlink()
    assert not lines, f'something reached for the network, and perhaps swallowed the refusal:\n{lines}'


@pytest.fixture(scope='session')
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy data set of ``tests/toy_data.py``: videos a and b train, c val, d test. Read only."""
    from toy_data import write_toy_data
    return write_toy_data(tmp_path_factory.mktemp('toy'))


@pytest.fixture(scope='session')
def refined(plugin: ModuleType, toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished ``demo_refine_prior_aux`` run on the toy data, its prerequisites beside it. Read only."""
    from pipeline_runs import train
    folder = tmp_path_factory.mktemp('runs')
    assert train('configs/demo/demo_refine_prior_aux.py', toy_data, folder) == 0
    return folder
