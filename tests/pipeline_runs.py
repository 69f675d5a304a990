"""Runs of the whole pipeline on the toy data set, at a size that trains in seconds."""
import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    'codec.input_size': '[64,48]', 'codec.heatmap_size': '[16,12]', 'codec.sigma': '1.0', 'train_cfg.max_epochs': '2',
    **{f'{part}_dataloader.{key}': value for part in ('train', 'val', 'test')
       for key, value in (('num_workers', '0'), ('persistent_workers', 'False'), ('batch_size', '2'))}}


def tiny_options(data: Path, *more: str) -> list[str]:
    """``--cfg-options`` words that shrink a demo config and its prerequisite."""
    words = [f'{key}={value}' for key, value in TINY.items()]
    return [f'data_root={data}', *words, *more]


def train(config: str, data: Path, folder: Path, *more: str, **flags) -> int:
    """``tools/train.py`` in this process; ``more`` are further ``--cfg-options``."""
    from mmpose_surgical.pipeline.run import train_command
    options = tiny_options(data, *more)
    if 'rtmpose' in config:  # its codec has no heatmaps
        options = [word for word in options if not word.startswith('codec.heatmap_size')]
    if 'refine' in config:
        options += [f'coarse.overrides.{word}' for word in tiny_options(data)[1:]]
    args = dict(config=str(ROOT / config), work_dir=str(folder / Path(config).stem), plan=False, rebuild=False,
                resume=None, amp=False, no_validate=False, auto_scale_lr=False, show_dir=None,
                cfg_options=options, launcher='none', local_rank=0)
    return train_command(argparse.Namespace(**args | flags))


def evaluate(config: Path, checkpoint: Path, folder: Path | None, *options: str, **flags) -> int:
    """``tools/test.py`` in this process; results go to ``folder``, or to the default."""
    from mmpose_surgical.pipeline.testing import test_command
    args = dict(config=str(config), checkpoint=str(checkpoint), split='test', work_dir=folder and str(folder), out=None,
                dump=None, show_dir=None, overlays=2, heatmaps=False, score_thr=None,
                cfg_options=list(options), launcher='none', local_rank=0)
    return test_command(argparse.Namespace(**args | flags))
