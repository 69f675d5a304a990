#!/usr/bin/env python3
"""Whether networks that see one frame point at the acting tool more often than chance where only motion tells it.

    python benchmarks/ablation.py --methods coarse_t1 coarse_t5     # the networks, of bench_motion among others
    python benchmarks/single_frame_chance.py                        # their answers in 180 further videos

The 45 test videos of the ablation leave an interval of three points on either side. The same networks answer here in
a data set of the same spec and another seed, none of whose videos they have seen. One that sees five frames answers
too, and shows that the answer can be found in these videos.
"""
import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ablation_results import MARGIN, RESULTS, above_chance
from ablation_tables import against_chance
from ablation_units import METHODS, MOTION, ROOT, SEEDS, Method, kept
from machine import describe_machine, short_commit

from mmpose_surgical.cli import run_tool
from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.datasets.synthetic.generate import SPECS, generate
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.evaluator import Rules, match_runs
from mmpose_surgical.evaluation.predictions import Predictions, read_predictions
from mmpose_surgical.evaluation.summary import p_text, percent, percent_range
from mmpose_surgical.files import file_digest, write_json, write_text
from mmpose_surgical.pipeline.config import load_config
from mmpose_surgical.pipeline.finish import predict_split

DATA = ROOT / 'data/bench_motion_more'
SPEC = dataclasses.replace(SPECS[MOTION], seed=1, videos=180)
SINGLE, FIVE = (next(method for method in METHODS if (method.data, method.name) == (MOTION, name))
                for name in ('coarse_t1', 'coarse_t5'))
ALL = 'one frame, all'


def answers(method: Method, seed: int, run: Path) -> Predictions:
    """All points of a trained network in all frames of the further videos, kept beside the network.

    Raises:
        UserError: The network is not there, or is not the one of the ablation.
    """
    record = kept(method, seed)
    checkpoint = record and run / record['meta']['checkpoint']['name']
    if not record or file_digest(checkpoint) != record['meta']['checkpoint']['sha256']:
        raise UserError(f'this is not the network of {method.name}, seed {seed}, whose answers are kept', run,
                        f'python benchmarks/ablation.py --methods {method.name}')
    folder = run / f'test-{DATA.name}'
    cfg = load_config(run / f'{method.config}.py', dict(data_root=str(DATA)), folder)
    out = folder / 'all_predictions.json'
    return read_predictions(out if out.exists() else predict_split(cfg, checkpoint, 'all', folder))


def table(found: dict[str, Any], command: str, machine: dict[str, Any]) -> str:
    return '\n'.join([
        '# Single frames where only motion tells which tool acts', '',
        f'`{command}`, commit {short_commit(machine)}, {machine["processor"]}; synthetic data of spec {MOTION}, with '
        f'another seed: {found["videos"]} videos that no network has seen, ground truth {found["sha256"][:12]}.', '',
        'Of the frames with several tools in view, those whose best tip, whatever its score, is on the acting one, less'
        ' one over the number of tools; 95 % interval of the bootstrap over videos, and seeds. p is of '
        f'another share than chance, p of equivalence of one that differs by {100 * MARGIN:g} points or more. Networks '
        f'that see one frame are **{against_chance(found["networks"][ALL])}**.', '',
        '| network | frames | on the acting tool | less chance | p | p of equivalence |',
        '| --- | ---: | ---: | ---: | ---: | ---: |',
        *(f'| {name} | {one["frames"]} | {percent(one["accuracy"])} | {100 * one["difference"]:+.1f} '
          f'({percent_range(one["ci95"], " to ", "+")}) | {p_text(one["p"])} | {p_text(one["p_equivalence"])} |'
          for name, one in found['networks'].items()), ''])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=SEEDS, help='of the trainings')
    parser.add_argument('--runs', type=Path, help='folder of the runs, seed<k>/bench_coarse_t<n>; default: where '
                        'ablation.py leaves them')
    args = parser.parse_args()
    generate(DATA, SPEC)
    annotations = load_annotations(DATA)
    frames, rules = frames_of_split(annotations, 'all'), Rules(landmarks=annotations.landmarks)
    single = {f'one frame, seed {seed}': (SINGLE, seed) for seed in args.seeds}
    networks = single | {'five frames, seed 0': (FIVE, 0)}
    points = {name: answers(method, seed, method.folder(seed, args.runs)) for name, (method, seed) in networks.items()}
    groups = {name: [name] for name in networks} | {ALL: list(single)}
    found = dict(
        videos=len({frame.video.name for frame in frames}), sha256=annotations.sha256,
        networks={name: above_chance(match_runs(frames, [points[each] for each in group], [None] * len(group), rules))
                  for name, group in groups.items()},
        checkpoints={name: kept(*network)['meta']['checkpoint'] for name, network in networks.items()})
    machine = describe_machine()
    command = f'python benchmarks/single_frame_chance.py --seeds {" ".join(map(str, args.seeds))}'
    write_json(RESULTS / 'single_frame_chance.json', dict(command=command, machine=machine, **found))
    write_text(RESULTS / 'single_frame_chance.md', table(found, command, machine))


if __name__ == '__main__':
    run_tool(main)
