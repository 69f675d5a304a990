#!/usr/bin/env python3
"""What does a newcomer wait for? `make demo` in a fresh clone with nothing set up, and once more.

    python3 benchmarks/fresh_clone.py

Clones this checkout's commit into a temporary folder, runs `make demo` there twice with no environment prepared, and
records seconds in all, seconds of each stage, and the peak of the memory of all processes together (Pss, once a
second). Takes about 16 minutes on two idle cores; anything else that runs meanwhile spoils it. Needs the standard
library only. Writes benchmarks/results/fresh_clone.json and .md.
"""
import json
import os
import platform
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/fresh_clone'


def memory_of(folder: str) -> int:
    """Proportional memory in KiB of all processes that work in a folder."""
    total = 0
    for process in Path('/proc').glob('[0-9]*'):
        try:
            if os.readlink(process / 'cwd').startswith(folder):
                total += int(re.search(r'^Pss:\s+(\d+)', (process / 'smaps_rollup').read_text(), re.MULTILINE)[1])
        except OSError:
            continue  # it ended meanwhile
    return total


def run_watched(command: list[str], folder: str, **environment: str) -> tuple[str, dict]:
    """Run a command in a folder; returns what it printed, and wall seconds, stage seconds and peak memory."""
    env = {key: value for key, value in os.environ.items()
           if key not in ('VIRTUAL_ENV', 'PYTHONPATH', 'PYTHON', 'SURGICAL_DATA', 'SAM3_CHECKPOINT')}
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(1):
            peak = max(peak, memory_of(folder))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    try:
        done = subprocess.run(command, cwd=folder, env={**env, **environment}, stdout=subprocess.PIPE, text=True)
    finally:
        over.set()
        watcher.join()
    if done.returncode:
        raise SystemExit(f'{" ".join(command)} failed:\n{done.stdout}')
    stages = {name: float(seconds) for name, seconds in re.findall(r'\[(\d/\d)\] done in ([\d.]+) s', done.stdout)}
    return done.stdout, dict(seconds=round(time.monotonic() - start, 1), stage_seconds=stages,
                             peak_gib=round(peak / 2**20, 2))


def make_demo(folder: str) -> dict:
    """Run `make demo`; wall seconds, set-up seconds, stage seconds, peak memory."""
    printed, figures = run_watched(['make', 'demo'], folder)
    setup = re.search(r'setup: ready in (\d+) s', printed)
    return dict(figures, setup_seconds=int(setup[1]) if setup else None)


def main() -> None:
    commit = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=ROOT, capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(['git', 'clone', '--quiet', str(ROOT), folder], check=True)
        first, second = make_demo(folder), make_demo(folder)
    record = dict(command='make demo', cores=os.cpu_count(), machine=platform.processor() or platform.machine(),
                  git_commit=commit.stdout.strip(), first=first, second=second)
    stages = sum(first['stage_seconds'].values())
    RESULTS.with_suffix('.json').write_text(json.dumps(record, indent=1) + '\n')
    text = '\n'.join([
        '# `make demo` in a fresh clone', '',
        f'{record["cores"]} cores, commit {record["git_commit"]}. Nothing prepared; packages from a near mirror.', '',
        '| run | in all | set-up | five stages | each stage | peak memory of all processes |',
        '|---|---|---|---|---|---|',
        f'| first | {first["seconds"]:.0f} s | {first["setup_seconds"]} s | {stages:.0f} s | '
        + ', '.join(f'{value:.0f}' for value in first['stage_seconds'].values()) + f' s | {first["peak_gib"]} GiB |',
        f'| second | {second["seconds"]:.1f} s | | | | {second["peak_gib"]} GiB |', ''])
    RESULTS.with_suffix('.md').write_text(text)
    print(text)


if __name__ == '__main__':
    main()
