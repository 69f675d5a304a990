#!/usr/bin/env python3
"""How long does a synthetic frame take on one core, from scene to JPEG file and mask?

    python benchmarks/synthetic_speed.py

Renders whole videos of both specs in one process and counts its CPU time. Writes
benchmarks/results/synthetic_speed.json and .md. The two halves of the videos, in turn, are the A/A control.
"""
import os

for _variable in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ[_variable] = '1'  # one core means one core; set before NumPy starts its threads

import statistics
import tempfile
import time
from pathlib import Path

from machine import describe_machine

from mmpose_surgical.datasets.synthetic.generate import SPECS, generate_video, video_names
from mmpose_surgical.files import write_json, write_text

VIDEOS = 8
RESULTS = Path(__file__).resolve().parent / 'results'


def measure(name: str) -> dict:
    """CPU milliseconds per frame over the first videos of a spec."""
    spec = SPECS[name]
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        generate_video(Path(folder), spec, VIDEOS)  # warm-up
        for index in range(VIDEOS):
            start = time.process_time()
            generate_video(Path(folder), spec, index)
            frames = len(list((Path(folder) / 'frames' / video_names(spec)[index]).glob('*.jpg')))
            times.append((time.process_time() - start) / frames * 1000)
    return dict(spec=name, clip_frames=spec.clip_frames, videos=VIDEOS, ms_per_frame=[round(t, 2) for t in times],
                median_ms=round(statistics.median(times), 2), worst_ms=round(max(times), 2),
                aa_ratio=round(statistics.median(times[::2]) / statistics.median(times[1::2]), 3))


def main() -> None:
    record = dict(machine=describe_machine(), command='python benchmarks/synthetic_speed.py',
                  specs=[measure(name) for name in ('default', 'demo')])
    write_json(RESULTS / 'synthetic_speed.json', record)
    machine = record['machine']
    lines = ['# Synthetic frames on one core', '',
             f'{machine["processor"]}, one thread, commit {machine["git_commit"]}. CPU time of scene, tissue, ray '
             f'casting, degradation, JPEG file and masks at 640x480, per frame, over {VIDEOS} videos of each spec '
             f'(`{record["command"]}`). The tissue of a clip is made once, so that short clips cost more a frame. '
             'The limit of 40 ms is one of the median; single videos exceed it on a busy machine.', '',
             '| spec | frames a clip | median ms | slowest video ms | A/A ratio |', '|---|---|---|---|---|']
    lines += [f'| {row["spec"]} | {row["clip_frames"][0]}-{row["clip_frames"][1]} | {row["median_ms"]} | '
              f'{row["worst_ms"]} | {row["aa_ratio"]} |' for row in record['specs']]
    write_text(RESULTS / 'synthetic_speed.md', '\n'.join([*lines, '']))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
