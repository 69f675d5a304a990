#!/usr/bin/env python3
"""How long does a synthetic frame take on one core, from scene to JPEG file and mask?

    python benchmarks/synthetic_speed.py

Renders whole videos of the demo spec in one process and counts its CPU time. Writes
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

VIDEOS = 12
RESULTS = Path(__file__).resolve().parent / 'results'


def main() -> None:
    spec = SPECS['demo']
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        generate_video(Path(folder), spec, VIDEOS)  # warm-up
        for index in range(VIDEOS):
            start = time.process_time()
            generate_video(Path(folder), spec, index)
            frames = len(list((Path(folder) / 'frames' / video_names(spec)[index]).glob('*.jpg')))
            times.append((time.process_time() - start) / frames * 1000)
    ratio = statistics.median(times[::2]) / statistics.median(times[1::2])
    record = dict(machine=describe_machine(), command='python benchmarks/synthetic_speed.py', videos=VIDEOS,
                  ms_per_frame=[round(t, 2) for t in times], median_ms=round(statistics.median(times), 2),
                  worst_ms=round(max(times), 2), aa_ratio=round(ratio, 3))
    write_json(RESULTS / 'synthetic_speed.json', record)
    machine = record['machine']
    write_text(RESULTS / 'synthetic_speed.md', '\n'.join([
        '# Synthetic frames on one core', '',
        f'{machine["processor"]}, one thread, commit {machine["git_commit"]}. CPU time of scene, tissue, ray casting, '
        'degradation, JPEG file and masks at 640x480, per frame, over '
        f'{VIDEOS} videos (`{record["command"]}`).', '',
        '| median ms | slowest video ms | A/A ratio |', '|---|---|---|',
        f'| {record["median_ms"]} | {record["worst_ms"]} | {record["aa_ratio"]} |', '']))
    print((RESULTS / 'synthetic_speed.md').read_text())


if __name__ == '__main__':
    main()
