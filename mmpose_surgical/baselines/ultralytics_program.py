#!/usr/bin/env python3
"""Train a YOLO pose model, or predict with one. A program of its own, which no module of the package imports.

ultralytics is under the AGPL-3.0. This file alone imports it; the package starts it as a process, hands it a job and
reads what it wrote. The process needs an environment with ultralytics, and nothing of this package but the neighbouring
``tip_order.py``.

Usage: ultralytics_program.py JOB.json, where a job is one of

- ``{"task": "train", "model", "weights", "backbone_weights", "folder", "arguments"}``: trains ``model`` (an ultralytics
  model file) from scratch, from ``weights`` of a whole model or from ``backbone_weights`` of its first module, in
  ``folder``, and goes on where an earlier call was cut off; leaves ``final.pt`` there.
- ``{"task": "predict", "weights", "images", "out", "arguments"}``: writes ``{picture name: [{score, points}, ...]}``.

Each line on stdout is ``done total``; what ultralytics has to say goes to stderr. The program ends when its stdin does,
so that it never outlives whoever started it and works on a folder that a later call has taken up.
"""
import contextlib
import json
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
from tip_order import tip_order

KEPT = 'resume_{}.pt'
"""A whole checkpoint, by its number of epochs. ultralytics writes its own in place: a kill can leave half of one."""
FINAL = 'final.pt'


class OrderTips:
    """Tips of every object in canonical order, behind augmentation."""

    def __call__(self, labels: dict) -> dict:
        points = labels['instances'].keypoints
        if points is not None and len(points):
            order = tip_order(points[..., :2], points[..., 2])
            labels['instances'].keypoints = np.take_along_axis(points, order[..., None], axis=1)
        return labels


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB pictures in [0, 1], which are what ultralytics feeds."""


def load_backbone(backbone, path: str) -> None:
    """Give a backbone ImageNet weights that a file lists in the order of the forward pass; it may be cut off before.

    They expect normalised pictures. That is put into the first convolution and the mean behind it, so that it is part
    of the checkpoint.
    """
    import torch
    names = list(backbone.state_dict())
    values = list(torch.load(path, map_location='cpu', weights_only=True).values())[:len(names)]
    state = {name: value.clone() for name, value in zip(names, values, strict=True)}
    kernel, mean = names[0], next(name for name in names if name.endswith('running_mean'))
    shift, scale = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    state[kernel] = state[kernel] / scale
    state[mean] = state[mean] + (state[kernel] * shift).sum((1, 2, 3))
    backbone.load_state_dict(state)


def trainer_class(backbone_weights: str | None = None) -> type:
    """ultralytics' pose trainer with ordered tips, and without looking at validation pictures."""
    import torch
    from ultralytics.models.yolo.pose import PoseTrainer
    from ultralytics.utils.torch_utils import strip_optimizer

    class Trainer(PoseTrainer):

        def get_model(self, cfg=None, weights=None, verbose: bool = True):
            # The memory format that halves the time of depthwise networks on CPU.
            model = super().get_model(cfg, weights, verbose).to(memory_format=torch.channels_last)
            if backbone_weights and weights is None:
                load_backbone(model.model[0], backbone_weights)
            return model

        def build_dataset(self, img_path: str, mode: str = 'train', batch: int | None = None):
            dataset = super().build_dataset(img_path, mode, batch)
            # Before the last one, which turns labels into tensors.
            dataset.transforms.insert(len(dataset.transforms.transforms) - 1, OrderTips())
            return dataset

        def validate(self) -> tuple[dict, float]:
            return {}, 0.0

        def final_eval(self) -> None:
            strip_optimizer(self.last)

    return Trainer


def train(job: dict, report) -> None:
    from ultralytics import YOLO
    from ultralytics.data import utils
    utils.check_font = lambda font: None  # it fetches a font for plots, which are off
    folder, arguments = Path(job['folder']), job['arguments']
    done, kept = last_kept(folder)
    if done >= arguments['epochs']:  # cut off behind the last epoch, from which ultralytics does not go on
        copy(kept, folder / FINAL)
        return
    model = YOLO(str(kept or job['model']), task='pose')
    if job['weights'] and kept is None:
        model.load(job['weights'])

    def keep(trainer) -> None:
        _, before = last_kept(folder)
        copy(trainer.last, folder / KEPT.format(trainer.epoch + 1))
        if before is not None:
            before.unlink()

    model.add_callback('on_model_save', keep)
    model.add_callback('on_fit_epoch_end', lambda trainer: report(trainer.epoch + 1, trainer.epochs))
    model.train(trainer=trainer_class(job['backbone_weights']), save_dir=str(folder), exist_ok=True,
                resume=str(kept) if kept else False, **arguments)
    copy(model.trainer.last, folder / FINAL)


def last_kept(folder: Path) -> tuple[int, Path | None]:
    """The number of epochs of the last whole checkpoint, and its file."""
    found = {int(path.stem.partition('_')[2]): path for path in folder.glob(KEPT.format('*'))}
    return max(found.items(), default=(0, None))


def predict(job: dict, report) -> None:
    from ultralytics import YOLO
    pictures = sorted(Path(job['images']).glob('*.png'))
    answers = {}
    results = YOLO(job['weights'], task='pose').predict(
        source=job['images'], stream=True, save=False, verbose=False, **job['arguments'])
    for result in results:
        scores, points = result.boxes.conf.tolist(), result.keypoints.data.tolist()
        answers[Path(result.path).stem] = [dict(score=s, points=p) for s, p in zip(scores, points)]
        report(len(answers), len(pictures))
    out = Path(job['out'])
    out.with_suffix('.part').write_text(json.dumps(answers))
    os.replace(out.with_suffix('.part'), out)


def copy(source: Path, target: Path) -> None:
    """Copy a file so that a kill leaves the old one or the new one."""
    part = target.with_suffix('.part')
    shutil.copyfile(source, part)
    os.replace(part, target)


def end_with_stdin() -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held when the program ends by itself
        pass
    os._exit(1)


def main() -> None:
    threading.Thread(target=end_with_stdin, daemon=True).start()
    os.environ['YOLO_OFFLINE'] = 'true'
    job = json.loads(Path(sys.argv[1]).read_text())
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        dict(train=train, predict=predict)[job['task']](
            job, lambda done, total: print(done, total, file=stdout, flush=True))


if __name__ == '__main__':
    main()
