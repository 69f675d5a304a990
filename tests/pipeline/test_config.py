"""What a config names once reaches every place that needs it."""
from pathlib import Path

import pytest
from pipeline_runs import ROOT

from mmpose_surgical.pipeline.config import load_config


@pytest.mark.parametrize('name, epochs', [('surgical/coarse', 60), ('demo/demo_coarse', 4), ('demo/demo_refine', 4),
                                          ('demo/demo_rtmpose', 12), ('demo/demo_simplebaseline', 12)])
def test_the_learning_rate_ends_with_the_training(name: str, epochs: int) -> None:
    cfg = load_config(ROOT / f'configs/{name}.py')
    assert cfg.train_cfg.max_epochs == epochs and cfg.param_scheduler[1].T_max == cfg.param_scheduler[1].end == epochs
    cfg = load_config(ROOT / f'configs/{name}.py', {'train_cfg.max_epochs': 7})
    assert (cfg.param_scheduler[1].begin, cfg.param_scheduler[1].end, cfg.param_scheduler[1].T_max) == (0, 7, 7)
    assert cfg.param_scheduler[0].end != 7  # the warm-up is in iterations


@pytest.mark.parametrize('path', sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs').rglob('*.py')
                                          if '_base_' not in p.parts))
def test_every_config_is_read_and_names_what_it_starts_from(path: str) -> None:
    cfg = load_config(ROOT / path)
    assert cfg.train_dataloader.dataset.data_root == cfg.data_root and cfg.test_dataloader.dataset.split == 'test'
    if cfg.get('coarse'):
        assert (ROOT / cfg.coarse.config).is_file()
        own, coarse = Path(path), Path(cfg.coarse.config)
        assert coarse.parent.name == own.parent.name  # a refiner stands beside its coarse network


def test_the_target_of_direct_supervision_is_named_once() -> None:
    cfg = load_config(ROOT / 'configs/surgical/direct_mask.py', {'codec.alpha': 0.2})
    head = cfg.model.head
    assert head.loss.type == 'GatedMSELoss' and head.loss.alpha == head.decoder.alpha == 0.2
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['GenerateTarget'].encoder.alpha == 0.2 and steps['LoadToolMask'].heatmap_size == (128, 72)
    assert list(steps).index('TopdownAffine') < list(steps).index('LoadToolMask') < list(steps).index('GenerateTarget')
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert 'LoadToolMask' not in {step.type for step in loader.dataset.pipeline}
