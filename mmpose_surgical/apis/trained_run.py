"""What tools/train.py left in a work directory, as far as a new video needs it."""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmpose_surgical.datasets.boxes import PICTURE
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.thresholds import read_thresholds
from mmpose_surgical.files import read_json
from mmpose_surgical.landmarks import LANDMARKS
from mmpose_surgical.pipeline.artifacts import RECORD
from mmpose_surgical.pipeline.config import load_config
from mmpose_surgical.pipeline.finish import THRESHOLDS
from mmpose_surgical.pipeline.plan import PROMPT_THRESHOLDS
from mmpose_surgical.pipeline.stages import coarse_folder_of, dumped_config, final_checkpoint
from mmpose_surgical.pipeline.stem import share_stem
from mmpose_surgical.pipeline.yolo import by_ultralytics


@dataclass(frozen=True)
class TrainedRun:
    """A trained model with what belongs to it.

    Args:
        cfg: Its complete config.
        checkpoint: Its weights.
        thresholds: Least score of a point that counts, by landmark, chosen on validation; ``None`` where nobody chose.
        facts: What its training recorded, e.g. the prior of a refiner.
        trained_model: The model's config as it was trained, whatever overrides say.
        coarse: The coarse network in front of a refiner.
        prompt_thresholds: Least score of a coarse point that prompts the segmenter, by landmark; of a refiner.
    """
    cfg: Config
    checkpoint: Path
    thresholds: dict[str, float | None] | None
    facts: dict[str, Any]
    trained_model: dict[str, Any]
    coarse: TrainedRun | None = None
    prompt_thresholds: dict[str, float] | None = None

    @property
    def name(self) -> str:
        return self.checkpoint.parent.name

    def thresholds_or(self, asked: float | Mapping[str, float | None] | None) -> dict[str, float | None]:
        """Least scores by landmark: what was asked for, one for all or each its own, else those of training.

        Raises:
            UserError: Nobody chose any, or a landmark has none.
        """
        asked = self.thresholds if asked is None else asked
        if asked is None:
            raise UserError('nothing says from which score on a point counts', self.checkpoint.parent,
                            'name the work directory of a finished training, or give score_thr (--score-thr)')
        values = dict(asked) if isinstance(asked, Mapping) else dict.fromkeys(LANDMARKS, asked)
        if missing := [name for name in LANDMARKS if name not in values]:
            raise UserError(f'no score threshold for {", ".join(missing)}', fix='give one for each landmark')
        if wrong := [value for value in values.values() if value is not None and not math.isfinite(value)]:
            raise UserError(f'a score threshold of {wrong[0]}', fix='give a number, or None for no threshold')
        return values


def load_run(model: str | Path, weights: str | Path | None = None, options: dict[str, Any] | None = None) -> TrainedRun:
    """Look up a trained model; no weights are loaded.

    Args:
        model: A work directory of tools/train.py, or a config file.
        weights: The checkpoint; of a work directory the one that its training stands for.
        options: Overrides as ``--cfg-options`` gives them.

    Raises:
        UserError: Something is missing, or this model cannot look at a video.
    """
    path = Path(model)
    if path.is_dir():
        config, checkpoint = dumped_config(path), Path(weights) if weights else final_checkpoint(path)
    else:
        if weights is None:
            raise UserError('a config is no trained model', path, 'name its work directory, or its weights too')
        config, checkpoint = path, Path(weights)
    if not checkpoint.is_file():
        raise UserError('checkpoint not found', checkpoint, 'train one with tools/train.py')
    folder = checkpoint.parent
    cfg = load_config(config, options, folder)
    if by_ultralytics(cfg):
        raise UserError('this model is run by ultralytics', folder, 'predict with it there: yolo pose predict '
                        'model=WEIGHTS source=VIDEO')
    if cfg.get('box', PICTURE) != PICTURE:
        raise UserError(f'this model was trained on boxes ({cfg.box}), and a new video has none', folder,
                        'train with box=picture')
    if (cfg.model.get('test_cfg') or {}).get('flip_test'):
        raise UserError('a video is not predicted with flipped copies', folder,
                        'pass --cfg-options model.test_cfg.flip_test=False')
    thresholds = read_thresholds(folder / THRESHOLDS)[0] if (folder / THRESHOLDS).is_file() else None
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    if record and not record['done']:
        raise UserError('the training in this folder is not finished', folder, 'finish it with tools/train.py')
    facts, trained = record.get('facts', {}), record.get('content', {}).get('model', dict(cfg.model))
    if not cfg.get('coarse'):
        return TrainedRun(cfg, checkpoint, thresholds, facts, trained)
    if 'coarse' not in facts:
        raise UserError('nothing says which coarse network this refiner was trained behind', folder,
                        'name the work directory as tools/train.py left it')
    if windows := sorted(key for key in options or {} if key.startswith('clip.')):
        raise UserError(f'{windows[0]} is of the coarse network, which was trained with its own', folder,
                        'leave it out')
    coarse_folder = coarse_folder_of(folder, facts)
    coarse = load_run(coarse_folder)
    share_stem(cfg, coarse.cfg, coarse_folder)
    prompts = read_json(folder / facts['predictions'] / PROMPT_THRESHOLDS, 'train again, so that the file is written')
    return TrainedRun(cfg, checkpoint, thresholds, facts, trained, coarse, prompts)
