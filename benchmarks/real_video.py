#!/usr/bin/env python3
"""How far do models trained on synthetic scenes carry over to a real video? tools/predict.py on one clip.

    python benchmarks/real_video.py work_dirs/bench/bench/seed0 --real ../shared/real

The clip is for software tests: 73 frames of one grasper, ten of them with hand-placed points. It is no benchmark; the
figures are recorded as they are, at 15 px on a canvas of 640x480, and the overlays are there to be watched.
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, short_commit

from mmpose_surgical.evaluation.matching import match_points, to_canvas
from mmpose_surgical.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
CANVAS, TOLERANCE = (640, 480), 15.
ROWS = [('bench_coarse', 'none'), ('bench_refine_prior_aux_dropout', 'grabcut'),
        ('bench_refine_prior_aux_dropout', 'aux'), ('bench_refine_prior_aux_dropout', 'none')]


def truth(annotation: Path, first: int) -> tuple[dict[int, dict[str, list]], tuple[int, int]]:
    """Points by frame of the clip and landmark, and the size of its pictures."""
    data = json.loads(annotation.read_text())
    points: dict[int, dict[str, list]] = defaultdict(lambda: dict(tip=[], anchor=[]))
    for point in data['points']:
        points[point['frameIndex'] - first][point['type'].removeprefix('tool_')].append((point['x'], point['y']))
    return points, tuple(data['imageDimensions'].values())


def count(rows: list[dict[str, str]], points: dict[int, dict[str, list]], size: tuple[int, int]) -> dict[str, Any]:
    found: dict[tuple[int, str], list] = defaultdict(list)
    for row in rows:
        if row['x']:
            found[int(row['frame']), row['landmark']].append((float(row['x']), float(row['y'])))
    cells = {}
    for landmark in ('tip', 'anchor'):
        sums: Counter[str] = Counter()
        for frame, known in points.items():
            gt, pred = (to_canvas(np.array(xy), np.array(size), CANVAS) for xy in (
                known[landmark], found[frame, landmark]))
            hits = len(match_points(gt, pred, TOLERANCE).gt)
            sums.update(tp=hits, fp=len(pred) - hits, fn=len(gt) - hits)
        cells[landmark] = dict(sums, f1=2 * sums['tp'] / (2 * sums['tp'] + sums['fp'] + sums['fn']))
    frames = {int(row['frame']) for row in rows}
    return dict(cells, frames=len(frames), with_points=len({int(row['frame']) for row in rows if row['x']}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', type=Path, help='folder with ' + ', '.join(sorted({name for name, _ in ROWS})))
    parser.add_argument('--real', type=Path, required=True, help='folder with native/clips and native/annotation')
    parser.add_argument('--keep', type=Path, help='keep the overlays here')
    args = parser.parse_args()
    clip, = (args.real / 'native/clips').glob('*.mp4')
    points, size = truth(args.real / f'native/annotation/{clip.stem}.json', int(clip.stem.split('_')[1]))
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, prior in ROWS:
            out = (args.keep or Path(place)) / f'{name}_{prior}'
            command = [sys.executable, '-W', 'ignore', 'tools/predict.py', clip, '--model', args.runs / name, '--out',
                       out, '--smooth', *(['--prior', prior] if 'refine' in name else [])]
            subprocess.run(command, cwd=ROOT, check=True)
            with (out / 'predictions.csv').open() as file:
                rows.append(dict(model=name, prior=prior, **count(list(csv.DictReader(file)), points, size)))
    command, machine = 'python benchmarks/real_video.py RUNS --real REAL', describe_machine()
    write_json(RESULTS / 'real_video.json', dict(command=command, machine=machine, clip=clip.name, rows=rows))
    text = '\n'.join([
        '# Models trained on synthetic scenes, on a real video', '',
        f'`{command}`, commit {short_commit(machine)}: {clip.name}, {rows[0]["frames"]} frames, {len(points)} of '
        'them annotated by hand; F1 in per cent at 15 px on 640x480. One clip for software tests, no benchmark.', '',
        '| model | prior | tip F1 | tp / fp / fn | anchor F1 | tp / fp / fn | frames with points |',
        '| --- | --- | ---: | ---: | ---: | ---: | ---: |',
        *('| {} | {} | '.format(row['model'], row['prior']) + ' | '.join(
            f'{100 * row[name]["f1"]:.1f} | {row[name]["tp"]} / {row[name]["fp"]} / {row[name]["fn"]}'
            for name in ('tip', 'anchor')) + f' | {row["with_points"]} of {row["frames"]} |' for row in rows), ''])
    write_text(RESULTS / 'real_video.md', text)
    print(text)


if __name__ == '__main__':
    main()
