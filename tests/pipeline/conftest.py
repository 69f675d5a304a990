"""A finished run on the toy data set."""
from pathlib import Path

import pytest
from pipeline_runs import train


@pytest.fixture(scope='session')
def refined(plugin, toy_data, tmp_path_factory) -> Path:
    """Folder of a finished ``demo_refine_prior_aux`` run on the toy data, with its prerequisites beside it."""
    folder = tmp_path_factory.mktemp('runs')
    assert train('configs/demo/demo_refine_prior_aux.py', toy_data, folder) == 0
    return folder
