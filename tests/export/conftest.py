"""Models to export."""
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

THRESHOLDS = dict(tip=0.05, anchor=0.05)


@pytest.fixture(scope='session')
def vivid(refined: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :func:`refined`, its outputs made 25 times as large: points and masks then pass their thresholds.

    It counts as trained without mask dropout, see :func:`own_masks`.
    """
    import torch
    folder = tmp_path_factory.mktemp('vivid') / 'runs'
    shutil.copytree(refined, folder)
    for checkpoint in folder.glob('*/epoch_*.pth'):
        content = torch.load(checkpoint, weights_only=False)
        for name, value in content['state_dict'].items():
            if name.startswith(('head.final_layer', 'head.aux_head')):
                value *= 25
        torch.save(content, checkpoint)
    return folder / 'demo_refine_prior_aux'


@pytest.fixture(scope='session')
def own_masks(vivid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """:func:`vivid` as if it had been trained with mask dropout, so that its mask branch is a prior."""
    folder = tmp_path_factory.mktemp('own') / 'runs'
    shutil.copytree(vivid.parent, folder)
    record = folder / vivid.name / 'artifact.json'
    content = json.loads(record.read_text())
    content['content']['model']['head']['mask_dropout'] = 0.2
    record.write_text(json.dumps(content))
    return folder / vivid.name


@pytest.fixture(scope='session')
def frames(toy_data: Path) -> list[np.ndarray]:
    """The pictures of a toy video at 10 frames per second, as large as the network's input."""
    return [cv2.imread(str(file)) for file in sorted((toy_data / 'frames/d').iterdir())]


@pytest.fixture
def untrained(plugin: ModuleType, root: Path, tmp_path: Path) -> Callable:
    """Makes a run of a demo config with the weights that it starts from, its statistics and outputs made uneven."""
    import torch
    from mmpose.registry import MODELS
    from pipeline_runs import TINY

    from mmpose_surgical.apis.trained_run import TrainedRun
    from mmpose_surgical.pipeline.config import load_config
    from mmpose_surgical.pipeline.run import parse_options

    def make(config: str, **options: object) -> TrainedRun:
        sizes = [f'{key}={value}' for key, value in TINY.items()
                 if key.startswith('codec.') and not ('rtmpose' in config and key != 'codec.input_size')]
        cfg = load_config(root / f'configs/demo/{config}.py', parse_options(sizes) | options, tmp_path)
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name.endswith(('running_mean', 'final_layer.weight')):
                    value.normal_(std=0.1)
                elif name.endswith('final_layer.bias'):  # maps without zeros, around which decoding is a lottery
                    value.fill_(0.5)
        checkpoint = tmp_path / config / 'epoch_1.pth'
        checkpoint.parent.mkdir(exist_ok=True)
        torch.save(dict(state_dict=model.state_dict()), checkpoint)
        return TrainedRun(cfg, checkpoint, THRESHOLDS, {}, dict(cfg.model))
    return make
