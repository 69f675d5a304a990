"""What ``tools/predict.py`` does: points of a video into tables and an overlay, going on after any cut."""
from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from mmpose_surgical.apis.inferencer import SurgicalLandmarkInferencer
from mmpose_surgical.apis.sources import FrameSource, SourceFrame, open_source
from mmpose_surgical.cli import progress_bar
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.summary import git_commit
from mmpose_surgical.files import file_digest, is_temporary
from mmpose_surgical.pipeline.artifacts import Artifact, Status, content_of, differences, digest_of
from mmpose_surgical.pipeline.prompting import describe_backend
from mmpose_surgical.pipeline.run import parse_options
from mmpose_surgical.prediction.journal import Journal
from mmpose_surgical.prediction.records import record_of
from mmpose_surgical.prediction.smoothing import BETA, MIN_CUTOFF, PointSmoother
from mmpose_surgical.prediction.tables import write_csv, write_frames_json
from mmpose_surgical.priors.prompts import PromptRule, prior_name
from mmpose_surgical.visualization.overlay_video import OverlayPainter, write_overlay_video

VERSION = 1
"""Raise it whenever the same model begins to give other points."""
JOURNAL = 'frames.journal'
CSV, JSON, OVERLAY = 'predictions.csv', 'predictions.json', 'overlay.mp4'


@dataclass
class Video:
    """A source that is being predicted into a folder."""
    source: FrameSource
    journal: Journal
    smoother: Callable[[], PointSmoother] | None

    def records(self) -> Iterator[dict[str, Any]]:
        """All frames in order, their points smoothed if that was asked for."""
        smoother = self.smoother and self.smoother()
        for record in self.journal:
            yield record if smoother is None else record | dict(points=smoother(record['points'], record['time']))

    def pairs(self) -> Iterator[tuple[SourceFrame, dict[str, Any]]]:
        """Pictures with their records."""
        return zip(self.source.frames(), self.records(), strict=True)


def predict_command(args: argparse.Namespace) -> int:
    """Predict every frame of a source, then write tables and overlay from what is known of the frames."""
    console = Console()
    source = open_source(args.source, args.fps)
    if not source.files:
        raise UserError('this tool predicts video files and folders', args.source,
                        'use SurgicalLandmarkInferencer for a camera (docs/inference.md)')
    if source.fps is None and source.length > 1:
        raise UserError('pictures in a folder do not say how many of them are a second', args.source, 'give --fps')
    if not 0 <= args.trail < float('inf'):
        raise UserError(f'a trail of {args.trail} s', '--trail', 'give seconds, 0 or more')
    smoother = None if args.smooth is None else partial(smoother_of, source, *args.smooth)
    if smoother:
        smoother()  # refuses senseless parameters before an hour is spent
    folder = Path(args.out)
    inferencer = SurgicalLandmarkInferencer(
        args.model, args.weights, args.device, args.prior, args.prior_every, args.score_thr, args.batch_size,
        args.heat, parse_options(args.cfg_options))
    look_ahead = inferencer.look_ahead(source.fps) if source.length > 1 else 0
    meta = describe(inferencer, source, look_ahead)
    for line in opening_lines(meta, source, look_ahead):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    inference = dict(meta, version=VERSION, heat=args.heat, source=fingerprint(source),
                     networks=networks_of(inferencer))
    artifact = Artifact(folder, dict(inference=inference, output=dict(
        smooth=args.smooth, overlay=not args.no_overlay, trail=args.trail)), option='--out')
    status = artifact.status
    if status is Status.DONE and not args.rebuild:
        console.print(f'done before: {folder}', highlight=False, soft_wrap=True)
        return 0
    if status is Status.STALE:
        refuse_other(artifact, args.rebuild)
    if any(file.resolve().parent == folder.resolve() and file.name in (CSV, JSON, OVERLAY) for file in source.files):
        raise UserError('the source would be replaced by what is made of it', args.source, 'choose another --out')
    was_done = artifact.record is not None and artifact.record['done']
    artifact.begin()
    # Nothing of an earlier call stands under its final name while this one works; what is known of frames stays, but
    # for one that is to begin anew. Other files are the user's.
    ended = [CSV, JSON, OVERLAY, *([JOURNAL] if args.rebuild and was_done else [])]
    for path in list(folder.iterdir()):
        if path.name in ended or is_temporary(path) and path.is_file():
            path.unlink()
    video = Video(source, Journal(folder / JOURNAL, digest_of(inference)), smoother)
    predict_frames(video, inferencer, console)
    outputs = write_outputs(video, folder, meta, args)
    artifact.finish(outputs)
    report(video, folder, outputs, console)
    return 0


def smoother_of(source: FrameSource, min_cutoff: float = MIN_CUTOFF, beta: float = BETA) -> PointSmoother:
    """A smoother for the pictures of a source. A track outlives two frames without its point, however far apart."""
    width = source.size[0] if source.size else 640
    return PointSmoother(width, min_cutoff, beta, patience=max(0.25, 2.5 / source.fps if source.fps else 0.25))


def refuse_other(artifact: Artifact, rebuild: bool) -> None:
    """Say what a folder holds where it is not predictions that other outputs can be written from, or that may go.

    Raises:
        UserError: It holds something else.
    """
    before, now = artifact.record['content'].get('inference'), artifact.content['inference']
    if before is None:
        raise UserError('the folder holds something else than predictions', artifact.folder, 'choose another --out')
    if before != now and not rebuild:
        told = 'the source has changed' if before['source'] != now['source'] else list_problems(
            differences(before, now), 3)
        raise UserError(f'the folder holds other predictions: {told}', artifact.folder,
                        'choose another --out, or pass --rebuild to replace them')


def describe(inferencer: SurgicalLandmarkInferencer, source: FrameSource, look_ahead: int) -> dict[str, Any]:
    """What predictions stand on: model, prior, thresholds, window."""
    run = inferencer.run
    if inferencer.segmenter:
        prior = describe_backend(inferencer.segmenter.backend, inferencer.prior)
    else:
        prior = dict(backend=inferencer.prior['backend'], **PromptRule.of(inferencer.prior).content)
    return dict(
        model=dict(name=run.name, weights=run.checkpoint.name, sha256=file_digest(run.checkpoint),
                   coarse_sha256=run.coarse and file_digest(run.coarse.checkpoint)),
        prior=prior | (dict(every=inferencer.prior_every) if inferencer.prior_every > 1 else {}),
        thresholds=inferencer.thresholds, fps=source.fps, frames=source.length, look_ahead_frames=look_ahead)


def networks_of(inferencer: SurgicalLandmarkInferencer) -> str:
    """Digest of all that a config says of the networks, their input and their decoding, overrides included."""
    runs = [run for run in (inferencer.run, inferencer.run.coarse) if run]
    return digest_of([content_of(dict(model=run.cfg.model, codec=run.cfg.codec, data=run.cfg.test_dataloader.dataset))
                      for run in runs])


def fingerprint(source: FrameSource) -> dict[str, Any]:
    """What tells a source from another, or from itself when it has changed: names, sizes and times, not pixels."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in source.files]
    return dict(name=source.name, sha256=hashlib.sha256(repr(stats).encode()).hexdigest())


def prior_line(prior: dict[str, Any]) -> str:
    """The prior in a few words, stand-ins named as such."""
    return prior_name(prior) + (' (a stand-in for SAM 3)' if prior.get('stand_in') else '') + (
        f', every {prior["every"]} frames' if 'every' in prior else '')


def opening_lines(meta: dict[str, Any], source: FrameSource, look_ahead: int) -> list[str]:
    """What the user should know before hours are spent."""
    rate = f', {source.fps:.6g} frames/s, {source.length / source.fps:.1f} s' if source.fps else ''
    rate += ', uneven: windows go by the mean' if source.uneven else ''
    late = f'looks {look_ahead} frames ({look_ahead / source.fps:.2f} s) ahead' if look_ahead else 'does not look ahead'
    return [f'prior: {prior_line(meta["prior"])}', f'model: {meta["model"]["name"]}, {late}',
            f'source: {source.name}, {source.length} frames{rate}']


def predict_frames(video: Video, inferencer: SurgicalLandmarkInferencer, console: Console) -> None:
    """Fill the journal up to the end of the source."""
    source, first = video.source, video.journal.next_frame
    if first >= source.length:
        return
    if first:
        console.print(f'goes on at frame {first}', highlight=False)
    decoder = inferencer.networks[-1].model.head.decoder if inferencer.heatmaps else None
    began = time.monotonic()
    with video.journal as journal, progress_bar('frames', speed='frames/s') as progress:
        progress(first, source.length)
        for result in inferencer(source, start=first):
            journal.append(record_of(result, decoder))
            progress(journal.next_frame, source.length)
    if video.journal.next_frame < source.length:
        raise UserError('not all frames are on record', video.journal.path, 'call again: it goes on from there')
    done = video.journal.next_frame - first
    seconds = time.monotonic() - began
    console.print(f'{done} frames in {seconds:.1f} s, {done / seconds:.1f} frames/s', highlight=False)


def write_outputs(video: Video, folder: Path, meta: dict[str, Any], args: argparse.Namespace) -> list[Path]:
    """Tables and overlay from what is known of the frames."""
    if args.smooth is not None:
        given = dict(zip(('min_cutoff', 'beta'), args.smooth))
        meta = meta | dict(smooth=dict(min_cutoff=MIN_CUTOFF, beta=BETA) | given)
    write_csv(folder / CSV, video.records(), args.smooth is not None,
              video.source.is_folder)
    write_frames_json(folder / JSON, dict(meta, source=video.source.name, git_commit=git_commit(), unit='px, s'),
                      video.records())
    outputs = [folder / JOURNAL, folder / CSV, folder / JSON]
    if not args.no_overlay:
        painter = OverlayPainter(f'{meta["model"]["name"]}   prior: {prior_line(meta["prior"])}', args.trail, args.heat,
                                 args.smooth is not None)
        with progress_bar('overlay', speed='frames/s') as progress:
            write_overlay_video(folder / OVERLAY, video.pairs(), painter, video.source.fps or 25.,
                                lambda count: progress(count, video.source.length))
        outputs.append(folder / OVERLAY)
    return outputs


def report(video: Video, folder: Path, outputs: list[Path], console: Console) -> None:
    """Say how many frames have points, which could not be read, and where the files are."""
    counts: dict[str, int] = {}
    broken = []
    for record in video.journal:
        counts[record['state']] = counts.get(record['state'], 0) + 1
        if record['state'] == 'broken' and len(broken) < 1000:
            broken.append(f'{record["frame"]} ({record["problem"]})')
    console.print(f'{counts.get("point", 0)} frames with points, {counts.get("none", 0)} without', highlight=False)
    if broken:
        smeared = '' if video.source.is_folder else (
            '; frames behind them, up to the next key picture, may be smeared')
        console.print(f'{counts["broken"]} frames could not be read and were skipped: {list_problems(broken, 5)}'
                      f'{smeared}', highlight=False, markup=False, soft_wrap=True)
    console.print(f'written: {folder} ({", ".join(path.name for path in outputs[1:])})', highlight=False,
                  soft_wrap=True)
