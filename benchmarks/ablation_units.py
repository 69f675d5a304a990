"""The units of ablation.py: which method with which seed, and what is kept of each when it is done."""
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.datasets.synthetic.generate import SPECS, generate
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import Predictions, read_predictions, surest_of_equal, write_predictions
from mmpose_surgical.evaluation.thresholds import read_thresholds
from mmpose_surgical.files import read_json, write_json
from mmpose_surgical.pipeline.artifacts import content_of, digest_of
from mmpose_surgical.pipeline.config import load_config
from mmpose_surgical.pipeline.run import parse_options
from mmpose_surgical.visualization.report.runs import read_runs

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / 'work_dirs/bench'
UNITS = ROOT / 'benchmarks/results/ablation'
BENCH, MOTION, LOOKS = 'bench', 'bench_motion', 'bench_looks'
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Method:
    """One row of the tables: a config with options, on one bench.

    Args:
        name: Of the row and of the folder.
        config: Name of the config in configs/bench.
        options: ``--cfg-options`` besides seed and data.
        data: Name of the bench, which is the spec of its data too.
        chain: Whether it stands on stages that others of its seed stand on too (coarse, folds, priors): one at a time.
        seeds: The first so many seeds alone; ``None``: all that are asked for.
    """
    name: str
    config: str
    options: tuple[str, ...] = ()
    data: str = BENCH
    chain: bool = False
    seeds: int | None = None

    def has(self, seed: int) -> bool:
        """Whether it is to be trained with this seed."""
        return self.seeds is None or seed < self.seeds

    def folder(self, seed: int, runs: Path | None = None) -> Path:
        """Where a run lies, or lies in a folder that was carried elsewhere."""
        # The refiners look for the coarse network by the name of its config.
        return (runs or RUNS / self.data) / f'seed{seed}' / f'bench_{self.name}'

    def is_trained(self, seed: int) -> bool:
        """Whether this machine has a finished run, of whichever config."""
        record = self.folder(seed) / 'artifact.json'
        return record.exists() and read_json(record)['done']

    @property
    def config_file(self) -> str:
        return f'configs/bench/{self.config}.py'

    @property
    def all_options(self) -> list[str]:
        data = f'data/{self.data}'
        return [f'data_root={data}', f'synthetic.root={data}', f'synthetic.spec={self.data}', *self.options]

    def command(self, seed: int) -> list[str]:
        return ['tools/train.py', self.config_file, '--work-dir', str(self.folder(seed).relative_to(ROOT)),
                '--cfg-options', f'randomness.seed={seed}', *self.all_options]


def refiner(name: str, backend: str) -> Method:
    return Method(f'{name}_{backend}', f'bench_{name}', (f'prior.backend={backend}', ), chain=True)


EPOCHS = dict(coarse=24, direct_mask=48, simplebaseline=72, rtmpose=160, yolov8_pose=72)
SHARES = dict(quarter=0.25, half=0.5, double=2)
CONTROLS = dict(coarse=('half', 'double'), direct_mask=('quarter', 'half'), simplebaseline=('half',),
                rtmpose=('quarter',), yolov8_pose=('quarter', 'half'))
"""The other lengths: a longer one shows what training could still bring, a shorter one what the last part did."""


def length(name: str, share: str) -> str:
    """The option that trains a method for a share of its length."""
    return f'train_cfg.max_epochs={int(SHARES[share] * EPOCHS[name])}'


METHODS = [
    Method('coarse', 'bench_coarse', chain=True),
    Method('direct_mask', 'bench_direct_mask'),
    Method('simplebaseline', 'bench_simplebaseline'),
    Method('rtmpose', 'bench_rtmpose'),
    Method('yolov8_pose', 'bench_yolov8_pose'),
    Method('refine', 'bench_refine', chain=True),
    refiner('refine_prior', 'simulated'),
    refiner('refine_prior_aux', 'simulated'),
    refiner('refine_prior', 'grabcut'),
    refiner('refine_prior_aux', 'grabcut'),
    # Its mask branch has learnt masks that it did not see, and can take the segmenter's place (runtime_prior.py).
    Method('refine_prior_aux_dropout', 'bench_refine_prior_aux',
           ('prior.backend=simulated', 'model.head.mask_dropout=0.2'), chain=True, seeds=1),
    Method('in_sample_simulated', 'bench_refine_prior_aux', ('prior.backend=simulated', 'coarse.out_of_fold=False'),
           chain=True),
    # The same network without its motion: what of the distance to the external baselines is the network's shape.
    Method('coarse_t1', 'bench_coarse', ('clip.num_frames=1', ), seeds=1),
    # Half as long as the coarse network elsewhere: the question is which tool acts, and that is learnt by then. Where
    # motion alone tells it, the distance is such that one seed of five frames is enough.
    *(Method(f'coarse_t{frames}', 'bench_coarse', (f'clip.num_frames={frames}', 'train_cfg.max_epochs=12'), data,
             seeds=1 if (data, frames) == (MOTION, 5) else None) for data in (MOTION, LOOKS) for frames in (1, 5)),
    Method('refine_prior_aux_double', 'bench_refine_prior_aux', ('prior.backend=simulated', 'train_cfg.max_epochs=12'),
           chain=True, seeds=1),
    *(Method(f'{name}_{share}', f'bench_{name}', (length(name, share),), seeds=1)
      for name, shares in CONTROLS.items() for share in shares),
    # The weight of the mask loss is the middle one.
    *(Method(f'refine_prior_aux_lambda_{weight}', 'bench_refine_prior_aux',
             ('prior.backend=simulated', f'model.head.aux_loss.loss_weight={weight}'), chain=True, seeds=1)
      for weight in ('0.01', '0.1')),
    # A segmenter that takes another tool, two for one, or the shaft alone, much more often than it fails by itself.
    Method('refine_prior_aux_broken', 'bench_refine_prior_aux',
           ('prior.backend=simulated', 'prior.wrong_rate=0.2', 'prior.merged_rate=0.1', 'prior.shaft_rate=0.1'),
           chain=True, seeds=1),
    # The gate counts squared: 100 : 1 : 1 instead of 10 : 1 : 1, points weighted as before.
    Method('direct_mask_gate', 'bench_direct_mask',
           ('model.head.loss.keypoint=10.0', 'model.head.loss.loss_weight=0.01', length('direct_mask', 'quarter')),
           seeds=1),
    # Other learning rates of the baselines, at the length of their shortest control.
    *(Method(f'{name}_rate_{rate}', f'bench_{name}', (
        f'optim_wrapper.optimizer.lr={rate}', length(name, CONTROLS[name][0]), *more), seeds=1)
      for name, rate, *more in (
          # The backbone's stays what it is.
          ('rtmpose', '1e-3', 'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult=0.1'),
          ('simplebaseline', '5e-4'),
          # Behind a short warm-up it did not begin to learn for long.
          ('simplebaseline', '2e-3', 'param_scheduler.0.end=500', 'param_scheduler.0.start_factor=0.01'))),
    # How sharp a point is, at that length: in the object keypoint similarity, and on the map.
    *(Method(f'yolov8_pose_sigma_{sigma}', 'bench_yolov8_pose', (
        f'model.oks_sigma={sigma}', length('yolov8_pose', 'quarter')), seeds=1) for sigma in ('0.025', '0.1')),
    Method('simplebaseline_sigma_2', 'bench_simplebaseline', ('codec.sigma=2', length('simplebaseline', 'half')),
           seeds=1),
]


def make_data() -> None:
    """Generate the benches that are missing; they are the same on every machine."""
    for data in (BENCH, MOTION, LOOKS):
        generate(ROOT / 'data' / data, SPECS[data])


@cache
def config_of(method: Method) -> Any:
    """A method's config as it is now, without seed and folders."""
    return load_config(ROOT / method.config_file, parse_options(method.all_options), 'recipe')


@cache
def coarse_config_of(method: Method) -> Any:
    """The config of a refiner's coarse network; ``None`` for a method without."""
    coarse = config_of(method).get('coarse')
    return coarse and load_config(coarse['config'], parse_options(method.all_options[:3]), 'recipe')


@cache
def recipe(method: Method) -> str:
    """Digest of a method's config as it is now, without seed and folders; a refiner's has its coarse network's too."""
    cfg, coarse = config_of(method), coarse_config_of(method)
    told = dict(cfg.get('coarse') or {})
    told.pop('config', None)
    return digest_of([told, [{name: content_of(part.get(name)) for name in (
        'model', 'codec', 'clip', 'prior', 'train_dataloader', 'test_dataloader', 'test_evaluator', 'optim_wrapper',
        'param_scheduler', 'train_cfg')} for part in ([cfg, coarse] if coarse else [cfg])]])


def _paths(method: Method, seed: int) -> tuple[Path, Path, Path]:
    """Record, and answers on test and validation split, of a unit."""
    place = UNITS / method.data / method.name
    return tuple(place / f'seed{seed}{end}' for end in ('.json', '_test.csv.gz', '_val.csv.gz'))


def keep(method: Method, seed: int, seconds: int | None) -> None:
    """Keep a finished unit's answers, and all that its numbers stand on. The record comes last, and makes it whole.

    ``seconds`` is what this call took, ``None`` where it found the unit trained.

    Raises:
        UserError: It was trained in a checkout whose files had changed since its commit.
    """
    folder = method.folder(seed)
    run, = read_runs([folder])
    if str(run.meta.get('git_commit')).endswith('-dirty'):
        raise UserError('trained in a checkout whose files had changed since its commit', folder,
                        'commit the changes, remove the folder, and train the unit again')
    record, *answers = _paths(method, seed)
    for path, split in zip(answers, ('test', 'val')):
        write_predictions(path, _rounded(read_predictions(folder / f'{split}_predictions.json')))
    thresholds, chosen = read_thresholds(folder / 'thresholds.json')
    priors = run.fact_folder('priors')
    content = run.record['content']
    write_json(record, dict(
        command='python ' + ' '.join(method.command(seed)), seed=seed, recipe=recipe(method), settings=run.settings,
        thresholds=thresholds, validation_f1=chosen['f1'], epochs=content['train_cfg']['max_epochs'], seconds=seconds,
        priors=priors and prior_quality(priors, load_annotations(ROOT / 'data' / method.data)),
        meta={name: run.meta.get(name) for name in (
            'data', 'split', 'config', 'git_commit', 'checkpoint', 'prior', 'coarse_for_training', 'target_masks',
            'box', 'threshold_from')}, machine=describe_machine()))


def _rounded(points: Predictions) -> Predictions:
    """Places to a hundredth of a pixel; scores as they are, because the threshold is one of them."""
    by_image: dict[int, list[dict[str, Any]]] = {}
    for row in points.records():
        by_image.setdefault(row['image_id'], []).append(row | dict(x=round(row['x'], 2), y=round(row['y'], 2)))
    return Predictions.from_records(row for rows in by_image.values() for row in surest_of_equal(rows))


def prior_quality(folder: Path, annotations: Annotations) -> dict[str, dict[str, Any]]:
    """How good the mask priors of a store are, for each split: those of training pictures are made otherwise."""
    from mmpose_surgical.pipeline.prompting import active_mask, instance_masks, load_prior_frame
    from mmpose_surgical.priors.maker import PriorJob, report_priors
    from mmpose_surgical.priors.store import RecordStore
    store, found = RecordStore(folder), {}
    for split in ('train', 'val', 'test'):
        # No picture is loaded and nothing prompted: the priors are there.
        report = report_priors((PriorJob(
            frame.image_id, partial(load_prior_frame, frame, annotations.root), np.zeros((0, 2)), np.zeros(0),
            partial(instance_masks, frame), partial(active_mask, frame))
            for frame in frames_of_split(annotations, split)), store)
        found[split] = dict(asdict(report), mean_iou=report.mean_iou)
    return found


def kept(method: Method, seed: int) -> dict[str, Any] | None:
    """The record of a unit; ``None`` where none was kept, or one that was trained by another config than today's."""
    path = _paths(method, seed)[0]
    record = read_json(path) if path.exists() else None
    return record if record and record['recipe'] == recipe(method) else None


def units_of(method: Method) -> list[tuple[dict[str, Any], Predictions]]:
    """All kept seeds of a method, with their answers on the test split."""
    seeds = sorted(int(path.stem.removeprefix('seed')) for path in (UNITS / method.data / method.name).glob('*.json'))
    found = []
    for seed in seeds:
        record = kept(method, seed)
        if record is None:
            print(f'{method.data} {method.name}, seed {seed} was trained by another config and is left out')
        else:
            found.append((record, read_predictions(_paths(method, seed)[1])))
    return found
