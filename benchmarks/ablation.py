#!/usr/bin/env python3
"""The compared methods on the synthetic bench: a queue of trainings that any interruption costs little, and its tables.

    python benchmarks/ablation.py --seeds 0 1 2 --resume     # trains what is missing, one unit after the other
    python benchmarks/ablation.py --resume --jobs 2          # two units at a time, one core each
    python benchmarks/ablation.py --resume --minutes 30      # begins no further unit after that
    python benchmarks/ablation.py --list                     # what is done and what is not
    python benchmarks/ablation.py --collect                  # the tables of what is done

A unit is one `tools/train.py` with one seed, at most half an hour on two cores; one that was cut off goes on from its
last checkpoint. Runs lie in work_dirs/bench/<data>/seed<k>/, data in data/bench*. What a finished unit answered on the
test split is kept in benchmarks/results/ablation/, from which ablation.json and ablation.md are made: anybody may add
seeds on another machine. `--resume` leaves out the units that stand there; without it only the runs of this machine
count as done.
"""
import argparse
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ablation_results import keep, kept, write_results

from mmpose_surgical.files import read_json

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / 'work_dirs/bench'
BENCH, MOTION, LOOKS = 'bench', 'bench_motion', 'bench_looks'


@dataclass(frozen=True)
class Method:
    """One row of the tables: a config with options, on one bench.

    Args:
        name: Of the row and of the folder.
        config: Name of the config in configs/bench.
        options: ``--cfg-options`` besides seed and data.
        data: Name of the bench, which is the spec of its data too.
        chain: Whether it stands on stages that others of its seed stand on too (coarse, folds, priors): one at a time.
        seeds: The first so many seeds alone; ``None``: all that are asked for.
    """
    name: str
    config: str
    options: tuple[str, ...] = ()
    data: str = BENCH
    chain: bool = False
    seeds: int | None = None

    def folder(self, seed: int) -> Path:
        # The refiners look for the coarse network by the name of its config.
        return RUNS / self.data / f'seed{seed}' / f'bench_{self.name}'

    def command(self, seed: int) -> list[str]:
        data = f'data/{self.data}'
        options = [f'randomness.seed={seed}', f'data_root={data}', f'synthetic.root={data}',
                   f'synthetic.spec={self.data}', *self.options]
        return ['tools/train.py', f'configs/bench/{self.config}.py', '--work-dir',
                str(self.folder(seed).relative_to(ROOT)), '--cfg-options', *options]

    def trained(self, seed: int) -> bool:
        record = self.folder(seed) / 'artifact.json'
        return record.exists() and read_json(record)['done']


def refiner(name: str, backend: str) -> Method:
    return Method(f'{name}_{backend}', f'bench_{name}', (f'prior.backend={backend}', ), chain=True)


# Controls of half the length show what a longer training could still bring.
HALF_EPOCHS = dict(coarse=6, direct_mask=6, simplebaseline=18, rtmpose=36, yolov8_pose=6)
METHODS = [
    Method('coarse', 'bench_coarse', chain=True),
    Method('direct_mask', 'bench_direct_mask'),
    Method('simplebaseline', 'bench_simplebaseline'),
    Method('rtmpose', 'bench_rtmpose'),
    Method('yolov8_pose', 'bench_yolov8_pose'),
    Method('refine', 'bench_refine', chain=True),
    refiner('refine_prior', 'simulated'),
    refiner('refine_prior_aux', 'simulated'),
    refiner('refine_prior', 'grabcut'),
    refiner('refine_prior_aux', 'grabcut'),
    Method('in_sample_simulated', 'bench_refine_prior_aux', ('prior.backend=simulated', 'coarse.out_of_fold=False'),
           chain=True),
    *(Method(f'coarse_t{frames}', 'bench_coarse', (f'clip.num_frames={frames}',), data)
      for data in (MOTION, LOOKS) for frames in (1, 5)),
    Method('refine_prior_aux_half', 'bench_refine_prior_aux', ('prior.backend=simulated', 'train_cfg.max_epochs=6'),
           chain=True, seeds=1),
    *(Method(f'{name}_half', f'bench_{name}', (f'train_cfg.max_epochs={epochs}',), seeds=1)
      for name, epochs in HALF_EPOCHS.items()),
]
# a, b: differences are a - b.
COMPARISONS = [
    ('refine', 'coarse'), ('refine_prior_simulated', 'refine'),
    ('refine_prior_aux_simulated', 'refine_prior_simulated'), ('direct_mask', 'coarse'), ('direct_mask', 'refine'),
    ('refine_prior_simulated', 'direct_mask'), ('refine_prior_aux_simulated', 'direct_mask'),
    ('refine_prior_grabcut', 'refine'), ('refine_prior_aux_grabcut', 'refine_prior_grabcut'),
    ('refine_prior_aux_simulated', 'refine_prior_aux_grabcut'),
    *(('refine_prior_aux_simulated', name) for name in ('simplebaseline', 'rtmpose', 'yolov8_pose')),
    ('refine_prior_aux_simulated', 'in_sample_simulated'), ('coarse_t5', 'coarse_t1'),
    *((name.removesuffix('_half') if not name.startswith('refine') else 'refine_prior_aux_simulated', name)
      for name in (method.name for method in METHODS) if name.endswith('_half')),
]


class Queue:
    """Units in order, for several workers."""

    def __init__(self, units: list[tuple[Method, int]], minutes: float) -> None:
        self.waiting = units
        self.running: list[tuple[Method, int]] = []
        self.failed: list[str] = []
        self.end = time.monotonic() + 60 * minutes
        self.turn = threading.Condition()

    def work(self, cores: int) -> None:
        """Train units until none is left, the time is over, or one has failed."""
        while (unit := self._take()) is not None:
            error = train(*unit, cores)
            with self.turn:
                self.running.remove(unit)
                self.failed += [error] if error else []
                self.turn.notify_all()

    def _take(self) -> tuple[Method, int] | None:
        with self.turn:
            while self.waiting and not self.failed and time.monotonic() < self.end:
                unit = next(filter(self._is_free, self.waiting), None)
                if unit is not None:
                    self.waiting.remove(unit)
                    self.running.append(unit)
                    return unit
                self.turn.wait()
        return None

    def _is_free(self, unit: tuple[Method, int]) -> bool:
        method, seed = unit
        return not (method.chain and any(m.chain and (m.data, s) == (method.data, seed) for m, s in self.running))


def train(method: Method, seed: int, cores: int) -> str | None:
    """Run a unit and keep what it answered; returns what went wrong."""
    log = method.folder(seed).with_suffix('.log')
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open('a') as file:
        code = subprocess.run([sys.executable, *method.command(seed)], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
                              env=os.environ | dict(OMP_NUM_THREADS=str(cores))).returncode
    if code:
        return f'{method.data} {method.name}, seed {seed}: exit code {code}, see {log}'
    keep(method.folder(seed), method.data, method.name, seed, 'python ' + ' '.join(method.command(seed)))
    print(f'{method.data} {method.name}, seed {seed}: {time.monotonic() - began:.0f} s', flush=True)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--methods', nargs='+', choices=sorted({method.name for method in METHODS}))
    parser.add_argument('--resume', action='store_true', help='leave out what other machines have kept')
    parser.add_argument('--jobs', type=int, default=1, help='units at a time')
    parser.add_argument('--minutes', type=float, default=float('inf'))
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--list', action='store_true')
    action.add_argument('--collect', action='store_true')
    args = parser.parse_args()
    units = [(m, s) for s in args.seeds for m in METHODS
             if (not args.methods or m.name in args.methods) and (m.seeds is None or s < m.seeds)]
    if args.list:
        for method, seed in units:
            state = 'kept' if kept(method.data, method.name, seed) else 'done' if method.trained(seed) else '-'
            print(f'{method.data:12} {method.name:28} seed {seed}  {state}')
        return
    if not args.collect:
        queue = Queue([(m, s) for m, s in units if not (args.resume and kept(m.data, m.name, s) or m.trained(s))],
                      args.minutes)
        cores = max(1, (os.cpu_count() or 1) // args.jobs)
        workers = [threading.Thread(target=queue.work, args=(cores,)) for _ in range(args.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if queue.waiting:
            print(f'{len(queue.waiting)} units are left; the same command goes on from here')
        if queue.failed:
            sys.exit('\n'.join(queue.failed))
    write_results([(m.data, m.name, m.config) for m in METHODS], COMPARISONS)


if __name__ == '__main__':
    main()
