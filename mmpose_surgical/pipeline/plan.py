"""Plans: the stages behind a config, which of them are done, and walking through the rest."""
import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mmengine.config import Config
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mmpose_surgical.datasets.boxes import ORACLE, ORACLE_LABEL, PICTURE, box_content
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.splits import Splits, frames_of_split, load_splits
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import file_digest, read_json, remove_folder, write_json
from mmpose_surgical.landmarks import LANDMARKS
from mmpose_surgical.packaged_weights import PREFIX, find_packaged
from mmpose_surgical.pipeline.artifacts import COARSE_WEIGHTS, Artifact, Status, content_of
from mmpose_surgical.pipeline.config import (
    check_actions,
    coarse_for_training,
    fill_in_masks,
    fill_in_stores,
    frames_without_masks,
    load_config,
    uses_prior,
)
from mmpose_surgical.pipeline.memory import keep_freed_memory
from mmpose_surgical.pipeline.prompting import backend_of, jitter_of, predictions_of_store
from mmpose_surgical.pipeline.stages import PredictStage, PriorStage, SeveralStages, TrainStage, prior_folder
from mmpose_surgical.pipeline.stem import share_stem
from mmpose_surgical.pipeline.yolo import by_ultralytics, check_ultralytics
from mmpose_surgical.priors.prompts import PromptRule

STAGE_VERSION = 3
"""Raised when a stage of this package makes something else from the same config."""

PROMPT_THRESHOLDS = 'prompt_thresholds.json'
_SPEED_SECONDS = 600.
"""Steps of this long count for rate and time left: SAM 3 takes half a minute a picture on a CPU."""
NEVER_PROMPTS = 2.0
"""Threshold above any score, of a landmark that the data does not annotate or that was never predicted."""


class Stage(Protocol):
    """What a plan needs of a stage."""
    title: str
    note: str

    @property
    def status(self) -> Status: ...

    def run(self, progress: Callable[[int, int], None]) -> None: ...


@dataclass
class Plan:
    """Stages in order; the last one is the run that was asked for.

    Args:
        heading: Opening lines.
        stages: What is to be done.
        changes: Lines on what was made from something else.
        replaced: Stale folders to remove before the first stage runs. Planning itself changes nothing, so that every
            rank makes the same plan.
    """
    heading: list[str]
    stages: list[Stage]
    changes: list[str] = field(default_factory=list)
    replaced: list[Path] = field(default_factory=list)

    def place(self, folder: Path, content: dict[str, Any], rebuild: bool) -> Artifact:
        """An artifact in its folder, or beside it where something else is there; ``rebuild`` replaces that."""
        artifact = Artifact(folder, content)
        if artifact.status is not Status.STALE:
            return artifact
        self.changes.append(f'{folder} is stale{" and is replaced" if rebuild else ""}: '
                            f'{"; ".join(artifact.changes()[:5])}')
        if not rebuild:
            return artifact.beside()
        self.replaced.append(folder)
        return artifact

    def lines(self) -> list[str]:
        """The plan in words."""
        total = len(self.stages)
        width = max(len(stage.title) for stage in self.stages)
        return self.heading + [
            f'[{number}/{total}] {stage.title:<{width}}  {stage.status.value}{stage.note}'
            for number, stage in enumerate(self.stages, 1)] + self.changes

    def run(self, console: Console) -> None:
        """Run what is not done, in order. Called by all ranks together; only rank 0 prints."""
        from mmengine.dist import is_main_process

        from mmpose_surgical.pipeline.distributed import share_from_main, wait_for_all
        from mmpose_surgical.pipeline.finish import show_results
        wait_for_all()  # no rank may still be planning when folders go
        if is_main_process():
            for folder in self.replaced:
                remove_folder(folder)
        keep_freed_memory()
        total = len(self.stages)
        for number, stage in enumerate(self.stages, 1):
            # One rank decides for all: a status read a moment later elsewhere could differ.
            if share_from_main(stage.status) is Status.DONE:
                continue
            console.print(f'[bold]\\[{number}/{total}] {stage.title}[/bold]')
            start = time.monotonic()
            with Progress(TextColumn('      '), BarColumn(), MofNCompleteColumn(), RateColumn(),
                          TimeRemainingColumn(), console=console, transient=True,
                          speed_estimate_period=_SPEED_SECONDS) as bar:
                stage.run(partial(_show, bar, bar.add_task('', total=None, visible=False)))
            console.print(f'\\[{number}/{total}] done in {time.monotonic() - start:.1f} s{stage.note}', highlight=False,
                          soft_wrap=True)
            if isinstance(stage, TrainStage) and stage.results:
                show_results(stage.cfg, console)


class RateColumn(ProgressColumn):
    """Steps per second, or seconds per step where that reads better."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text('')
        return Text(f'{speed:.1f}/s' if speed >= 1 else f'{1 / speed:.1f} s each')


def _show(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total, visible=True)


def build_plan(cfg: Config, annotations: Annotations, rebuild: bool = False, lines: list[str] | None = None) -> Plan:
    """The stages behind a complete config.

    Args:
        cfg: From :func:`load_config`, with the prior resolved.
        annotations: The data set that ``cfg.data_root`` points to.
        rebuild: Replace artifacts that are stale instead of making new ones beside them.
        lines: Opening lines of the printed plan.

    Raises:
        UserError: The work directory belongs to another config, or the data has too few videos for the folds.
    """
    from mmpose_surgical.pipeline.finish import finish_run
    splits = load_splits(annotations.root, annotations)
    for name in ('train', 'val', 'test'):
        if not splits.videos(name):
            raise UserError(f'there is no {name} video', annotations.root / 'splits.json',
                            'give every split videos of its own')
    check_actions(cfg, annotations)
    plan = Plan(lines or [], [])
    if not cfg.get('coarse'):
        masks = add_mask_stage(plan, cfg, annotations, rebuild)
        fill_in_masks(cfg, masks and masks.folder)
        artifact = Artifact(Path(cfg.work_dir), train_content(
            cfg, annotations, **(dict(masks=masks.fingerprint) if masks else {})))
        check_own_folder(artifact, rebuild, plan)
        if by_ultralytics(cfg) and artifact.status is not Status.DONE:
            check_ultralytics(cfg)
        plan.stages.append(TrainStage(_title(cfg), cfg, artifact, finish_run))
        return plan
    predictions, priors = add_coarse_stages(plan, cfg, annotations, splits, rebuild)
    fill_in_stores(cfg, predictions.folder, priors and priors.folder)
    share_stem(cfg, coarse_config(cfg), predictions.folder.parent)
    stores = dict(predictions=predictions, **(dict(priors=priors) if priors else {}))
    upstream = {name: store.fingerprint for name, store in stores.items()}
    if jitter := jitter_of(cfg):
        upstream['jitter'] = f'{jitter["count"]} x {jitter["px"]} px'
    artifact = Artifact(Path(cfg.work_dir), train_content(cfg, annotations, **upstream))
    check_own_folder(artifact, rebuild, plan)
    facts = dict(prior_config=dict(cfg.prior), prior_fingerprint=backend_of(cfg).fingerprint if priors else None,
                 coarse_for_training=coarse_for_training(cfg),
                 coarse=os.path.relpath(predictions.folder.parent, artifact.folder),
                 **{name: os.path.relpath(store.folder, artifact.folder) for name, store in stores.items()})
    plan.stages.append(TrainStage(_title(cfg), cfg, artifact, finish_run, facts))
    return plan


def add_coarse_stages(plan: Plan, cfg: Config, annotations: Annotations, splits: Splits,
                      rebuild: bool) -> tuple[Artifact, Artifact | None]:
    """Add the stages that make coarse predictions and, for a model that takes them, mask priors; returns the stores."""
    from mmpose_surgical.pipeline.finish import finish_run, matching_rules
    coarse_cfg = coarse_config(cfg)
    check_actions(coarse_cfg, annotations)
    placed = partial(plan.place, rebuild=rebuild)
    whole = placed(Path(coarse_cfg.work_dir), train_content(coarse_cfg, annotations))
    coarse_cfg.work_dir = str(whole.folder)
    plan.stages.append(TrainStage('coarse, all training videos', coarse_cfg, whole, finish_run))
    models = {split: whole for split in ('train', 'val', 'test')}
    groups = [(coarse_cfg, whole.folder, split) for split in ('val', 'test')]
    if cfg.coarse.get('out_of_fold', True):
        folds = fold_stages(coarse_cfg, annotations, splits, placed)
        plan.stages.append(SeveralStages(f'coarse, {len(folds)} folds by video', folds))
        groups += [(fold.cfg, fold.artifact.folder, f'fold{k}') for k, fold in enumerate(folds)]
        models.update({f'fold{k}': fold.artifact for k, fold in enumerate(folds)})
        title = 'coarse predictions: out-of-fold for train, [1] for val and test'
    else:
        groups.append((coarse_cfg, whole.folder, 'train'))
        title = 'coarse predictions: [1] for all, in-sample for train'
    predictions = placed(whole.folder / 'predictions', dict(
        stage='predict', version=STAGE_VERSION, pipeline=content_of(coarse_cfg.test_dataloader.dataset),
        models={split: artifact.fingerprint for split, artifact in models.items()}, prompt_rules=matching_rules(cfg)))
    plan.stages.append(PredictStage(title, predictions, groups, annotations,
                                    lambda folder: choose_prompt_thresholds(folder, cfg, annotations)))
    if not uses_prior(cfg):
        return predictions, None
    backend = backend_of(cfg)
    priors = placed(prior_folder(whole.folder, cfg.prior), dict(
        stage='priors', version=STAGE_VERSION, backend=backend.fingerprint, options=backend.parameters(),
        predictions=predictions.fingerprint, **PromptRule.of(cfg.prior).content))
    train, *others = (frames_of_split(annotations, split) for split in ('train', 'val', 'test'))
    stage = PriorStage('mask priors', priors, cfg, predictions.folder,
                       lambda: read_json(predictions.folder / PROMPT_THRESHOLDS),
                       [frame for frames in (train, *others) for frame in frames], annotations.root,
                       training=frozenset(frame.image_id for frame in train))
    stage.check()
    plan.stages.append(stage)
    return predictions, priors


def add_mask_stage(plan: Plan, cfg: Config, annotations: Annotations, rebuild: bool) -> Artifact | None:
    """Have a backend segment the acting tools of training frames that lack masks; ``None`` where none does.

    For direct mask supervision alone (paper, section 2.4). Ground-truth points prompt it: the masks are a target.
    """
    frames = frames_without_masks(cfg, annotations)
    if not frames:
        return None
    cfg = copy.deepcopy(cfg)
    cfg.prior.update(points='ground_truth', prompts='both')
    backend = backend_of(cfg)
    masks = plan.place(Path(cfg.work_dir).parent / f'tool_masks-{backend.name}', dict(
        stage='tool_masks', version=STAGE_VERSION, backend=backend.fingerprint, options=backend.parameters(),
        data=annotations.sha256, splits=file_digest(annotations.root / 'splits.json')), rebuild)
    stage = PriorStage('tool masks of training frames', masks, cfg, None, dict, frames, annotations.root)
    stage.check()
    plan.stages.append(stage)
    return masks


def coarse_config(cfg: Config) -> Config:
    """The config of the prerequisite, with the data, seed and overrides of the config that asks for it."""
    path = Path(cfg.coarse.config)
    options = dict(cfg.coarse.get('overrides') or {})
    options = {'data_root': cfg.data_root, 'randomness': dict(cfg.get('randomness', {})), **options}
    coarse = load_config(path, options, Path(cfg.work_dir).parent / path.stem)
    coarse.launcher = cfg.get('launcher', 'none')
    return coarse


def fold_stages(coarse_cfg: Config, annotations: Annotations, splits: Splits,
                placed: Callable[[Path, dict[str, Any]], Artifact]) -> list[TrainStage]:
    """One training per fold, on the training videos outside of it (design: no in-sample coarse prediction)."""
    if len(splits.folds) < 2:
        raise UserError(f'the data has {len(splits.folds)} folds, out-of-fold predictions need two or more',
                        annotations.root / 'splits.json',
                        'add "folds" to the file, or set --cfg-options coarse.out_of_fold=False')
    stages = []
    for k in range(len(splits.folds)):
        cfg = copy.deepcopy(coarse_cfg)
        cfg.train_dataloader.dataset.split = f'not-fold{k}'
        # The held-out videos are predicted once, by the last epoch: nothing is selected on them.
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        artifact = placed(Path(coarse_cfg.work_dir) / f'fold{k}', train_content(cfg, annotations))
        cfg.work_dir = str(artifact.folder)
        stages.append(TrainStage(f'fold {k}', cfg, artifact))
    return stages


def train_content(cfg: Config, annotations: Annotations, **upstream: str) -> dict[str, Any]:
    """What decides the outcome of a run: training, choice of the checkpoint, and evaluation.

    The number of processes is left out, so that a run of four GPUs can be looked at, or finished, on one.
    """
    sections = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks',
                'auto_scale_lr', 'test_evaluator')
    save_best = cfg.default_hooks.checkpoint.get('save_best')
    # Validation while training only looks, unless it chooses the checkpoint.
    validation = dict(by=save_best, **{name: content_of(cfg.get(name)) for name in (
        'val_dataloader', 'val_evaluator')}) if save_best else None
    return dict(
        stage='train', version=STAGE_VERSION, seed=cfg.get('randomness', {}).get('seed'), upstream=upstream,
        data=annotations.sha256, splits=file_digest(annotations.root / 'splits.json'),
        start_weights=start_weights(cfg), best=validation, **box_content(cfg.get('box', PICTURE)),
        test_pipeline=content_of(cfg.test_dataloader.dataset), **{name: content_of(cfg.get(name)) for name in sections})


def start_weights(cfg: Config) -> dict[str, str]:
    """What a training starts from, by content: SHA-256 of ``load_from`` and of every part's weights, or their URL.

    Raises:
        UserError: A file is not there.
    """
    named = dict(load_from=cfg.get('load_from'), **_pretrained('model', cfg.model))
    found = {}
    for use, name in named.items():
        # A shared stem counts with the coarse predictions, whose fingerprint names the same training.
        if not name or name.startswith(COARSE_WEIGHTS):
            continue
        path = find_packaged(name) if name.startswith(PREFIX) else Path(name).expanduser()
        if '://' in name and not name.startswith(PREFIX):
            found[use] = name
        elif path is None or not path.is_file():
            raise UserError(f'weights to start from not found ({use})', name, 'correct the path (load_from, or the '
                            '..._WEIGHTS variable that the config names)')
        else:
            found[use] = file_digest(path)
    return found


def _pretrained(place: str, part: Any) -> dict[str, str]:
    """Checkpoints that the parts of a model config start from, by their place in it."""
    if isinstance(part, list | tuple):
        return {k: v for i, item in enumerate(part) for k, v in _pretrained(f'{place}[{i}]', item).items()}
    if not isinstance(part, dict):
        return {}
    own = {place: part['checkpoint']} if part.get('type') == 'Pretrained' and part.get('checkpoint') else {}
    return {**own, **{k: v for name, item in part.items() for k, v in _pretrained(f'{place}.{name}', item).items()}}


def check_own_folder(artifact: Artifact, rebuild: bool, plan: Plan) -> None:
    """Refuse a work directory that another config or other data made; with ``rebuild`` the plan replaces it."""
    if artifact.status is not Status.STALE:
        return
    if rebuild:
        plan.changes.append(f'{artifact.folder} is stale and is replaced: {"; ".join(artifact.changes()[:5])}')
        plan.replaced.append(artifact.folder)
        return
    raise UserError(f'work directory was made from something else: {"; ".join(artifact.changes()[:5])}',
                    artifact.folder, 'choose another --work-dir, or replace it with --rebuild')


def choose_prompt_thresholds(folder: Path, cfg: Config, annotations: Annotations) -> dict[str, Any]:
    """Prompt thresholds from the coarse predictions of the training videos, never from reported data."""
    from mmpose_surgical.evaluation.thresholds import choose_thresholds
    from mmpose_surgical.pipeline.finish import matching_rules
    frames = frames_of_split(annotations, 'train')
    found = choose_thresholds(frames, predictions_of_store(folder, frames), source=dict(split='train'),
                              landmarks=annotations.landmarks, **matching_rules(cfg))
    thresholds = {landmark: NEVER_PROMPTS if found.get(landmark) is None else found[landmark]
                  for landmark in LANDMARKS}
    write_json(folder / PROMPT_THRESHOLDS, thresholds)
    return dict(prompt_thresholds=thresholds, chosen_on=f'train, {coarse_for_training(cfg)}')


def _title(cfg: Config) -> str:
    name = Path(cfg.config_file).stem.removeprefix('demo_').removeprefix('bench_')
    name = name.replace('_', ' + ' if name.startswith('refine') else ' ')
    return name + (f' ({ORACLE_LABEL})' if cfg.get('box') == ORACLE else '')
