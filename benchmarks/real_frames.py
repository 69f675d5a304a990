#!/usr/bin/env python3
"""How far does training on synthetic scenes carry over to real laparoscopic frames?

    python benchmarks/real_frames.py --runs work_dirs --real ../shared/real

Runs the demo models (coarse; refine + prior + aux behind the `grabcut` prior) on the hand-placed points and on the
frames with boxes around working ends, and records the figures as they are. The frames are for software tests: 20
annotated frames of two videos are no benchmark. Writes benchmarks/results/real_frames.json and .md.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from mmpose_surgical.evaluation.evaluator import apply_threshold
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.evaluation.thresholds import read_thresholds
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.pipeline.stages import final_checkpoint

ROOT = Path(__file__).resolve().parents[1]
MODELS = ('demo_coarse', 'demo_refine_prior_aux')


def run_test(run: Path, name: str, data: Path, out: Path) -> str:
    """``tools/test.py`` of one model on one data set; returns the command."""
    command = ['tools/test.py', f'configs/demo/{name}.py', str(final_checkpoint(run)), '--work-dir', str(out),
               '--cfg-options', f'data_root={data}']
    if 'refine' in name:
        command.append('prior.backend=grabcut')
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return f'{command[0]} {command[1]} (data_root {data.name}{", prior.backend=grabcut" if "refine" in name else ""})'


def as_data_set(boxes: Path, out: Path) -> dict[str, Any]:
    """A data set of the pictures with boxes: every picture annotated, nothing marked as acting."""
    source = json.loads((boxes / 'boxes.json').read_text())
    images = [dict(image, annotated=True) for image in source['images']]
    categories = [dict(id=1, name='tool', keypoints=['tip1', 'tip2', 'anchor'])]
    (out / 'frames').symlink_to((boxes / 'frames').resolve())
    write_json(out / 'annotations.json', dict(info={}, videos=source['videos'], images=images, annotations=[],
                                              categories=categories))
    return source


def inside_boxes(source: dict[str, Any], run: Path, predictions: Path) -> dict[str, Any]:
    """Share of predicted tips that lie in a working end's box, and what blind guesses in the picture would reach.

    Counted for the tips above the threshold, and for the best tip of each picture whatever its score.
    """
    values, _ = read_thresholds(run / 'thresholds.json')
    every = read_predictions(predictions)
    every = every.select(every.landmark == 'tip')
    points = apply_threshold(every, values)
    best = {int(every.image_id[i]): i for i in np.argsort(every.score, kind='stable')}
    boxes: dict[int, list] = {}
    for record in source['annotations']:
        boxes.setdefault(record['image_id'], []).append(record['bbox'])

    def is_inside(i: int, x: float, y: float) -> bool:
        return any(bx <= x <= bx + w and by <= y <= by + h for bx, by, w, h in boxes.get(i, []))

    hits = sum(is_inside(int(i), x, y) for i, x, y in zip(points.image_id, points.x, points.y))
    best_hits = sum(is_inside(i, every.x[row], every.y[row]) for i, row in best.items())
    size = {image['id']: image['width'] * image['height'] for image in source['images']}
    chance = np.mean([min(1.0, sum(w * h for _, _, w, h in boxes.get(i, [])) / area) for i, area in size.items()])
    return dict(tips=len(points.x), inside=int(hits), share=hits / len(points.x) if len(points.x) else None,
                best_share=best_hits / len(best) if best else None, blind_share=float(chance), frames=len(size),
                frames_with_a_tip=len(set(points.image_id.tolist())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=Path, default=ROOT / 'work_dirs')
    parser.add_argument('--real', type=Path, default=ROOT.parent / 'shared/real')
    args = parser.parse_args()
    record: dict[str, Any] = dict(machine=describe_machine(), models={})
    lines = ['# Models trained on synthetic scenes, on real frames', '',
             f'Commit {record["machine"]["git_commit"]}. Points: 20 frames of two videos, 15 px on 640x480; '
             'boxes: 215 single pictures of seven videos. Thresholds from synthetic validation. A single picture has '
             'no motion, by which these nets tell the acting tool: they rightly see "nothing acts" in it, so that the '
             'best tip of each picture is counted too, whatever its score.', '',
             '| model | tip F1 | tip P | tip R | anchor F1 | tips in a box | best tip in a box | blind guess | '
             'frames with a tip |',
             '|---|---|---|---|---|---|---|---|---|']
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / 'm2cai16_boxes'
        data.mkdir()
        source = as_data_set(args.real.resolve() / 'm2cai16_boxes', data)
        for name in MODELS:
            run = args.runs.resolve() / name
            commands = [run_test(run, name, args.real.resolve(), run / 'test-real'),
                        run_test(run, name, data, run / 'test-boxes')]
            metrics = json.loads((run / 'test-real/metrics.json').read_text())
            entry = dict(commands=commands, points=metrics['results'], meta=metrics['meta'],
                         boxes=inside_boxes(source, run, run / 'test-boxes/test_predictions.json'))
            record['models'][name] = entry
            tip, anchor, box = (entry['points']['overall']['tip'], entry['points']['overall']['anchor'], entry['boxes'])
            cells = [tip['f1'], tip['precision'], tip['recall'], anchor['f1'], box['share'],
                     box['best_share'], box['blind_share']]
            lines.append(f'| {name} | ' + ' | '.join('-' if v is None else f'{100 * v:.1f}' for v in cells)
                         + f' | {box["frames_with_a_tip"]} of {box["frames"]} |')
    write_json(ROOT / 'benchmarks/results/real_frames.json', record)
    write_text(ROOT / 'benchmarks/results/real_frames.md', '\n'.join([*lines, '']))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
