"""What ``tools/make_priors.py`` does."""
import argparse
import time
from collections import defaultdict
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from mmengine.config import Config
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split, load_splits
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.summary import percent
from mmpose_surgical.files import write_json
from mmpose_surgical.pipeline.artifacts import Status
from mmpose_surgical.pipeline.config import load_config, uses_prior
from mmpose_surgical.pipeline.data import ensure_data
from mmpose_surgical.pipeline.distributed import rank_from_environment, start_processes
from mmpose_surgical.pipeline.plan import Plan, add_coarse_stages
from mmpose_surgical.pipeline.prompting import active_mask, backend_of, jitter_of, load_prior_frame
from mmpose_surgical.pipeline.run import opening_lines, parse_options
from mmpose_surgical.pipeline.stages import PriorStage
from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.priors.maker import HELD_OUT, PriorJob, PriorReport, assess_prior, is_made
from mmpose_surgical.priors.prompts import prior_name, round_prompts
from mmpose_surgical.priors.records import encode
from mmpose_surgical.priors.store import RecordStore
from mmpose_surgical.visualization.prior_sheet import draw_prior, write_sheet

REPORT = 'report'
"""Folder of the quality report, in the folder of the store."""

_SHOWN = 12
_TIMED = 3


def priors_command(args: argparse.Namespace) -> int:
    """Make the priors that a config needs, prerequisites included, or count what is missing; report their quality."""
    rank = rank_from_environment()[0] if args.launcher != 'none' else 0
    console = Console(quiet=rank > 0)
    cfg = load_config(args.config, parse_options(args.cfg_options), args.work_dir)
    cfg.launcher = args.launcher
    if not cfg.get('coarse'):
        raise UserError('this config takes no mask prior', args.config, 'give one of a refiner, e.g. '
                        'configs/surgical/refine_prior_aux.py')
    if args.backend:
        cfg.prior.backend = args.backend
    if args.jitter is not None:
        cfg.prior.jitter = args.jitter
    if args.limit is not None and args.limit < 0:
        raise UserError('a limit below 0', f'--limit {args.limit}', 'give a number, or 0 for the report alone')
    if not ensure_data(cfg, console, dry_run=args.dry_run, rank=rank):
        console.print(f'data: {cfg.data_root} is made first (synthetic, {cfg.synthetic.spec})', soft_wrap=True)
        return 0
    annotations = load_annotations(cfg.data_root)
    plan = prior_plan(cfg, annotations)
    stage = plan.stages[-1]
    for line in plan.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    frames = chosen_frames(annotations, args.split)
    if args.dry_run:
        dry_run(plan, frames, args.limit, console)
        return 0
    start_processes(args.launcher)
    stage.chosen, stage.limit = frames, args.limit
    plan.run(console)
    if rank == 0:
        show_report(stage, frames, console)
    return 0


def prior_plan(cfg: Config, annotations: Annotations) -> Plan:
    """The plan of a config up to its mask priors.

    Raises:
        UserError: The config's model takes none.
    """
    if not uses_prior(cfg):
        raise UserError('the model of this config takes no mask prior', cfg.config_file,
                        'give configs/surgical/refine_prior.py or refine_prior_aux.py')
    plan = Plan(opening_lines(cfg, annotations), [])
    add_coarse_stages(plan, cfg, annotations, load_splits(annotations.root, annotations), rebuild=False)
    return plan


def chosen_frames(annotations: Annotations, splits: str) -> list[Frame]:
    """Annotated frames of comma-separated splits, each once."""
    found = {frame.image_id: frame for name in splits.split(',') if name
             for frame in frames_of_split(annotations, name.strip())}
    if not found:
        raise UserError('no annotated frame in these splits', f'--split {splits}', 'name others')
    return list(found.values())


def dry_run(plan: Plan, frames: list[Frame], limit: int | None, console: Console) -> None:
    """Count what is missing, and time the backend on a few pictures without keeping anything."""
    stage = plan.stages[-1]
    before = [s for s in plan.stages[:-1] if s.status is not Status.DONE]
    if before:
        # Where the coarse network will point is not known yet; time and size hardly depend on it.
        jobs = [_centre_job(stage, frame) for frame in frames][:limit]
        console.print(f'{len(before)} stage(s) come first, from whose points the prompts come; then {len(jobs)} '
                      'pictures are segmented, or fewer where no point is sure enough', soft_wrap=True)
    else:
        missing = stage.missing(stage.jobs(frames))
        jobs = [job for job in missing[:limit] if len(job.points_xy)]
        console.print(f'pictures: {len(frames)}, of which {len(frames) - len(missing)} are made and {len(missing)} '
                      f'missing; this call would segment {len(jobs)}', soft_wrap=True)
    if not jobs:
        return
    backend = backend_of(stage.cfg)
    seconds, sizes = [], []
    for job in jobs[:_TIMED + 1]:
        start = time.monotonic()
        embedding = backend.embed(backend.visible_part(job.load()))
        made = [backend.predict(embedding, round_prompts(p), job.labels) for p in (job.points_xy, *job.jittered)]
        seconds.append(time.monotonic() - start)
        records = [prior.to_record() for prior in made]
        sizes.append(sum(len(encode(dict(kind='value', key='0' * 32, scalars=scalars), arrays))
                         for arrays, scalars in records))
    # The first one pays for loading the weights.
    each = float(np.median(seconds[1:] or seconds))
    console.print(f'about {each:.2f} s and {np.mean(sizes) / 1024:.1f} KiB a picture with {backend.name}, measured on '
                  f'{len(seconds)}: {_duration(each * len(jobs))} on one process, '
                  f'{np.mean(sizes) * len(jobs) / 2**20:.1f} MiB', highlight=False, soft_wrap=True)


def _centre_job(stage: PriorStage, frame: Frame) -> PriorJob:
    return PriorJob(frame.image_id, partial(load_prior_frame, frame, stage.root),
                    np.array([[frame.width / 2, frame.height / 2]]), np.ones(1, np.int64))


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f'{hours} h {rest // 60} min' if hours else f'{rest // 60} min {rest % 60} s'


def show_report(stage: PriorStage, frames: list[Frame], console: Console) -> None:
    """Print and write the quality of the priors that are there, with pictures of the worst and of a random sample."""
    store = RecordStore(stage.artifact.folder)
    made = [(frame, job) for frame, job in zip(frames, stage.jobs(frames), strict=True) if is_made(job, store)]
    console.print(f'made: {len(made)} of {len(frames)} pictures')
    singles = [(frame, assess_prior(job, store))
               for frame, job in track(made, '      quality', console=console, transient=True)]
    groups: dict[tuple[str, str], PriorReport] = defaultdict(PriorReport)
    for frame, report in singles:
        use = 'training' if frame.image_id in stage.training else HELD_OUT
        for key in (('all', ''), ('pictures', use), *_groups(frame)):
            groups[key] += report
    console.print(report_table(groups, stage))
    folder = stage.artifact.folder / REPORT
    write_json(folder / 'report.json', dict(
        backend=backend_of(stage.cfg).fingerprint, frames=len(frames), made=len(made),
        groups=[dict(by=by, name=name, **asdict(report), mean_iou=report.mean_iou)
                for (by, name), report in groups.items()]))
    prompted = sorted((item for item in singles if not item[1].unprompted), key=lambda item: _badness(*item, store))
    chance = np.random.default_rng(0).permutation(len(prompted))[:_SHOWN]
    for name, shown in (('worst', prompted[:_SHOWN]), ('random', [prompted[i] for i in sorted(chance)])):
        if shown:
            write_sheet(folder / f'{name}.jpg', [_drawn(frame, report, store, stage) for frame, report in shown])
    console.print(f'report: {folder}', highlight=False, soft_wrap=True)
    if jitter := jitter_of(stage.cfg):
        console.print(f'to train with the jittered priors: --cfg-options prior.jitter={jitter["count"]} '
                      f'prior.jitter_px={jitter["px"]:g}', highlight=False, soft_wrap=True)


def _badness(frame: Frame, report: PriorReport, store: RecordStore) -> tuple:
    """Sorts the worst first: failed, then by overlap with the acting tool or, where that is not known, as predicted."""
    overlap = report.mean_iou if report.with_truth else MaskPrior.from_record(*store.get(frame.image_id)).iou
    return not report.failed, overlap, not report.straddling


def _groups(frame: Frame) -> list[tuple[str, str]]:
    active = frame.active_tools
    if not active:
        return [('action', 'nothing acts')]
    actions, tools = ({str(value or '?') for value in values} for values in (
        (tool.action for tool in active), (tool.tool for tool in active)))
    return [*(('action', name) for name in sorted(actions)), *(('tool', name) for name in sorted(tools))]


def report_table(groups: dict[tuple[str, str], PriorReport], stage: PriorStage) -> Table:
    """Failed, straddling and IoU of the priors, by action and by acting tool."""
    prior: dict[str, Any] = stage.cfg.prior
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=f'prior: {prior_name(prior)}', caption_justify='left')
    table.add_column('by')
    table.add_column('', no_wrap=True, overflow='fold')
    for name in ('pictures', 'no prompt', 'failed %', 'straddle %', 'IoU %'):
        table.add_column(name, justify='right')
    for (by, name), report in sorted(groups.items(), key=lambda item: (item[0][0] != 'all', item[0])):
        prompted = report.pictures - report.unprompted
        table.add_row(by, name, str(report.pictures), str(report.unprompted),
                      percent(report.failed / prompted if prompted else None),
                      percent(report.straddling / report.with_instances if report.with_instances else None),
                      percent(report.mean_iou))
    return table


def _drawn(frame: Frame, report: PriorReport, store: RecordStore, stage: PriorStage) -> np.ndarray:
    prior = MaskPrior.from_record(*store.get(frame.image_id))
    told = 'failed' if report.failed else f'predicted IoU {prior.iou:.2f}'
    if report.with_truth:
        told += f', IoU {report.iou_sum:.2f}'
    return draw_prior(frame.file(stage.root).read(), prior, active_mask(frame),
                      f'{frame.video.name} #{frame.frame_id}   {told}', prior_name(stage.cfg.prior))
