#!/usr/bin/env python3
"""The compared methods on the synthetic bench: a queue of trainings that any interruption costs little, and its tables.

    python benchmarks/ablation.py --seeds 0 1 2      # trains what is missing, one unit after the other
    python benchmarks/ablation.py --minutes 30       # begins no further unit after that
    python benchmarks/ablation.py --list             # what is done and what is not
    python benchmarks/ablation.py --collect          # benchmarks/results/ablation.json and .md of what is done

A unit is one `tools/train.py` with one seed, at most about half an hour on two cores; a unit that was cut off goes on
from its last checkpoint. Runs lie in work_dirs/bench/<data>/seed<k>/, data in data/bench*; anybody may add seeds.
"""
import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from mmpose_surgical.datasets.annotations import Frame, load_annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.evaluation.comparison import compare
from mmpose_surgical.evaluation.evaluator import Matched, Rules, match_runs
from mmpose_surgical.evaluation.full import evaluate_in_full
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.evaluation.summary import describe_data, percent, percent_range
from mmpose_surgical.evaluation.thresholds import read_thresholds
from mmpose_surgical.files import read_json, write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / 'work_dirs/bench'
RESULTS = ROOT / 'benchmarks/results'
MARGIN = 0.03
"""Two methods count as equivalent within this difference."""


@dataclass(frozen=True)
class Method:
    """One row of the tables: a config with options, on one bench."""
    name: str
    config: str
    options: tuple[str, ...] = ()
    data: str = 'bench'

    def folder(self, seed: int) -> Path:
        return RUNS / self.data / f'seed{seed}' / self.name

    def command(self, seed: int) -> list[str]:
        options = [f'randomness.seed={seed}', *self.options]
        if self.data != 'bench':
            options += [f'data_root=data/{self.data}', f'synthetic.root=data/{self.data}',
                        f'synthetic.spec={self.data}']
        return ['tools/train.py', f'configs/bench/{self.config}.py', '--work-dir',
                str(self.folder(seed).relative_to(ROOT)), '--cfg-options', *options]

    def done(self, seed: int) -> bool:
        record = self.folder(seed) / 'artifact.json'
        return record.exists() and read_json(record)['done']


def refiner(name: str, backend: str, *options: str) -> Method:
    return Method(f'bench_{name}_{backend}', f'bench_{name}', (f'prior.backend={backend}', *options))


# A refiner trains its folds and has its priors made where they are missing: the first one of a seed takes longest.
METHODS = [
    Method('bench_coarse', 'bench_coarse'),
    Method('bench_refine', 'bench_refine'),
    refiner('refine_prior', 'simulated'),
    refiner('refine_prior_aux', 'simulated'),
    Method('bench_direct_mask', 'bench_direct_mask'),
    Method('bench_simplebaseline', 'bench_simplebaseline'),
    Method('bench_rtmpose', 'bench_rtmpose'),
    Method('bench_yolov8_pose', 'bench_yolov8_pose'),
    refiner('refine_prior', 'grabcut'),
    refiner('refine_prior_aux', 'grabcut'),
    Method('bench_in_sample', 'bench_refine_prior_aux', ('prior.backend=simulated', 'coarse.out_of_fold=False')),
    *(Method(f'bench_coarse_t{frames}', 'bench_coarse', (f'clip.num_frames={frames}',), data)
      for data in ('bench', 'bench_looks') for frames in (1, 5)),
]
# a, b and, for an equivalence test, whether they should be alike: differences are a - b.
COMPARISONS = [
    ('bench_refine', 'bench_coarse'), ('bench_refine_prior_simulated', 'bench_refine'),
    ('bench_refine_prior_aux_simulated', 'bench_refine_prior_simulated'),
    ('bench_direct_mask', 'bench_coarse'), ('bench_refine_prior_aux_simulated', 'bench_direct_mask'),
    ('bench_refine_prior_grabcut', 'bench_refine'), ('bench_refine_prior_aux_grabcut', 'bench_refine_prior_grabcut'),
    ('bench_refine_prior_simulated', 'bench_refine_prior_grabcut'),
    *(('bench_refine_prior_aux_simulated', f'bench_{name}') for name in ('simplebaseline', 'rtmpose', 'yolov8_pose')),
    ('bench_refine_prior_aux_simulated', 'bench_in_sample'), ('bench_coarse_t5', 'bench_coarse_t1'),
]


def work(seeds: list[int], methods: list[Method], minutes: float) -> None:
    """Train what is missing, seed by seed, so that all methods have the same seeds early."""
    start = time.monotonic()
    for seed in seeds:
        for method in methods:
            if method.done(seed):
                continue
            if time.monotonic() - start > 60 * minutes:
                print('time is over; the same command goes on from here')
                return
            print(' '.join(method.command(seed)), flush=True)
            began = time.monotonic()
            log = method.folder(seed).with_suffix('.log')
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open('a') as file:
                code = subprocess.run([sys.executable, *method.command(seed)], cwd=ROOT, stdout=file,
                                      stderr=subprocess.STDOUT).returncode
            if code:
                sys.exit(f'exit code {code}, see {log}')
            print(f'  {time.monotonic() - began:.0f} s', flush=True)


def chance(frames: list[Frame]) -> float:
    """Expected ``active_tool_accuracy`` of an answer that takes any of the tools in view."""
    asked = [len([tool for tool in frame.tools if tool.points]) for frame in frames
             if len(frame.active_tools) == 1 and frame.active_tools[0].points
             and any(tool.points for tool in frame.tools if not tool.active)]
    return float(np.mean([1 / count for count in asked]))


def collect(data: str, seeds: list[int]) -> dict[str, Any]:
    """Metrics and comparisons of the methods that are done with all of these seeds on one bench."""
    annotations = load_annotations(ROOT / 'data' / data)
    frames = frames_of_split(annotations, 'test')
    rules = Rules(landmarks=annotations.landmarks)
    matched: dict[str, Matched] = {}
    found: dict[str, Any] = dict(data=describe_data(annotations), test_frames=len(frames), seeds=seeds,
                                 test_videos=len({frame.video.name for frame in frames}), chance=chance(frames),
                                 methods={}, comparisons=[])
    for method in (method for method in METHODS if method.data == data):
        folders = [method.folder(seed) for seed in seeds]
        if not all(method.done(seed) for seed in seeds):
            continue
        points = [read_predictions(folder / 'test_predictions.json') for folder in folders]
        thresholds = [read_thresholds(folder / 'thresholds.json')[0] for folder in folders]
        matched[method.name] = match_runs(frames, points, thresholds, rules)
        metas = [read_json(folder / 'metrics.json')['meta'] for folder in folders]
        found['methods'][method.name] = dict(
            evaluate_in_full(frames, points, thresholds, rules), prior=metas[0]['prior'],
            coarse_for_training=metas[0].get('coarse_for_training'), commits=sorted({m['git_commit'] for m in metas}),
            priors=[_prior_facts(folder) for folder in folders])
    for a, b in COMPARISONS:
        if a in matched and b in matched:
            found['comparisons'].append(dict(a=a, b=b, **compare(matched[a], matched[b], margin=MARGIN)))
    return found


def _prior_facts(folder: Path) -> dict[str, Any] | None:
    """What is known of the mask priors behind a run, over all their pictures."""
    facts = read_json(folder / 'artifact.json')['facts']
    return read_json(folder / facts['priors'] / 'artifact.json')['facts']['report'] if 'priors' in facts else None


def tables(record: dict[str, Any]) -> str:
    """The figures as Markdown."""
    machine = record['machine']
    lines = ['# The compared methods on the synthetic bench', '',
             f'{machine["processor"]}, {machine["cores"]} cores, torch {machine["torch"]} '
             '(`python benchmarks/ablation.py`). F1 in per cent at 15 px on 640x480 with 95 % intervals (BCa over '
             'videos x seeds), thresholds chosen on validation videos. `simulated` and `grabcut` are stand-ins for '
             'SAM 3.', '']
    for data, found in record['benches'].items():
        lines += [f'## {data}: {found["test_frames"]} test frames of {found["test_videos"]} videos, seeds '
                  f'{", ".join(map(str, found["seeds"]))}', '',
                  '| method | tip F1 | tip L2 | anchor F1 | anchor L2 | clip tip / anchor | grasp tip / anchor | '
                  'dissect tip / anchor | best tip on the acting tool |', '|---|---|---|---|---|---|---|---|---|']
        for name, metrics in found['methods'].items():
            overall, active = metrics['results']['overall'], metrics['active_tool_accuracy']
            cells = [name.removeprefix('bench_')]
            for landmark in ('tip', 'anchor'):
                cell = overall[landmark]
                cells += [_with_interval(cell['f1'], cell.get('ci95', {}).get('f1')),
                          '-' if cell['l2'] is None else f'{cell["l2"]:.2f}']
            cells += [' / '.join(percent(metrics['results'].get(action, {}).get(landmark, {}).get('f1'))
                                 for landmark in ('tip', 'anchor')) for action in ('clip', 'grasp', 'dissect')]
            lines.append(f'| {" | ".join(cells)} | {_with_interval(active["accuracy"], active.get("ci95"))} |')
        lines += ['', f'Chance for the last column: {percent(found["chance"])}.', '']
        if found['comparisons']:
            lines += ['| a - b | tip F1 | p | anchor F1 | p | acting tool | p | within 3 points |',
                      '|---|---|---|---|---|---|---|---|']
        for entry in found['comparisons']:
            cells = [f'{entry["a"]} - {entry["b"]}'.replace('bench_', '')]
            parts = [*(entry['f1']['overall'][landmark] for landmark in ('tip', 'anchor')),
                     entry['active_tool_accuracy']]
            for part in parts:
                cells += [_with_interval(part['difference'], part['ci95'], '+'),
                          '-' if part['p'] is None else f'{part["p"]:.3f}']
            equal = parts[-1]['equivalence']
            lines.append(f'| {" | ".join(cells)} | {"yes" if equal["equivalent"] else "no"} |')
        lines.append('')
    return '\n'.join(lines)


def _with_interval(value: float | None, ends: list[float] | None, sign: str = '') -> str:
    told = '-' if value is None else f'{100 * value:{sign}.1f}'
    return told if ends is None else f'{told} ({percent_range(ends, " to ", sign)})'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--methods', nargs='+', choices=sorted({method.name for method in METHODS}))
    parser.add_argument('--minutes', type=float, default=float('inf'))
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--list', action='store_true')
    action.add_argument('--collect', action='store_true')
    args = parser.parse_args()
    methods = [method for method in METHODS if not args.methods or method.name in args.methods]
    if args.list:
        for method in methods:
            told = ', '.join(f'{seed} {"done" if method.done(seed) else "-"}' for seed in args.seeds)
            print(f'{method.data:12} {method.name:36} {told}')
        return
    if not args.collect:
        work(args.seeds, methods, args.minutes)
    benches = [data for data in ('bench', 'bench_looks') if (ROOT / 'data' / data / 'annotations.json').exists()]
    record = dict(machine=describe_machine(), command='python benchmarks/ablation.py',
                  benches={data: collect(data, args.seeds) for data in benches})
    write_json(RESULTS / 'ablation.json', record)
    write_text(RESULTS / 'ablation.md', tables(record))
    print(tables(record))


if __name__ == '__main__':
    main()
