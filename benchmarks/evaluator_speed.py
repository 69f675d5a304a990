#!/usr/bin/env python3
"""Does the evaluator count what a plain loop and COCO's evaluator count, and how much faster?

    python benchmarks/evaluator_speed.py

20,000 drawn frames (one acting tool in most, two or none in some, one or two tips each; predictions with noise, misses
and false points), evaluated from the frames and the predictions table to counts and L2 per landmark, one thread, by

- this evaluator (point table, vectorised matching, counts per video and action);
- a loop over pictures and landmarks with one ``scipy.optimize.linear_sum_assignment`` each, both protocols; and the
  matching alone, from points that are already laid out for each side's convenience;
- pycocotools' ``COCOeval``, timed without building its index. A landmark becomes a category of one keypoint, and with
  a constant area OKS >= 0.5 means exactly a distance of 15 px or less. COCO matches greedily by score, so that counts
  are alike only where a picture has one point a side; on the rest it is told how far they differ.

Every round times all of them and this evaluator once more: the A/A control. Writes
benchmarks/results/evaluator_speed.json and .md.
"""
import os

for _variable in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ[_variable] = '1'  # one thread each; set before NumPy starts its threads

import contextlib
import io
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

from mmpose_surgical.datasets.annotations import LANDMARKS
from mmpose_surgical.datasets.records import Frame, Point, Tool, Video
from mmpose_surgical.evaluation.evaluator import Rules, evaluate, match_runs
from mmpose_surgical.evaluation.full import evaluate_in_full
from mmpose_surgical.evaluation.matching import PROTOCOLS, ROUNDING, match_groups
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.files import write_json, write_text

FRAMES, VIDEOS, ROUNDS, TOLERANCE = 20_000, 50, 15, 15.0
RESULTS = Path(__file__).resolve().parent / 'results'
Counts = dict[str, tuple[int, int, int, float]]
"""tp, fp, fn and mean matched distance per landmark."""


def draw(rng: np.random.Generator) -> tuple[list[Frame], Predictions]:
    """The frames and predictions of them."""
    videos = [Video(v, f'case{v}') for v in range(VIDEOS)]
    frames, rows = [], []
    for i in range(FRAMES):
        tools = []
        for _ in range(rng.choice(3, p=(.1, .8, .1))):
            x, y = rng.uniform(60, 580), rng.uniform(60, 420)
            tips = [(x, y), tuple(rng.normal((x, y), 12))][:rng.integers(1, 3)]
            points = [Point('tip', f'tip{n}', *xy, 2) for n, xy in enumerate(tips, 1)]
            points.append(Point('anchor', 'anchor', *rng.normal((x, y), 60), 2))
            tools.append(Tool(0, 'grasper', rng.choice(['clip', 'grasp', 'dissect']), True, points))
            rows += [(i, p.landmark, *rng.normal((p.x, p.y), 8), rng.beta(4, 2)) for p in points if rng.random() < .8]
        if rng.random() < .25:
            rows.append((i, rng.choice(LANDMARKS), rng.uniform(0, 640), rng.uniform(0, 480), rng.beta(2, 4)))
        frames.append(Frame(i, None, 640, 480, videos[i * VIDEOS // FRAMES], i, True, None, tools))
    return frames, Predictions(*(np.array(column) for column in zip(*rows)))


def ours(frames: list[Frame], predictions: Predictions, protocol: str) -> Counts:
    """By this package."""
    matched = match_runs(frames, [predictions], [None], Rules(TOLERANCE, protocol=protocol))
    overall = matched.by_action[1][:, :, 0].sum(axis=(0, 1))
    return {landmark: (*(int(n) for n in row[:3]), row[3] / row[0]) for landmark, row in zip(LANDMARKS, overall)}


def naive(frames: list[Frame], predictions: Predictions, protocol: str) -> Counts:
    """By a loop over pictures and landmarks, with one SciPy call for each that has points on both sides."""
    found: dict[tuple, list] = defaultdict(list)
    for i, landmark, x, y in zip(predictions.image_id.tolist(), predictions.landmark.tolist(), predictions.x.tolist(),
                                 predictions.y.tolist()):
        found[i, landmark].append((x, y))
    counts = {landmark: [0, 0, 0, 0.0] for landmark in LANDMARKS}
    for frame in frames:
        for landmark, count in counts.items():
            gt = [(p.x, p.y) for tool in frame.tools for p in tool.points if p.landmark == landmark]
            pred = found.get((frame.image_id, landmark), [])
            near = pair_up(np.array(gt), np.array(pred), protocol) if gt and pred else np.zeros(0)
            count[0] += len(near)
            count[1] += len(pred) - len(near)
            count[2] += len(gt) - len(near)
            count[3] += near.sum()
    return {landmark: (tp, fp, fn, total / tp) for landmark, (tp, fp, fn, total) in counts.items()}


def pair_up(gt: np.ndarray, pred: np.ndarray, protocol: str) -> np.ndarray:
    """Distances of the matched pairs of one picture and landmark, by SciPy."""
    distance = np.linalg.norm(gt[:, None] - pred[None], axis=-1)
    cost = distance if protocol == 'global' else np.where(distance <= TOLERANCE + ROUNDING, distance - 1e4, 0)
    away = distance[linear_sum_assignment(cost)]
    return away[away <= TOLERANCE + ROUNDING]


def matching_alone(frames: list[Frame], predictions: Predictions) -> dict[str, Callable[[], Any]]:
    """Both matchers on points that are laid out: flat arrays for ours, a pair of arrays a picture for the loop."""
    table = Rules().table(frames, predictions)
    sides = []
    for xy, group in ((table.gt_xy, table.gt_group), (table.pred_xy, table.pred_group)):
        ends = np.cumsum(np.bincount(group, minlength=len(LANDMARKS) * len(frames)))[:-1]
        sides.append(np.split(xy[np.argsort(group, kind='stable')], ends))
    pairs = [(gt, pred) for gt, pred in zip(*sides) if len(gt) and len(pred)]
    return {'matching, ours': lambda: match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group,
                                                   TOLERANCE),
            'matching, loop': lambda: [pair_up(gt, pred, 'max_pairs') for gt, pred in pairs]}


class Coco:
    """The same data for pycocotools."""

    def __init__(self, frames: list[Frame], predictions: Predictions) -> None:
        category = {landmark: k for k, landmark in enumerate(LANDMARKS, 1)}
        # OKS = exp(-d^2 / (8 sigma^2 area)) is 0.5 at the tolerance.
        self.area = 1e4
        self.sigma = math.sqrt((TOLERANCE + ROUNDING) ** 2 / (8 * math.log(2) * self.area))
        points = [(f.image_id, p.landmark, p.x, p.y) for f in frames for tool in f.tools for p in tool.points]
        self.truth = self._index([
            self._record(n, i, category[landmark], x, y) | {'iscrowd': 0, 'num_keypoints': 1}
            for n, (i, landmark, x, y) in enumerate(points, 1)], frames, category)
        self.found = self._index([
            self._record(n, r['image_id'], category[r['landmark']], r['x'], r['y']) | {'score': r['score']}
            for n, r in enumerate(predictions.records(), 1)], frames, category)

    def _record(self, number: int, image: int, category: int, x: float, y: float) -> dict[str, Any]:
        return {'id': number, 'image_id': image, 'category_id': category, 'keypoints': [x, y, 2], 'area': self.area,
                'bbox': [x, y, 1, 1]}

    @staticmethod
    def _index(records: list[dict], frames: list[Frame], category: dict[str, int]) -> COCO:
        coco = COCO()
        coco.dataset = {'images': [{'id': f.image_id} for f in frames], 'annotations': records,
                        'categories': [{'id': k, 'name': name} for name, k in category.items()]}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco

    def evaluate(self) -> Counts:
        """Greedy matches at the tolerance."""
        run = COCOeval(self.truth, self.found, 'keypoints')
        run.params.iouThrs, run.params.maxDets = np.array([0.5]), [20]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ['all']
        run.params.kpt_oks_sigmas = np.array([self.sigma])
        with contextlib.redirect_stdout(io.StringIO()):
            run.evaluate()
        counts: dict[int, list[int]] = {k: [0, 0, 0] for k in run.params.catIds}
        for image in filter(None, run.evalImgs):
            tp = int((image['dtMatches'] > 0).sum())
            for n, value in enumerate((tp, len(image['dtIds']) - tp, len(image['gtIds']) - tp)):
                counts[image['category_id']][n] += value
        return {landmark: (*counts[k], math.nan) for k, landmark in enumerate(LANDMARKS, 1)}


def single_points(frames: list[Frame], predictions: Predictions) -> tuple[list[Frame], Predictions]:
    """The frames with at most one point a side and landmark, where greedy and optimal matching are the same."""
    kinds, count = np.unique(np.stack([predictions.image_id, predictions.landmark == 'tip']), axis=1,
                             return_counts=True)
    several = set(kinds[0][count > 1].tolist()) | {
        f.image_id for f in frames if any(sum(p.landmark == name for t in f.tools for p in t.points) > 1
                                          for name in LANDMARKS)}
    kept = [f for f in frames if f.image_id not in several]
    return kept, predictions.select(np.isin(predictions.image_id, [f.image_id for f in kept]))


def same(a: Counts, b: Counts) -> bool:
    """Whether the counts are equal, and the distances to 1e-9 px where both have them."""
    return all(a[k][:3] == b[k][:3] and not abs(a[k][3] - b[k][3]) > 1e-9 for k in LANDMARKS)


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    frames, predictions = draw(np.random.default_rng(0))
    coco = Coco(frames, predictions)
    few = single_points(frames, predictions)
    answers = {protocol: ours(frames, predictions, protocol) for protocol in PROTOCOLS}
    by_coco = coco.evaluate()
    groups = {(f.image_id, p.landmark) for f in frames for t in f.tools for p in t.points} & set(
        zip(predictions.image_id.tolist(), predictions.landmark.tolist()))
    calls: dict[str, Callable[[], Any]] = {
        'ours': lambda: ours(frames, predictions, 'max_pairs'),
        'naive loop': lambda: naive(frames, predictions, 'max_pairs'),
        'ours, global': lambda: ours(frames, predictions, 'global'),
        'naive loop, global': lambda: naive(frames, predictions, 'global'),
        'pycocotools': coco.evaluate,
        'ours again (A/A)': lambda: ours(frames, predictions, 'max_pairs'),
        **matching_alone(frames, predictions),
        'all of metrics.json': lambda: evaluate_in_full(frames, [predictions], [None], Rules()),
        'all of metrics.json, no intervals': lambda: evaluate_in_full(frames, [predictions], [None], Rules(),
                                                                      resamples=0)}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(seconds(call))
    median = {name: statistics.median(values) for name, values in times.items()}
    record = dict(
        machine=describe_machine(), command='python benchmarks/evaluator_speed.py', frames=FRAMES, rounds=ROUNDS,
        predictions=len(predictions), counts=answers,
        equal_to_naive={p: same(answers[p], naive(frames, predictions, p)) for p in PROTOCOLS},
        coco=by_coco, coco_single_frames=len(few[0]),
        coco_equal_on_single=same(ours(*few, 'max_pairs'), Coco(*few).evaluate()),
        groups=len(groups), groups_where_protocols_differ=evaluate(frames, predictions)['meta'][
            'groups_where_protocols_differ'],
        seconds={name: [round(t, 4) for t in values] for name, values in times.items()},
        median_s={name: round(t, 4) for name, t in median.items()},
        ratio={'naive loop': median['naive loop'] / median['ours'],
               'naive loop, global': median['naive loop, global'] / median['ours, global'],
               'pycocotools': median['pycocotools'] / median['ours'],
               'matching, loop': median['matching, loop'] / median['matching, ours'],
               'A/A': median['ours again (A/A)'] / median['ours']})
    # The distance is no part of COCO's answer.
    record['coco'] = {name: row[:3] for name, row in by_coco.items()}
    write_json(RESULTS / 'evaluator_speed.json', record)
    write_text(RESULTS / 'evaluator_speed.md', report(record))
    print(report(record))


def report(record: dict[str, Any]) -> str:
    """The result as Markdown."""
    machine, ratio = record['machine'], record['ratio']
    ours_, coco = record['counts']['max_pairs'], record['coco']
    lines = [
        '# The evaluator against a plain loop and pycocotools', '',
        f'{machine["processor"]}, one thread, commit {machine["git_commit"]}; `{record["command"]}`. '
        f'{record["frames"]:,} drawn frames, {record["predictions"]:,} predicted points, {record["rounds"]} '
        'interleaved rounds, medians. From frames and predictions to counts and L2 per landmark; pycocotools without '
        'building its index.', '', '| evaluator | seconds | times ours |', '|---|---|---|',
        f'| ours, max_pairs | {record["median_s"]["ours"]:.3f} | 1 |',
        f'| the same again (A/A control) | {record["median_s"]["ours again (A/A)"]:.3f} | {ratio["A/A"]:.2f} |',
        f'| one SciPy call a picture and landmark, max_pairs | {record["median_s"]["naive loop"]:.3f} | '
        f'{ratio["naive loop"]:.1f} |',
        f'| pycocotools, greedy by score | {record["median_s"]["pycocotools"]:.3f} | {ratio["pycocotools"]:.1f} |',
        f'| ours, global | {record["median_s"]["ours, global"]:.3f} | |',
        f'| one SciPy call a picture and landmark, global | {record["median_s"]["naive loop, global"]:.3f} | '
        f'{ratio["naive loop, global"]:.1f} (of ours, global) |',
        f'| the matching alone, ours | {record["median_s"]["matching, ours"]:.3f} | |',
        f'| the matching alone, one SciPy call each | {record["median_s"]["matching, loop"]:.3f} | '
        f'{ratio["matching, loop"]:.1f} (of the matching alone, ours) |', '',
        f'All of `metrics.json`, curves and breakdowns included: '
        f'{record["median_s"]["all of metrics.json, no intervals"]:.2f} s, with 10,000 resamples '
        f'{record["median_s"]["all of metrics.json"]:.2f} s.', '',
        'Same counts and L2 as the loop: ' + ', '.join(
            f'{name} {"yes" if equal else "NO"}' for name, equal in record['equal_to_naive'].items()) + '. '
        f'Same counts as pycocotools on the {record["coco_single_frames"]:,} frames with one point a side: '
        f'{"yes" if record["coco_equal_on_single"] else "NO"}; on all frames true positives are '
        + ', '.join(f'{ours_[k][0]:,} {k}s against {coco[k][0]:,}' for k in LANDMARKS)
        + ', because greedy matching by score makes fewer pairs.', '',
        f'The protocols `max_pairs` and `global` differ in {record["groups_where_protocols_differ"]:,} of '
        f'{record["groups"]:,} frames x landmarks with points on both sides '
        f'({100 * record["groups_where_protocols_differ"] / record["groups"]:.2f} %).', '']
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
