"""What a prior at run time costs: F1 and false points of one refiner in the test videos of the synthetic bench.

    python benchmarks/ablation.py --resume --seeds 0 --methods refine_prior_aux_dropout refine_prior_aux_simulated
    python benchmarks/runtime_prior.py

The refiner was trained with the `simulated` prior, and every row predicts the same clips with it, frame after frame, as
tools/predict.py does; thresholds are those that its training chose. Points count in annotated frames. `simulated` is a
near-ideal segmenter that a real video does not have: it is what the others are compared with.
"""
import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation_units import METHODS, ROOT
from machine import describe_machine, short_commit

from mmpose_surgical.apis import runtime_prior
from mmpose_surgical.apis.inferencer import SurgicalLandmarkInferencer
from mmpose_surgical.apis.mask_prior import LiveMaskPrior
from mmpose_surgical.apis.trained_run import load_run
from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.evaluation.comparison import compare
from mmpose_surgical.evaluation.evaluator import Rules, match_runs
from mmpose_surgical.evaluation.full import evaluate_in_full
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.pipeline.prompting import instance_masks
from mmpose_surgical.priors.base import MaskPrior, PriorFrame

RESULTS = ROOT / 'benchmarks/results'
DATA = ROOT / 'data/bench'
DROPOUT, PLAIN = 'refine_prior_aux_dropout', 'refine_prior_aux_simulated'
MODELS = {DROPOUT: 'mask dropout 0.2', PLAIN: 'no mask dropout'}
# Model, prior, every n-th frame; the first is what the others are compared with.
ROWS = [(DROPOUT, 'simulated', 1), (DROPOUT, 'aux', 1), (DROPOUT, 'none', 1), (PLAIN, 'simulated', 1),
        (PLAIN, 'none', 1), (DROPOUT, 'grabcut', 1), (DROPOUT, 'grabcut', 3)]
STEEPNESS = (4., 16., 64.)
"""Of the sigmoid that sharpens the own masks; 4 leaves them about as they are."""
LEVELS = (0.5, 0.6, 0.7)
"""Thresholds for all points, higher than those of training: what it costs to be quieter."""


class RenderedPrior(LiveMaskPrior):
    """The ``simulated`` backend on frames whose masks the renderer wrote down; others get none, and do not count."""

    def __init__(self, prior: dict[str, Any], thresholds: dict[str, float]) -> None:
        super().__init__(prior, thresholds)
        self.frames: dict[int, Frame] = {}
        """Annotated frames of the clip at hand, by their place in it."""

    def __call__(self, picture: np.ndarray, keypoints: np.ndarray, scores: np.ndarray,
                 image_id: int | None = None) -> MaskPrior:
        frame = self.frames.get(image_id)
        size = picture.shape[1], picture.shape[0]
        if frame is None:
            return self.backend.no_prior(size)
        return self.backend.prior(
            PriorFrame(np.ascontiguousarray(picture[..., ::-1]), frame.image_id, partial(instance_masks, frame)),
            *self.prompts(keypoints, scores, size))


def inferencer_of(folder: Path, prior: str, every: int) -> SurgicalLandmarkInferencer:
    if prior != 'simulated':
        return SurgicalLandmarkInferencer(folder, prior=prior, prior_every=every, batch_size=8, score_thr=0.)
    run = load_run(folder)
    return SurgicalLandmarkInferencer(folder, prior=RenderedPrior(run.facts['prior_config'], run.prompt_thresholds),
                                      batch_size=8, score_thr=0.)


def predict(inferencer: SurgicalLandmarkInferencer, annotations: Annotations,
            clips: list[list[Frame]]) -> tuple[Predictions, float]:
    """All points of the annotated frames of clips, each predicted like a video of its own, and seconds a frame."""
    segment = inferencer.segmenter
    rows, count, began = [], 0, time.monotonic()
    for frames in clips:
        clip = frames[0].clip
        by_place = {frame.frame_id - clip.start_frame: frame for frame in frames}
        if isinstance(segment, RenderedPrior):
            segment.frames = by_place
        files = [frames[0].file(annotations.root, number).path
                 for number in range(clip.start_frame, clip.end_frame + 1)]
        for result in inferencer(files, fps=frames[0].video.fps):
            count += 1
            if result.frame in by_place:
                rows += [dict(point, image_id=by_place[result.frame].image_id) for point in result.points]
    return Predictions.from_records(rows, 'inferencer'), (time.monotonic() - began) / count


def clips_of(annotations: Annotations, split: str) -> list[list[Frame]]:
    """Annotated frames of a split by clip."""
    clips: dict[int, list[Frame]] = defaultdict(list)
    for frame in frames_of_split(annotations, split):
        clips[frame.clip.id].append(frame)
    return list(clips.values())


def sharpened(folder: Path, annotations: Annotations) -> list[dict[str, Any]]:
    """The own masks of one seed, more or less sharp, on the validation split, on which the steepness was chosen."""
    frames, rules = frames_of_split(annotations, 'val'), Rules(landmarks=annotations.landmarks)
    chosen, rows = runtime_prior.STEEPNESS, []
    for steepness in STEEPNESS:
        runtime_prior.STEEPNESS = steepness
        inferencer = inferencer_of(folder, 'aux', 1)
        points, _ = predict(inferencer, annotations, clips_of(annotations, 'val'))
        found = evaluate_in_full(frames, [points], [inferencer.run.thresholds], rules, by=(), resamples=0)
        rows.append(dict(steepness=steepness, chosen=steepness == chosen, **cell(found, None)))
        print(rows[-1], flush=True)
    runtime_prior.STEEPNESS = chosen
    return rows


def cell(found: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, Any]:
    """F1 by landmark with interval, differences, false points."""
    overall = found['results']['overall']
    out: dict[str, Any] = {name: {key: one[key] for key in ('tp', 'fp', 'fn', 'f1', 'ci95') if key in one}
                           for name, one in overall.items()}
    out['false_points_per_idle_minute'] = found['false_points_per_idle_minute']['all']
    if reference is not None:
        out['less_simulated'] = reference['f1']['overall']
    return out


def table(rows: Sequence[dict[str, Any]], command: str, machine: dict[str, Any]) -> str:
    lines = ['# What a prior at run time costs', '',
             f'`{command}`, commit {short_commit(machine)}, {machine["processor"]}, one thread; synthetic bench, '
             f'test split: {rows[0]["videos"]} videos, {rows[0]["frames"]} frames, 15 px, seed '
             f'{", ".join(map(str, rows[0]["seeds"]))}.', '',
             'F1 in per cent with 95 % intervals over videos; the difference is to the same model with `simulated`, a '
             'near-ideal segmenter that a real video does not have. Thresholds are those of training, on validation '
             'with `simulated`.', '',
             '| model | prior | every | tip F1 | anchor F1 | tip, difference | anchor, difference | false points per '
             'idle minute |', '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |']
    for row in rows:
        cells = [f'{100 * row[name]["f1"]:.1f} ({" to ".join(f"{100 * v:.1f}" for v in row[name]["ci95"]["f1"])})'
                 for name in ('tip', 'anchor')]
        gaps = ['' if 'less_simulated' not in row else '{:+.1f} ({:+.1f} to {:+.1f})'.format(*(
            100 * value for value in (row['less_simulated'][name]['difference'], *row['less_simulated'][name]['ci95'])))
            for name in ('tip', 'anchor')]
        told = dict(simulated='simulated (a stand-in)', grabcut='grabcut (a stand-in)')
        lines.append(' | '.join(['| ' + MODELS[row['model']],
                                 told.get(row['prior'], row['prior']), str(row['every']), *cells, *gaps,
                                 f'{row["false_points_per_idle_minute"]:.0f} |']))
    lines += ['', '## Quieter', '', 'A higher threshold for all points (`--score-thr`) costs F1 and leaves fewer false '
              'points where nothing acts: tip F1 / anchor F1 / false points per idle minute.', '',
              '| model | prior | every | ' + ' | '.join(map(str, LEVELS)) + ' |',
              '| --- | --- | ---: |' + ' ---: |' * len(LEVELS)]
    lines += [f'| {MODELS[row["model"]]} | {row["prior"]} | {row["every"]} | ' + ' | '.join(
        f'{100 * one["tip"]["f1"]:.1f} / {100 * one["anchor"]["f1"]:.1f} / {one["false_points_per_idle_minute"]:.0f}'
        for one in row['quieter'].values()) + ' |' for row in rows]
    return '\n'.join([*lines, ''])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--runs', type=Path, help='folder of the runs, seed<k>/bench_<method>; default: where '
                        'ablation.py leaves them')
    args = parser.parse_args()
    torch.set_num_threads(1)
    annotations = load_annotations(DATA)
    frames = frames_of_split(annotations, 'test')
    rules = Rules(landmarks=annotations.landmarks)
    rows, references = [], {}
    for model, prior, every in ROWS:
        method = next(method for method in METHODS if method.name == model)
        runs, thresholds, seconds = [], [], []
        for seed in args.seeds:
            inferencer = inferencer_of(method.folder(seed, args.runs), prior, every)
            points, each = predict(inferencer, annotations, clips_of(annotations, 'test'))
            runs.append(points)
            thresholds.append(inferencer.run.thresholds)
            seconds.append(each)
        found = evaluate_in_full(frames, runs, thresholds, rules, by=())
        matched = match_runs(frames, runs, thresholds, rules)
        quieter = {str(level): cell(evaluate_in_full(frames, runs, [level] * len(runs), rules, by=(), resamples=0),
                                    None) for level in LEVELS}
        reference = None
        if prior == 'simulated':
            references[model] = matched
        else:
            reference = compare(matched, references[model], paired_seeds=True)
        rows.append(dict(model=model, prior=prior, every=every, seeds=args.seeds, frames=len(frames),
                         videos=len({frame.video.name for frame in frames}),
                         seconds_per_frame=float(np.mean(seconds)), quieter=quieter, **cell(found, reference)))
        print(model, prior, every, {name: round(100 * rows[-1][name]['f1'], 1) for name in ('tip', 'anchor')},
              flush=True)
    command = f'python benchmarks/runtime_prior.py --seeds {" ".join(map(str, args.seeds))}'
    machine = describe_machine()
    dropout = next(method for method in METHODS if method.name == DROPOUT)
    sharp = sharpened(dropout.folder(args.seeds[0], args.runs), annotations)
    write_json(RESULTS / 'runtime_prior.json', dict(command=command, machine=machine, rows=rows, sharpened=sharp))
    write_text(RESULTS / 'runtime_prior.md', table(rows, command, machine) + '\n'.join([
        '', '## The own mask, sharpened', '', 'Validation split, on which the steepness was chosen: tip F1 / anchor F1 '
        '/ false points per idle minute.', '', '| steepness of the sigmoid | |', '| ---: | ---: |',
        *(f'| {one["steepness"]:g}{" (chosen)" if one["chosen"] else ""} | {100 * one["tip"]["f1"]:.1f} / '
          f'{100 * one["anchor"]["f1"]:.1f} / {one["false_points_per_idle_minute"]:.0f} |' for one in sharp), '']))


if __name__ == '__main__':
    main()
