"""What ``tools/test.py`` does."""
import argparse
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_dist_info
from rich.console import Console

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import read_predictions, write_predictions
from mmpose_surgical.evaluation.summary import write_metrics
from mmpose_surgical.files import file_digest, read_json, remove_folder
from mmpose_surgical.pipeline.artifacts import RECORD, Artifact, Status, content_of
from mmpose_surgical.pipeline.config import fill_in_stores, load_config, prior_line, resolve_prior, uses_prior
from mmpose_surgical.pipeline.distributed import rank_from_environment, start_processes, wait_for_all
from mmpose_surgical.pipeline.finish import THRESHOLDS, predict_split, show_results, write_results
from mmpose_surgical.pipeline.plan import PROMPT_THRESHOLDS, STAGE_VERSION, Plan
from mmpose_surgical.pipeline.prompting import backend_of
from mmpose_surgical.pipeline.run import parse_options
from mmpose_surgical.pipeline.stages import (
    PredictStage,
    PriorStage,
    coarse_folder_of,
    dumped_config,
    prior_folder,
    shards_of,
)
from mmpose_surgical.pipeline.stem import share_stem
from mmpose_surgical.pipeline.yolo import by_ultralytics, check_ultralytics
from mmpose_surgical.priors.prompts import JITTER_OPTIONS, PromptRule
from mmpose_surgical.priors.weights import VARIABLES
from mmpose_surgical.visualization.report.runs import HEATMAPS


def test_command(args: argparse.Namespace) -> int:
    """Evaluate a checkpoint on a split of any data set, making coarse predictions and priors where needed."""
    checkpoint = Path(args.checkpoint)
    if not checkpoint.is_file():
        raise UserError('checkpoint not found', checkpoint, 'train one with tools/train.py')
    options = parse_options(args.cfg_options)
    data_name = Path(options.get('data_root') or load_config(args.config).data_root).resolve().name
    folder = Path(args.work_dir or checkpoint.parent / f'test-{data_name}-{args.split}')
    if (folder / RECORD).exists():
        raise UserError('this folder is of a training, whose results a test would replace', folder,
                        'name another --work-dir')
    cfg = load_config(args.config, options, folder)
    cfg.launcher = args.launcher
    rank, _ = rank_from_environment() if args.launcher != 'none' else (0, 1)
    console = Console(quiet=rank > 0)
    annotations = load_annotations(cfg.data_root)
    if not frames_of_split(annotations, args.split):
        raise UserError(f'split "{args.split}" has no annotated frame', annotations.path, 'name another with --split')
    plan = None
    if cfg.get('coarse'):
        heading = [prior_line(None)]
        trained_with = facts_of(checkpoint.parent).get('coarse_for_training')
        cfg.coarse.out_of_fold = cfg.coarse.get('out_of_fold', True) if trained_with is None else (
            trained_with == 'out-of-fold')
        if uses_prior(cfg):
            prior = trained_prior(cfg, options, checkpoint)
            cfg.prior = resolve_prior(prior, annotations)
            heading = [prior_line(cfg.prior, prior['backend']), *other_prior(cfg, checkpoint)]
        plan = prior_plan(cfg, annotations, args.split, checkpoint, folder)
        for line in [*heading, *plan.lines()]:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if by_ultralytics(cfg):
        check_ultralytics(cfg)
        if args.heatmaps:
            raise UserError('this model has no heatmaps', '--heatmaps', 'leave it out')
    start_processes(args.launcher)
    if plan is not None:
        plan.run(console)
    predictions = predict_split(cfg, checkpoint, args.split, folder)
    if args.heatmaps:
        store_heatmaps(cfg, checkpoint, args.split, folder)
    if rank == 0:
        if args.show_dir:
            cfg.show_dir = args.show_dir
        if args.score_thr is not None:
            cfg.score_thr = args.score_thr
        thresholds = checkpoint.parent / THRESHOLDS
        metrics = write_results(cfg, checkpoint, args.split, predictions,
                                thresholds if thresholds.is_file() else None, folder, overlays=args.overlays)
        if args.out:
            write_metrics(args.out, metrics)
        if args.dump:
            write_predictions(args.dump, read_predictions(predictions))
        show_results(cfg, console)
    return 0


def store_heatmaps(cfg: Config, checkpoint: Path, split: str, folder: Path) -> None:
    """Store a model's own heatmaps of a split beside its results, always anew; each rank does its share."""
    from mmpose_surgical.pipeline.predict import predict_into_store
    artifact = Artifact(folder / HEATMAPS, dict(stage='heatmaps', split=split, model=file_digest(checkpoint)))
    rank, _ = get_dist_info()
    if rank == 0:
        remove_folder(artifact.folder)
        artifact.begin()
    wait_for_all()
    predict_into_store(cfg, checkpoint, split, artifact, lambda done, total: None, model_name=checkpoint.name)
    wait_for_all()
    if rank == 0:
        artifact.finish(shards_of(artifact.folder))


def facts_of(folder: Path) -> dict[str, Any]:
    """What a finished training recorded about itself."""
    record = read_json(folder / RECORD, 'give a checkpoint in the folder where tools/train.py left it')
    if not record['done']:
        raise UserError('the training in this folder is not finished', folder, 'finish it with tools/train.py')
    if 'coarse' not in record['facts']:
        raise UserError('the checkpoint is not of a refiner, the config is', folder, 'give the config of its training')
    return record['facts']


def trained_prior(cfg: Config, options: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    """The config's prior; ``auto`` means the backend and the options that the model was trained with.

    What the command line says goes before, and what belongs to a machine is not taken over from another one: its
    device, and a path of weights where this machine names its own or, in a config that training left, has none.
    """
    prior = dict(cfg.prior)
    given = {key.removeprefix('prior.'): value for key, value in options.items() if key.startswith('prior.')}
    trained = facts_of(checkpoint.parent)['prior_config']
    if prior['backend'] == 'auto':
        prior = prior | trained | dict(device='') | {key: value for key, value in given.items() if key != 'backend'}
    if prior['backend'] in VARIABLES and prior['backend'] == trained['backend'] and not given.get('checkpoint'):
        own = cfg.prior.get('checkpoint', '')
        if own == trained['checkpoint'] and not Path(own).exists():
            own = ''
        prior['checkpoint'] = own or os.environ.get(VARIABLES[prior['backend']], '') or trained['checkpoint']
    # Jittered prompts are for training alone.
    return {key: value for key, value in prior.items() if key not in JITTER_OPTIONS}


def other_prior(cfg: Config, checkpoint: Path) -> list[str]:
    """Lines that tell of priors made otherwise than those that the model was trained with."""
    facts = facts_of(checkpoint.parent)
    trained, now = facts.get('prior_fingerprint'), backend_of(cfg).fingerprint
    rules = [PromptRule.of(prior) for prior in (facts['prior_config'], cfg.prior)]
    notes = [] if trained in (None, now) else [
        f'note: the model was trained with priors of {trained}, these are of {now}: other weights or options']
    if rules[0] != rules[1]:
        notes.append('note: the model was trained with {}, these are {}'.format(*(
            rule.label or 'prompts from coarse tips and anchors' for rule in rules)))
    return notes


def prior_plan(cfg: Config, annotations: Annotations, split: str, checkpoint: Path, folder: Path) -> Plan:
    """Coarse predictions and mask priors of one split, by the coarse network that the model was trained behind."""
    coarse = coarse_folder_of(checkpoint.parent, facts_of(checkpoint.parent))
    coarse_cfg = load_config(dumped_config(coarse), dict(data_root=cfg.data_root), coarse)
    trained_on = checkpoint.parent / facts_of(checkpoint.parent)['predictions']
    thresholds = read_json(trained_on / PROMPT_THRESHOLDS, 'train again, so that the file is written')
    share_stem(cfg, coarse_cfg, coarse)
    predictions = Artifact(folder / 'predictions', dict(
        stage='predict', version=STAGE_VERSION, split=split, data=annotations.sha256,
        pipeline=content_of(coarse_cfg.test_dataloader.dataset), model=read_json(coarse / RECORD)['fingerprint']))
    plan = Plan([], [PredictStage('coarse predictions', predictions, [(coarse_cfg, coarse, split)], annotations)],
                # What was made from something else is cheap to make again.
                replaced=[predictions.folder] if predictions.status is Status.STALE else [])
    if not uses_prior(cfg):
        fill_in_stores(cfg, predictions.folder, None)
        return plan
    backend = backend_of(cfg)
    priors = Artifact(prior_folder(folder, cfg.prior), dict(
        stage='priors', version=STAGE_VERSION, backend=backend.fingerprint, options=backend.parameters(),
        thresholds=thresholds, predictions=predictions.fingerprint, **PromptRule.of(cfg.prior).content))
    fill_in_stores(cfg, predictions.folder, priors.folder)
    stage = PriorStage('mask priors', priors, cfg, predictions.folder, lambda: thresholds,
                       frames_of_split(annotations, split), annotations.root)
    stage.check()
    plan.stages.append(stage)
    plan.replaced += [priors.folder] if priors.status is Status.STALE else []
    return plan
