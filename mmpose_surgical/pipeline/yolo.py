"""Training and prediction by ultralytics, as a program of its own: its licence (AGPL-3.0) is not that of this package.

A config asks for it by ``model = dict(type='UltralyticsPose', ...)``. The stages around it are those of every other
config: plan, fingerprint, resume, thresholds, metrics and overlays.
"""
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import digit_version

from mmpose_surgical.baselines.yolo_layout import export_sample, to_predictions, write_data_file
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import write_predictions
from mmpose_surgical.files import read_json, remove_folder, write_atomically, write_json
from mmpose_surgical.packaged_weights import PREFIX, find_packaged

MODEL_TYPE = 'UltralyticsPose'
PROGRAM = Path(__file__).resolve().parents[1] / 'baselines' / 'ultralytics_program.py'
_FIX = 'pip install "mmpose_surgical[yolo]" (in a checkout: .venv/bin/pip install -e ".[yolo]"), or name the Python ' \
       'of an environment that has it: YOLO_PYTHON=/path/to/python. It is under the AGPL-3.0, which is yours to accept'
_OLDEST = '8.4.190'  # as in requirements/yolo.txt; older ones take no sigma of the keypoint loss
_LOG = 'ultralytics.log'
_GEOMETRY = 'geometry.json'


def by_ultralytics(cfg: Config) -> bool:
    """Whether a config's model is trained by ultralytics."""
    return cfg.model.get('type') == MODEL_TYPE


def check_ultralytics(cfg: Config) -> None:
    """Refuse what cannot be run, before anything is made.

    Raises:
        UserError: ultralytics is not there or too old, or a flag asks for what is MMEngine's.
    """
    for flag, given in (('--amp', cfg.optim_wrapper.type != 'OptimWrapper'),
                        ('--auto-scale-lr', cfg.get('auto_scale_lr', {}).get('enable'))):
        if given:
            raise UserError('this flag does not reach ultralytics', flag, 'set model.train.amp or '
                            'optim_wrapper.optimizer.lr with --cfg-options instead')
    if cfg.get('launcher', 'none') != 'none':
        raise UserError('ultralytics is run as one process', '--launcher', 'leave it out')
    python = _python()
    ask = 'from importlib.metadata import version; print(version("ultralytics"))'
    try:
        answer = subprocess.run([python, '-c', ask], capture_output=True, text=True)
    except OSError:
        raise UserError('there is no such Python', python, 'correct YOLO_PYTHON') from None
    if answer.returncode:
        raise UserError('ultralytics is not installed', python, _FIX)
    version = answer.stdout.strip()
    if digit_version(version) < digit_version(_OLDEST):
        raise UserError(f'ultralytics {version} takes no notice of model.oks_sigma', python,
                        f'pip install -U "ultralytics>={_OLDEST}"')


def train_yolo(cfg: Config, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Train in ``cfg.work_dir``, from where an earlier call was cut off; returns the checkpoint."""
    folder = Path(cfg.work_dir)
    work = folder / 'ultralytics'
    epochs = cfg.train_cfg.max_epochs
    checkpoint = folder / f'epoch_{epochs}.pt'
    write_atomically(folder / Path(cfg.filename).name, cfg.dump)
    if checkpoint.is_file():  # cut off behind the last epoch
        return checkpoint
    data = work / 'data'
    # The geometry is written last: what has it is complete, and the work directory stands for one content.
    pictures = len(read_json(data / _GEOMETRY) if (data / _GEOMETRY).is_file() else
                   export_split(cfg, cfg.train_dataloader.dataset.split, data))
    _run(cfg, work, dict(
        task='train', model=_model_file(cfg, work), **_start_weights(cfg), folder=str(work.resolve()),
        arguments=train_arguments(cfg, write_data_file(data, cfg.model.oks_sigma), pictures)), folder, progress)
    write_atomically(checkpoint, (work / 'final.pt').replace)
    remove_folder(work)
    return checkpoint


def _model_file(cfg: Config, work: Path) -> str:
    """ultralytics' name of the model, or a file with the architecture that the config spells out."""
    architecture = cfg.model.backbone.get('architecture')
    if architecture is None:
        return f'{cfg.model.backbone.type}.yaml'
    path = work / 'architecture.yaml'
    write_json(path, _plain(architecture))  # JSON is YAML too
    return str(path.resolve())


def _start_weights(cfg: Config) -> dict[str, str | None]:
    """What a job starts from: ``weights`` of a whole model, or ``backbone_weights`` that a package brings."""
    init = cfg.model.backbone.get('init_cfg')
    if not init:
        return dict(weights=None, backbone_weights=None)
    if init.checkpoint.startswith(PREFIX):
        return dict(weights=None, backbone_weights=str(find_packaged(init.checkpoint)))
    return dict(weights=str(Path(init.checkpoint).resolve()), backbone_weights=None)


def train_arguments(cfg: Config, data: Path, pictures: int) -> dict[str, Any]:
    """ultralytics' words for size, schedule and seed of the config; ``model.train`` has the rest, and goes before.

    Args:
        cfg: The config.
        data: ``data.yaml``.
        pictures: Number of training pictures, since ultralytics counts the warm-up in epochs.
    """
    loader, optimizer = cfg.train_dataloader, cfg.optim_wrapper.optimizer
    batches = max(1, -(-pictures // loader.batch_size))
    warm_up, cosine = cfg.param_scheduler
    own = _plain(cfg.model.train)
    if not cfg.model.backbone.get('init_cfg'):
        own.pop('freeze', None)  # random features are not to be kept as they are
    return dict(
        data=str(data.resolve()), imgsz=max(cfg.codec.input_size), epochs=cfg.train_cfg.max_epochs,
        batch=loader.batch_size, nbs=loader.batch_size,  # no accumulation of gradients
        optimizer=optimizer.type, lr0=optimizer.lr, weight_decay=optimizer.weight_decay, momentum=0.9, cos_lr=True,
        lrf=cosine.eta_min / optimizer.lr, warmup_epochs=warm_up.end / batches, warmup_bias_lr=0.0,
        warmup_momentum=0.9, seed=cfg.get('randomness', {}).get('seed') or 0, deterministic=True, device=_device(cfg),
        workers=loader.num_workers, val=False, plots=False, patience=cfg.train_cfg.max_epochs,
        # It tries mixed precision with a model that it would have to fetch.
        amp=False) | own


def predict_yolo(cfg: Config, checkpoint: Path, split: str, folder: Path) -> Path:
    """Predict a split; returns the predictions file (all points, no threshold)."""
    work = folder / 'ultralytics'
    remove_folder(work)
    geometry = export_split(cfg, split, work / 'data', labels=False)
    answers = work / 'answers.json'
    _run(cfg, work, dict(
        task='predict', weights=str(checkpoint.resolve()), images=str((work / 'data/images').resolve()),
        out=str(answers.resolve()), arguments=dict(
            imgsz=max(cfg.codec.input_size), device=_device(cfg), batch=cfg.test_dataloader.batch_size,
            **_plain(cfg.model.predict))), folder)
    out = folder / f'{split}_predictions.json'
    write_predictions(out, to_predictions(read_json(answers), geometry))
    remove_folder(work)
    return out


def export_split(cfg: Config, split: str, folder: Path, labels: bool = True) -> dict[str, dict[str, Any]]:
    """Write ``images/`` and ``labels/`` of a split; returns the geometry by picture name.

    Pictures pass the test pipeline up to ``TopdownAffine``, so that they are what the other methods see.
    """
    from mmengine.registry import init_default_scope
    from mmengine.utils import import_modules_from_strings
    from mmpose.registry import DATASETS
    import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    dataset_cfg = copy.deepcopy(cfg.test_dataloader.dataset)
    dataset_cfg.split = split
    dataset_cfg.pipeline = [step for step in dataset_cfg.pipeline if step['type'] != 'PackClipInputs']
    dataset = DATASETS.build(dataset_cfg)
    places = folder / 'images', folder / 'labels' if labels else None
    geometry = {}
    for index in range(len(dataset)):
        results = dataset[index]
        geometry[str(results['img_id'])] = export_sample(results, *places, cfg.model.box_margin)
    write_json(folder / _GEOMETRY, geometry)
    return geometry


def _run(cfg: Config, work: Path, job: Mapping[str, Any], log_folder: Path,
         progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Start the program with a job and wait; its words are appended to ``ultralytics.log``.

    Raises:
        UserError: It failed.
    """
    log = log_folder / _LOG
    write_json(work / 'job.json', job)
    # Its settings file would otherwise land in the user's home.
    env = os.environ | dict(YOLO_OFFLINE='true', YOLO_CONFIG_DIR=str(work.resolve()))
    with log.open('a', encoding='utf-8') as file, subprocess.Popen(
            [_python(), str(PROGRAM), str(work / 'job.json')], env=env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=file, text=True) as process:
        for line in process.stdout:
            done, _, total = line.partition(' ')
            if done.isdigit() and total.strip().isdigit():
                progress(int(done), int(total))
    if process.returncode:
        last = (log.read_text(encoding='utf-8', errors='replace').strip().splitlines() or ['it said nothing'])[-1]
        raise UserError(f'ultralytics ended with code {process.returncode}: {last}', log, 'read the log; the same '
                        'command goes on from the last epoch')


def _python() -> str:
    return os.environ.get('YOLO_PYTHON') or sys.executable


def _device(cfg: Config) -> str:
    """``model.device``, else the first GPU where there is one."""
    import torch
    return str(cfg.model.get('device') or ('0' if torch.cuda.is_available() else 'cpu'))


def _plain(section: Mapping[str, Any]) -> dict[str, Any]:
    """A config section as a dict that JSON can hold."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in section.items()}
