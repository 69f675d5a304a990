"""What ``tools/train.py`` does."""
import argparse

from mmengine.config import Config, DictAction
from rich.console import Console

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.splits import count_line
from mmpose_surgical.errors import UserError
from mmpose_surgical.pipeline.artifacts import Status
from mmpose_surgical.pipeline.config import (
    STAND_INS,
    box_lines,
    frames_without_masks,
    load_config,
    prior_line,
    resolve_prior,
    uses_prior,
    wants_masks,
    weights_line,
)
from mmpose_surgical.pipeline.data import ensure_data
from mmpose_surgical.pipeline.distributed import rank_from_environment, start_processes
from mmpose_surgical.pipeline.finish import show_results
from mmpose_surgical.pipeline.plan import Plan, build_plan


def parse_options(words: list[str]) -> dict:
    """``--cfg-options`` words to a dict, by MMEngine's rules."""
    wrong = [word for word in words if '=' not in word]
    if wrong:
        raise UserError(f'{" ".join(wrong)}: not KEY=VALUE', '--cfg-options', 'write e.g. train_cfg.max_epochs=2')
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='*', action=DictAction, default={})
    return parser.parse_args(['--options', *words]).options if words else {}


def train_command(args: argparse.Namespace) -> int:
    """Build the plan of a config, print it, walk it, and print the results."""
    rank = rank_from_environment()[0] if args.launcher != 'none' else 0
    console = Console(quiet=rank > 0)
    cfg = load_config(args.config, parse_options(args.cfg_options), args.work_dir)
    merge_flags(cfg, args)
    made = ensure_data(cfg, console, dry_run=args.plan, rank=rank)
    if not made:
        console.print(f'data: {cfg.data_root} is made first (synthetic, {cfg.synthetic.spec}); the plan follows then',
                      soft_wrap=True)
        return 0
    annotations = load_annotations(cfg.data_root)
    # Weights and stand-ins are decided before the first second of training is spent.
    plan = plan_of(cfg, annotations, args.rebuild)
    for line in plan.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if args.plan:
        return 0
    if all(stage.status is Status.DONE for stage in plan.stages):
        show_results(cfg, console)
        return 0
    start_processes(args.launcher)
    plan.run(console)
    return 0


def plan_of(cfg: Config, annotations: Annotations, rebuild: bool = False) -> Plan:
    """The plan of a config, with its opening lines; resolves the prior on the way."""
    return build_plan(cfg, annotations, rebuild, opening_lines(cfg, annotations))


def opening_lines(cfg: Config, annotations: Annotations) -> list[str]:
    """What a plan stands on: prior, data, weights. Resolves the prior of the config."""
    heading = [f'data: {cfg.data_root}' + (' (synthetic)' if annotations.synthetic else ''),
               count_line(annotations), weights_line(cfg), *box_lines(cfg)]
    if cfg.get('coarse'):
        asked = cfg.prior.backend
        if uses_prior(cfg):
            cfg.prior = resolve_prior(cfg.prior, annotations)
        heading.insert(0, prior_line(cfg.prior if uses_prior(cfg) else None, asked))
    if wants_masks(cfg):
        heading.insert(0, _masks_line(cfg, annotations))
    return heading


def _masks_line(cfg: Config, annotations: Annotations) -> str:
    """Where the masks in the target come from; resolves the prior of the config if one makes them."""
    lacking = frames_without_masks(cfg, annotations)
    cfg.target_masks = 'ground truth'
    if lacking:
        cfg.prior = resolve_prior(cfg.prior, annotations)
        told = cfg.prior.backend + (' (a stand-in)' if cfg.prior.backend in STAND_INS else '')
        cfg.target_masks = (f'{told}, prompted with ground-truth points, in {len(lacking)} training frames that have '
                            'none; else ground truth')
    return f'masks in the target: {cfg.target_masks}'


def merge_flags(cfg: Config, args: argparse.Namespace) -> None:
    """MMPose's flags into the config, for the run and its prerequisite alike."""
    if args.resume not in (None, 'auto'):
        raise UserError(f'--resume {args.resume}: a run goes on from the last checkpoint of its work directory',
                        fix='give its folder with --work-dir, or start from the weights with --cfg-options '
                        f'load_from={args.resume}')
    cfg.launcher = args.launcher
    options: dict = {}
    if args.no_validate:
        options.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    if args.amp:
        options['optim_wrapper.type'] = 'ClipAmpOptimWrapper'
    if args.auto_scale_lr:
        options['auto_scale_lr.enable'] = True
    if args.show_dir:
        cfg.show_dir = args.show_dir
    if cfg.get('coarse'):
        options.update({f'coarse.overrides.{key}': value for key, value in options.items()})
    cfg.merge_from_dict(options)
