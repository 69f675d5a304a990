"""The stages that a plan is made of. All ranks run a stage together; each does its share."""
import copy
import gc
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.files import file_digest
from mmpose_surgical.pipeline.artifacts import COARSE_WEIGHTS, Artifact, Status
from mmpose_surgical.pipeline.distributed import share_from_main, wait_for_all
from mmpose_surgical.pipeline.prompting import backend_of, jitter_of, open_prior_store, prior_jobs
from mmpose_surgical.pipeline.yolo import by_ultralytics, train_yolo
from mmpose_surgical.priors.maker import (
    HELD_OUT,
    PriorJob,
    PriorReport,
    PriorSummary,
    is_made,
    make_priors,
    report_priors,
)
from mmpose_surgical.priors.prompts import PromptRule
from mmpose_surgical.priors.store import MANIFEST, RecordStore

Progress = Callable[[int, int], None]
"""Called with (done, total) while a stage works."""


METRICS = 'metrics.json'


def shards_of(folder: Path) -> list[Path]:
    """The files of a store."""
    return sorted(folder.glob('shard-*.bin'))


def store_status(artifact: Artifact, image_ids: Sequence[int]) -> Status:
    """Status of an artifact that is a store: one with a damaged or missing record is not done."""
    status = artifact.status
    if status is not Status.DONE:
        return status
    stamp = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards_of(artifact.folder))
    return status if _is_whole(artifact.folder, stamp, tuple(image_ids)) else Status.PARTIAL


@lru_cache(maxsize=8)
def _is_whole(folder: Path, stamp: tuple, image_ids: tuple[int, ...]) -> bool:
    """Whether all records of these pictures can be read; a plan asks several times, and shards are read whole."""
    store = RecordStore(folder)
    return not store.unreadable and not store.missing(image_ids)


def final_checkpoint(folder: Path) -> Path:
    """The checkpoint that a finished training run stands for: the best one if it chose one, else the last.

    Raises:
        UserError: The folder has none.
    """
    best = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if best:
        return best[-1]
    pointer = folder / 'last_checkpoint'
    if pointer.is_file():
        # Only the name counts: the folder may have been moved since.
        path = folder / Path(pointer.read_text().strip()).name
        if path.is_file():
            return path
    # MMEngine writes the pointer after the checkpoint: a kill between the two leaves it empty or missing.
    numbered = [path for path in folder.glob('*.pt*') if re.fullmatch(r'(epoch|iter)_\d+\.pth?', path.name)]
    if numbered:
        return max(numbered, key=lambda path: int(path.stem.split('_')[1]))
    raise UserError('no checkpoint in the folder', folder, 'train it first with tools/train.py')


def dumped_config(folder: Path) -> Path:
    """The one config that training left in its work directory.

    Raises:
        UserError: There is none, or several.
    """
    dumped = sorted(folder.glob('*.py'))
    if len(dumped) != 1:
        raise UserError(f'{len(dumped)} configs where one is expected', folder,
                        'name a work directory of tools/train.py, or restore the config of this training')
    return dumped[0]


def coarse_folder_of(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Where the coarse network lies behind which the refiner of a folder was trained.

    Raises:
        UserError: It is not there.
    """
    coarse = (folder / facts['coarse']).resolve()
    if not coarse.is_dir():
        raise UserError('the coarse network of this model is not there', coarse, 'move both folders together')
    return coarse


@dataclass
class TrainStage:
    """Train one model in one folder; a full run is evaluated at its end, a fold is not.

    Args:
        title: What the plan prints.
        cfg: Complete config of this training.
        artifact: Its folder and content.
        finish: Called with the config when training is over, e.g. to evaluate; returns facts for the record.
        facts: What else the record keeps.
    """
    title: str
    cfg: Config
    artifact: Artifact
    finish: Callable[[Config], dict[str, Any]] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    note: str = ''

    @property
    def status(self) -> Status:
        return self.artifact.status

    @property
    def results(self) -> Path | None:
        """Folder of the metrics that the stage leaves, ``None`` for a fold."""
        return self.artifact.folder if self.finish else None

    def run(self, progress: Progress) -> None:
        from mmengine.dist import is_main_process
        if is_main_process():
            self.artifact.begin()
        wait_for_all()
        train(self.cfg, progress)
        facts = self.finish(self.cfg) if self.finish else {}
        wait_for_all()
        if is_main_process():
            checkpoint = final_checkpoint(Path(self.cfg.work_dir))
            outputs = [checkpoint, *([self.results / METRICS] if self.results else [])]
            self.artifact.finish(outputs, checkpoint=checkpoint.name, **facts, **self.facts,
                                 train_split=self.cfg.train_dataloader.dataset.split)
        wait_for_all()


def train(cfg: Config, progress: Progress = lambda done, total: None) -> None:
    """Train in ``cfg.work_dir``, from its last readable checkpoint if there is one."""
    if by_ultralytics(cfg):
        train_yolo(cfg, progress)
        return
    cfg = copy.deepcopy(cfg)
    name_stem_weights(cfg)
    # MMEngine takes `resume` with `load_from` as "go on from that file"; weights to start from are for a start only.
    started = (Path(cfg.work_dir) / 'last_checkpoint').exists()
    cfg.resume = started or not cfg.get('load_from')
    cfg.load_from = None if started else cfg.get('load_from')
    runner = build_runner(cfg)
    # A run that was cut off behind its last epoch has nothing left to train.
    runner.train()
    del runner
    gc.collect()


def name_stem_weights(cfg: Config) -> None:
    """Put the checkpoint of the coarse network, which is there by now, where a shared stem only names its folder."""
    for name in ('backbone', 'neck'):
        init = (cfg.get('model', {}).get(name) or {}).get('init_cfg') or {}
        checkpoint = init.get('checkpoint', '') if isinstance(init, dict) else ''
        if checkpoint.startswith(COARSE_WEIGHTS):
            init['checkpoint'] = str(final_checkpoint(Path(checkpoint.removeprefix(COARSE_WEIGHTS))))


def build_runner(cfg: Config) -> Any:
    """A Runner with a name of its own, so that several can follow each other in one process."""
    import torch
    from mmengine.dist import is_distributed
    from mmengine.utils import import_modules_from_strings

    from mmpose_surgical.pipeline.runner import BriefRunner
    # Left out when the config was read, so that a plan does not wait for MMPose.
    import_modules_from_strings(**cfg.custom_imports)
    cfg = copy.deepcopy(cfg)
    cfg.experiment_name = f'{Path(cfg.work_dir).name}_{time.time_ns()}'
    # By its usual name the visualizer of the first Runner would serve, and log for, all later ones.
    cfg.visualizer.name = cfg.experiment_name
    if is_distributed() and not torch.cuda.is_available():
        # MMEngine would hand a GPU number to DDP.
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
                                     find_unused_parameters=cfg.get('find_unused_parameters', False))
    return BriefRunner.from_cfg(cfg)


@dataclass
class SeveralStages:
    """Stages of one kind that the plan shows as one line."""
    title: str
    stages: list[TrainStage]
    note: str = ''

    @property
    def status(self) -> Status:
        states = {stage.status for stage in self.stages}
        if len(states) == 1:
            return states.pop()
        return Status.STALE if Status.STALE in states else Status.PARTIAL

    def run(self, progress: Progress) -> None:
        for number, stage in enumerate(self.stages):
            progress(number, len(self.stages))
            if share_from_main(stage.status) is not Status.DONE:
                stage.run(lambda done, total: None)


@dataclass
class PredictStage:
    """Coarse heatmaps and points of many frames into a store.

    Args:
        title: What the plan prints.
        artifact: Folder and content of the store.
        groups: Which checkpoint predicts which split: (config, folder of the trained model, split).
        annotations: The data.
        finish: Called once all predictions are there, on rank 0.
    """
    title: str
    artifact: Artifact
    groups: list[tuple[Config, Path, str]]
    annotations: Annotations
    finish: Callable[[Path], dict[str, Any]] | None = None
    note: str = ''

    @property
    def status(self) -> Status:
        frames = (frame for _, _, split in self.groups for frame in frames_of_split(self.annotations, split))
        return store_status(self.artifact, [frame.image_id for frame in frames])

    def run(self, progress: Progress) -> None:
        from mmengine.dist import get_dist_info

        from mmpose_surgical.pipeline.predict import predict_into_store
        rank, _ = get_dist_info()
        if rank == 0:
            self.artifact.begin()
        wait_for_all()
        for cfg, folder, split in self.groups:
            predict_into_store(cfg, final_checkpoint(folder), split, self.artifact, progress, model_name=folder.name)
            wait_for_all()
        if rank == 0:
            facts = self.finish(self.artifact.folder) if self.finish else {}
            models = {split: self._model(folder) for _, folder, split in self.groups}
            self.artifact.finish(shards_of(self.artifact.folder), **facts, models=models)
        wait_for_all()

    def _model(self, folder: Path) -> dict[str, Any]:
        """Which weights predicted, for the audit: folder (seen from the store), file and its hash."""
        checkpoint = final_checkpoint(folder)
        return dict(folder=os.path.relpath(folder, self.artifact.folder), checkpoint=checkpoint.name,
                    sha256=file_digest(checkpoint))


def prior_folder(parent: Path, prior: Mapping[str, Any]) -> Path:
    """Folder of the store of a config's resolved ``prior``: one for each backend and rule of prompts."""
    return parent / '-'.join(['priors', prior['backend'], *PromptRule.of(prior).content.values()])


@dataclass
class PriorStage:
    """Mask priors of many frames into a store.

    Args:
        title: What the plan prints.
        artifact: Folder and content of the store.
        cfg: Config with the resolved prior.
        predictions: Folder of the store of coarse predictions; ``None`` for prompts that are ground-truth points.
        thresholds: Prompt thresholds per landmark, read when the stage starts.
        frames: The frames that need a prior.
        root: Folder of the data set.
        training: Ids of those that a model is trained on, which alone get jittered priors.
        chosen: Those that this call is to complete; ``None``: all.
        limit: Make at most so many in this call.
    """
    title: str
    artifact: Artifact
    cfg: Config
    predictions: Path | None
    thresholds: Callable[[], dict[str, float]]
    frames: list[Frame]
    root: Path
    training: frozenset[int] = frozenset()
    chosen: list[Frame] | None = None
    limit: int | None = None

    @property
    def note(self) -> str:
        """What is known of finished priors, for the plan."""
        return f'   {self.artifact.record["facts"]["line"]}' if self.artifact.status is Status.DONE else ''

    @property
    def status(self) -> Status:
        status = store_status(self.artifact, [frame.image_id for frame in self.frames])
        jitter = jitter_of(self.cfg)
        if status is not Status.DONE or not jitter:
            return status
        made = self.artifact.record['facts']['jitter']
        return status if made and made['px'] == jitter['px'] and made['count'] >= jitter['count'] else Status.PARTIAL

    def run(self, progress: Progress) -> None:
        from mmengine.dist import all_gather_object, get_dist_info

        rank, world = get_dist_info()
        jobs = {job.image_id: job for job in self.jobs(self.frames)}
        # One rank decides for all: what another one finds a moment later could differ.
        missing, wanted = share_from_main(self._outstanding(jobs.values()) if rank == 0 else None)
        if rank == 0:
            self.artifact.begin()
            # Several calls may fill one store, each with splits of its own.
            self.artifact.release()
        wait_for_all()
        share = [jobs[image_id] for image_id in wanted[rank::world]]
        backend = backend_of(self.cfg)
        with open_prior_store(self.artifact, backend) as store:
            made = make_priors(share, backend, store, backend.batch_size, progress)
            if refused := [line for lines in all_gather_object(made.refused) for line in lines]:
                raise UserError(f'{len(refused)} of {len(wanted)} pictures have no prior: {list_problems(refused)}',
                                self.artifact.folder, 'restore them and repeat the command, which makes these alone')
            if len(wanted) < len(missing):
                return
            # Of what others made nothing is read here: a common file system may show it late.
            made_now = set(missing)
            before = [job for image_id, job in jobs.items() if image_id not in made_now][rank::world]
            known = [*before, *share]
            parts = {'training': [job for job in known if job.image_id in self.training],
                     HELD_OUT: [job for job in known if job.image_id not in self.training]}
            reports = {name: sum(all_gather_object(report_priors(jobs, store)), PriorReport())
                       for name, jobs in parts.items()}
        summary = sum(all_gather_object(made), PriorSummary(len(jobs) - len(missing), len(jobs) - len(missing)))
        if rank == 0:
            self.artifact.finish(
                shards_of(self.artifact.folder), line=sum(reports.values(), PriorReport()).line(),
                summary=asdict(summary), jitter=jitter_of(self.cfg),
                report={name: dict(asdict(report), mean_iou=report.mean_iou) for name, report in reports.items()})
        wait_for_all()

    def check(self) -> None:
        """Ask the backend whether it can run, before hours are spent on other stages; a finished store needs none.

        Raises:
            UserError: The backend cannot run.
        """
        if self.status is not Status.DONE:
            backend_of(self.cfg).check()

    def jobs(self, frames: list[Frame]) -> list[PriorJob]:
        """Pictures and prompts of frames; the coarse predictions must be there."""
        return prior_jobs(self.cfg, self.predictions, self.thresholds(), frames, self.root, self.training)

    def missing(self, jobs: Iterable[PriorJob]) -> list[PriorJob]:
        """Those that the store has no prior of, or one of other prompts."""
        if self.artifact.status in (Status.MISSING, Status.STALE) or not (self.artifact.folder / MANIFEST).exists():
            return list(jobs)
        store = RecordStore(self.artifact.folder)
        return [job for job in jobs if not is_made(job, store)]

    def _outstanding(self, jobs: Iterable[PriorJob]) -> tuple[list[int], list[int]]:
        """Pictures whose priors are not made, and those of them that this call is to make."""
        missing = [job.image_id for job in self.missing(jobs)]
        chosen = None if self.chosen is None else {frame.image_id for frame in self.chosen}
        wanted = [image_id for image_id in missing if chosen is None or image_id in chosen][:self.limit]
        return missing, wanted
