"""The configs for a public data set are those of the methods, on its data, with one frame."""
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('name', ['coarse', 'simplebaseline', 'rtmpose', 'refine_prior_aux'])
def test_config_differs_in_data_and_window_alone(plugin, name, monkeypatch, tmp_path):
    from mmpose_surgical.pipeline.config import load_config
    monkeypatch.setenv('ROBUST_MIPS', str(tmp_path))
    where = 'surgical/baselines' if name in ('simplebaseline', 'rtmpose') else 'surgical'
    options = {'data_root': str(tmp_path), 'clip.num_frames': 1}
    method = load_config(ROOT / f'configs/{where}/{name}.py', options, 'run')
    cfg = load_config(ROOT / f'configs/robust_mips/robust_mips_{name}.py', {}, 'run')
    assert cfg.data_root == str(tmp_path) and cfg.clip.num_frames == 1
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path) and cfg.train_dataloader.dataset.num_frames == 1
    for key in ('model', 'codec', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'test_evaluator'):
        assert cfg[key] == method[key], key
    if name == 'refine_prior_aux':
        assert Path(cfg.coarse.config).name == 'robust_mips_coarse.py'
