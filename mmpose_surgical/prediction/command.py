"""What ``tools/predict.py`` does: points of a video into tables and an overlay, going on after any cut."""
from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mmpose_surgical.apis.inferencer import SurgicalLandmarkInferencer
from mmpose_surgical.apis.sources import FrameSource, SourceFrame, open_source
from mmpose_surgical.cli import progress_bar
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.summary import git_commit
from mmpose_surgical.files import file_digest, remove_folder
from mmpose_surgical.pipeline.artifacts import Artifact, Status
from mmpose_surgical.pipeline.config import STAND_INS
from mmpose_surgical.pipeline.run import parse_options
from mmpose_surgical.prediction.journal import Journal
from mmpose_surgical.prediction.records import record_of
from mmpose_surgical.prediction.smoothing import PointSmoother
from mmpose_surgical.prediction.tables import write_csv, write_frames_json
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
    smooth: list[float] | None
    width: int = 0

    def records(self) -> Iterator[dict[str, Any]]:
        """All frames in order, their points smoothed if that was asked for."""
        smoother = PointSmoother(self.width, *self.smooth) if self.smooth is not None else None
        for record in self.journal:
            yield record if smoother is None else record | dict(points=smoother(record['points'], record['time']))

    def pairs(self) -> Iterator[tuple[SourceFrame, dict[str, Any]]]:
        """Pictures with their records."""
        return zip(self.source.frames(), self.records(), strict=True)


def predict_command(args: argparse.Namespace) -> int:
    """Predict every frame of a source, then write tables and overlay from what is known of the frames."""
    console = Console()
    source = open_source(args.source, args.fps)
    if source.length is None or source.path is None:
        raise UserError('this tool predicts video files and folders', args.source,
                        'use SurgicalLandmarkInferencer for a camera (README, recipes)')
    folder = Path(args.out)
    options = parse_options(args.cfg_options)
    inferencer = SurgicalLandmarkInferencer(
        args.model, args.weights, args.device, args.prior, args.prior_every, args.score_thr, args.batch_size,
        args.heat, options)
    look_ahead = inferencer.look_ahead(source.fps)
    meta = describe(inferencer, source, look_ahead)
    inference = dict(meta, version=VERSION, heat=args.heat, source=fingerprint(source))
    output = dict(smooth=args.smooth, overlay=not args.no_overlay, trail=args.trail, outputs_version=VERSION)
    artifact = Artifact(folder, dict(inference=inference, output=output))
    status = artifact.status
    for line in opening_lines(meta, source, look_ahead):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if status is Status.STALE and artifact.record['content']['inference'] != artifact.content['inference']:
        if not args.rebuild:
            raise UserError(f'the folder holds other predictions: {list_problems(artifact.changes(), 3)}', folder,
                            'choose another --out, or pass --rebuild to replace them')
        remove_folder(folder)
    if status is Status.DONE:
        console.print(f'done before: {folder}', highlight=False, soft_wrap=True)
        return 0
    artifact.begin()
    video = Video(source, Journal(folder / JOURNAL), args.smooth)
    predict_frames(video, inferencer, console)
    video.width = _width(source)
    outputs = write_outputs(video, folder, meta | dict(smooth=args.smooth), args)
    artifact.finish(outputs)
    report(video, folder, outputs, console)
    return 0


def describe(inferencer: SurgicalLandmarkInferencer, source: FrameSource, look_ahead: int) -> dict[str, Any]:
    """What predictions stand on: model, prior, thresholds, window."""
    run = inferencer.run
    prior = {key: value for key, value in inferencer.prior.items() if value not in ('', None)}
    if prior['backend'] in STAND_INS:
        prior['stand_in'] = True
    return dict(
        model=dict(name=run.name, weights=run.checkpoint.name, sha256=file_digest(run.checkpoint),
                   coarse_sha256=run.coarse and file_digest(run.coarse.checkpoint)),
        prior=prior | (dict(every=inferencer.prior_every) if inferencer.prior_every > 1 else {}),
        thresholds=inferencer.thresholds, fps=source.fps, frames=source.length, look_ahead_frames=look_ahead)


def fingerprint(source: FrameSource) -> dict[str, Any]:
    """What tells a source from another, or from itself when it has changed: names, sizes and times, not pixels."""
    path = source.path
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return dict(name=source.name, sha256=hashlib.sha256(repr(stats).encode()).hexdigest())


def prior_name(prior: dict[str, Any]) -> str:
    """The prior in a few words, stand-ins named as such."""
    return prior['backend'] + (' (a stand-in for SAM 3)' if prior.get('stand_in') else '') + (
        f', every {prior["every"]} frames' if 'every' in prior else '')


def opening_lines(meta: dict[str, Any], source: FrameSource, look_ahead: int) -> list[str]:
    """What the user should know before hours are spent."""
    rate = f', {source.fps:.6g} frames/s, {source.length / source.fps:.1f} s' if source.fps else ''
    late = f'looks {look_ahead} frames ({look_ahead / source.fps:.2f} s) ahead' if look_ahead else 'does not look ahead'
    return [f'prior: {prior_name(meta["prior"])}', f'model: {meta["model"]["name"]}, {late}',
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
    done = video.journal.next_frame - first
    seconds = time.monotonic() - began
    console.print(f'{done} frames in {seconds:.1f} s, {done / seconds:.1f} frames/s', highlight=False)


def write_outputs(video: Video, folder: Path, meta: dict[str, Any], args: argparse.Namespace) -> list[Path]:
    """Tables and overlay from what is known of the frames."""
    names = video.source.path.is_dir()
    write_csv(folder / CSV, video.records(), args.smooth is not None, names)
    write_frames_json(folder / JSON, dict(meta, source=video.source.name, git_commit=git_commit(), unit='px, s'),
                      video.records())
    outputs = [folder / JOURNAL, folder / CSV, folder / JSON]
    (folder / OVERLAY).unlink(missing_ok=True)  # one that was made from something else
    if not args.no_overlay:
        painter = OverlayPainter(f'{meta["model"]["name"]}   prior: {prior_name(meta["prior"])}', args.trail, args.heat)
        with progress_bar('overlay', speed='frames/s') as progress:
            write_overlay_video(folder / OVERLAY, video.pairs(), painter, video.source.fps or 25.,
                                lambda count: progress(count, video.source.length))
        outputs.append(folder / OVERLAY)
    return outputs


def _width(source: FrameSource) -> int:
    """Width of the pictures of a source."""
    return next((frame.picture.shape[1] for frame in source.frames() if frame.picture is not None), 640)


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
        smeared = '' if video.source.path.is_dir() else (
            '; frames behind them, up to the next key picture, may be smeared')
        console.print(f'{counts["broken"]} frames could not be read and were skipped: {list_problems(broken, 5)}'
                      f'{smeared}', highlight=False, markup=False, soft_wrap=True)
    console.print(f'written: {folder} ({", ".join(path.name for path in outputs[1:])})', highlight=False,
                  soft_wrap=True)
