"""Joining the process group, with the collectives replaced: what each launcher must be given."""
import datetime

import pytest

from mmpose_surgical.pipeline import distributed


@pytest.fixture
def joined(monkeypatch):
    """Arguments of each way to join, instead of joining."""
    import mmengine.dist.utils as dist_utils
    import torch
    seen = {}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    # As deep as possible below MMEngine, so that its own reading of the arguments is part of the test.
    monkeypatch.setattr(dist_utils, '_init_dist_pytorch', lambda backend, **kw: seen.update(backend=backend, **kw))
    return seen


def test_gpus_join_by_nccl_with_a_time_limit(joined, monkeypatch):
    distributed.start_processes('pytorch')
    assert joined['backend'] == 'nccl' and joined['timeout'] == datetime.timedelta(minutes=60)


def test_slurm_without_gpus_names_its_first_host(monkeypatch):
    import torch
    seen = {}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda backend, timeout: seen.update(backend=backend))
    monkeypatch.setattr(distributed, '_first_slurm_host', lambda: 'node7')
    for name, value in dict(SLURM_PROCID='1', SLURM_NTASKS='2', SLURM_LOCALID='1').items():
        monkeypatch.setenv(name, value)
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    distributed.start_processes('slurm')
    import os
    assert seen == dict(backend='gloo')
    assert [os.environ[name] for name in ('MASTER_ADDR', 'RANK', 'WORLD_SIZE')] == ['node7', '1', '2']
