#!/usr/bin/env python3
"""The compared methods on the synthetic bench: a queue of trainings that any interruption costs little, and its tables.

    python benchmarks/ablation.py --seeds 0 1 2 --resume     # trains what is missing, one unit after the other
    python benchmarks/ablation.py --resume --jobs 2          # two units at a time, one core each
    python benchmarks/ablation.py --resume --minutes 30      # begins no further unit after that
    python benchmarks/ablation.py --list                     # what is done and what is not
    python benchmarks/ablation.py --collect                  # the tables of what is done

A unit is one `tools/train.py` with one seed: minutes for a refiner, half an hour to nearly two on one core for others
(column "minutes" of ablation.md, beside whatever else ran). One that was cut off goes on from the checkpoint of its
last epoch; at most one epoch is lost, of one to five minutes. Runs lie in work_dirs/bench/<data>/seed<k>/, data in
data/bench*, made where they are missing. What a finished unit answered is kept in benchmarks/results/ablation/, from
which ablation.json and ablation.md are made, so that anybody can add seeds on another machine. `--resume` leaves out
what is kept; without it every unit is asked for again, which trains what this machine has not trained.
"""
import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from ablation_results import write_results
from ablation_units import METHODS, ROOT, SEEDS, Method, keep, kept, make_data

from mmpose_surgical.cli import run_tool
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.summary import git_commit

_KEEPING = threading.Lock()
"""MMEngine does not read two configs at a time."""


class Queue:
    """Units in order, for several workers. A failed one does not keep the others from being done."""

    def __init__(self, units: list[tuple[Method, int]], minutes: float) -> None:
        self.waiting = units
        self.running: list[tuple[Method, int]] = []
        self.failed: list[str] = []
        self.end = time.monotonic() + 60 * minutes
        self.turn = threading.Condition()

    def work(self, cores: int) -> None:
        """Train units until none is left or the time is over."""
        while (unit := self._take()) is not None:
            error = 'was cut off'
            try:
                error = train(*unit, cores)
            finally:
                with self.turn:
                    self.running.remove(unit)
                    self.failed += [f'{unit[0].data} {unit[0].name}, seed {unit[1]}: {error}'] if error else []
                    self.turn.notify_all()

    def _take(self) -> tuple[Method, int] | None:
        with self.turn:
            while self.waiting and time.monotonic() < self.end:
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
    """Run a unit, or find it done, and keep what it answered; returns what went wrong."""
    log = method.folder(seed).with_suffix('.log')
    log.parent.mkdir(parents=True, exist_ok=True)
    began, was_done = time.monotonic(), method.is_trained(seed)
    with log.open('a') as file:
        code = subprocess.run(
            [sys.executable, *method.command(seed)], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
            env=dict(OMP_NUM_THREADS=str(cores)) | os.environ,
            preexec_fn=_end_with_this_process if sys.platform == 'linux' else None).returncode
    if code:
        return f'exit code {code}, see {log}'
    seconds = round(time.monotonic() - began)
    try:
        with _KEEPING:
            keep(method, seed, None if was_done else seconds)
    except UserError as error:
        return str(error)
    print(f'{method.data} {method.name}, seed {seed}: {seconds} s', flush=True)
    return None


def _end_with_this_process() -> None:
    """Ask the kernel to end the child with the queue, however that ends: two trainings in one folder would meet."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=SEEDS)
    parser.add_argument('--methods', nargs='+', choices=sorted({method.name for method in METHODS}))
    parser.add_argument('--resume', action='store_true', help='leave out what is kept, by whichever machine')
    parser.add_argument('--jobs', type=int, default=1, help='units at a time')
    parser.add_argument('--minutes', type=float, default=float('inf'))
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--list', action='store_true')
    action.add_argument('--collect', action='store_true')
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error('--jobs: one or more')
    units = [(m, s) for s in args.seeds for m in METHODS
             if (not args.methods or m.name in args.methods) and m.has(s)]
    if args.list:
        for method, seed in units:
            print(f'{method.data:12} {method.name:28} seed {seed}  {"kept" if kept(method, seed) else "-"}')
        return
    make_data()
    failed = []
    if not args.collect:
        if str(git_commit()).endswith('-dirty'):
            parser.error('files of this checkout have changed since its commit, and nothing would be kept: commit them')
        queue = Queue([(m, s) for m, s in units if not (args.resume and kept(m, s))], args.minutes)
        cores = max(1, (os.cpu_count() or 1) // args.jobs)
        workers = [threading.Thread(target=queue.work, args=(cores,)) for _ in range(args.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if queue.waiting:
            print(f'{len(queue.waiting)} units are left; the same command goes on from here')
        failed = queue.failed
    write_results()
    if failed:
        sys.exit('\n'.join(failed))


if __name__ == '__main__':
    run_tool(main)
