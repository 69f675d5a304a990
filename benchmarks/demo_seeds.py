#!/usr/bin/env python3
"""Does the demo learn? Three training seeds, fixed beforehand, of coarse, refine and refine + prior + aux.

    python benchmarks/demo_seeds.py

Writes benchmarks/results/demo_seeds.json and .md. A seed that is done is not trained again.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

from machine import describe_machine

from mmpose_surgical.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)
METHODS = ('demo_coarse', 'demo_refine', 'demo_refine_prior_aux')


def run(config: str, folder: Path, seed: int) -> str:
    """Train one config; returns the command."""
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(ROOT / f'configs/demo/{config}.py'),
               '--work-dir', str(folder / config), '--cfg-options', f'randomness.seed={seed}']
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return ' '.join(command[1:]).replace(f'{ROOT}/', '')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=SEEDS)
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks/results/demo_seeds')
    args = parser.parse_args()
    record: dict = dict(machine=describe_machine(), seeds={})
    for seed in args.seeds:
        folder = ROOT / 'work_dirs/demo_seeds' / str(seed)
        entry: dict = dict(commands=[run(config, folder, seed) for config in ('demo_refine_prior_aux', 'demo_refine')])
        for method in METHODS:
            metrics = json.loads((folder / method / 'metrics.json').read_text())
            entry[method] = dict(metrics['results']['overall'], active_tool_accuracy=metrics['active_tool_accuracy'],
                                 false_points_per_idle_minute=metrics['false_points_per_idle_minute'],
                                 meta=metrics['meta'])
        record['seeds'][seed] = entry
        write_json(args.out.with_suffix('.json'), record)
        write_text(args.out.with_suffix('.md'), table(record))
    print(table(record))


def table(record: dict) -> str:
    """The figures as Markdown."""
    machine = record['machine']
    lines = [f'# The demo over {len(record["seeds"])} seeds', '',
             'F1 in per cent at 15 px on 640x480, test split of the embedded synthetic data set. The prior is '
             '`simulated`, a stand-in for SAM 3.', '',
             f'{machine["processor"]}, {machine["cores"]} cores, torch {machine["torch"]}, '
             f'commit {machine["git_commit"]}', '',
             '| seed | method | tip F1 | tip P | tip R | anchor F1 | best tip on the acting tool | '
             'false points / idle min |',
             '|---|---|---|---|---|---|---|---|']

    def percent(value: float | None) -> str:
        return '-' if value is None else f'{100 * value:.1f}'

    for seed, entry in record['seeds'].items():
        for method in METHODS:
            m = entry[method]
            idle = m['false_points_per_idle_minute']['all']
            lines.append(f'| {seed} | {method} | {percent(m["tip"]["f1"])} | {percent(m["tip"]["precision"])} | '
                         f'{percent(m["tip"]["recall"])} | {percent(m["anchor"]["f1"])} | '
                         f'{percent(m["active_tool_accuracy"]["accuracy"])} | '
                         f'{"-" if idle is None else f"{idle:.0f}"} |')
    for method in METHODS:
        tips = [entry[method]['tip']['f1'] for entry in record['seeds'].values()]
        anchors = [entry[method]['anchor']['f1'] for entry in record['seeds'].values()]
        tip, anchor = percent(sum(tips) / len(tips)), percent(sum(anchors) / len(anchors))
        lines.append(f'| mean | {method} | {tip} | | | {anchor} | | |')
    lines += ['', 'How long the demo takes is measured by itself: see fresh_clone.md.']
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    main()
