#!/usr/bin/env python3
"""How good are the stand-in priors, by IoU with the acting tool?

    python benchmarks/prior_quality.py --run work_dirs/demo_refine_prior_aux --real ../shared/real

On the test split of the embedded data set, prompted by the ground-truth points (what a perfect coarse network would
give) and by the coarse predictions of a finished run; on real frames with masks (if the folder is there) `grabcut` by
the hand-placed points. Writes benchmarks/results/prior_quality.json and .md.
"""
import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import describe_machine

import mmpose_surgical.plugin  # noqa: F401
from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.files import read_json, write_json, write_text
from mmpose_surgical.landmarks import SLOTS
from mmpose_surgical.pipeline.prompting import active_mask, instance_masks, load_prior_frame
from mmpose_surgical.priors.base import build_backend
from mmpose_surgical.priors.maker import PriorJob, make_priors, report_priors
from mmpose_surgical.priors.prompts import distances_to_masks, prompts_from_points
from mmpose_surgical.priors.store import RecordStore

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/prior_quality'
Prompts = Callable[[Frame], tuple[np.ndarray, np.ndarray]]


def truth_prompts(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """All points of the acting tools."""
    points = np.array([[p.x, p.y] for tool in frame.active_tools for p in tool.points], np.float64).reshape(-1, 2)
    return points, np.ones(len(points), np.int64)


def coarse_prompts(store: RecordStore, thresholds: dict[str, float], frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """What the pipeline prompts with."""
    arrays, _ = store.get(frame.image_id)
    assert len(arrays['keypoints']) == len(SLOTS)
    return prompts_from_points(arrays['keypoints'], arrays['scores'], thresholds, (frame.width, frame.height))


def real_mask(frame: Frame, root: Path) -> np.ndarray | None:
    """The drawn parts that the acting tools' points touch: the files hold the union of all instruments."""
    path = frame.file(root).path
    drawn = cv2.imread(str(path.parents[1] / 'masks' / f'{path.stem}.png'), cv2.IMREAD_GRAYSCALE)
    if drawn is None:
        return None
    count, parts = cv2.connectedComponents((drawn > 0).astype(np.uint8))
    masks = [parts == k for k in range(1, count)]
    touched = (distances_to_masks(truth_prompts(frame)[0], masks) <= 12).any(0)
    return np.any([mask for mask, hit in zip(masks, touched) if hit], axis=0) if touched.any() else None


def measure(backend_name: str, frames: list[Frame], root: Path, prompts: Prompts,
            truth: Callable[[Frame], np.ndarray | None] = active_mask) -> dict[str, Any]:
    """Make the priors of these frames and compare them with the acting tools."""
    backend = build_backend(dict(backend=backend_name))
    jobs = [PriorJob(f.image_id, partial(load_prior_frame, f, root), *prompts(f), partial(instance_masks, f),
                     partial(truth, f)) for f in frames]
    with tempfile.TemporaryDirectory() as folder, RecordStore(
            Path(folder), dict(backend=backend.fingerprint), mode='a') as store:
        start = time.process_time()
        make_priors(jobs, backend, store, 8)
        seconds = time.process_time() - start
        report = report_priors(jobs, store)
    return dict(backend=backend.fingerprint, pictures=report.pictures, failed=report.failed,
                unprompted=report.unprompted, straddling=report.straddling, with_instances=report.with_instances,
                mean_iou=report.mean_iou, cpu_ms_per_picture=round(seconds / len(jobs) * 1000, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=ROOT / 'data/synthetic_demo')
    parser.add_argument('--run', type=Path, default=ROOT / 'work_dirs/demo_refine_prior_aux')
    parser.add_argument('--real', type=Path, default=ROOT.parent / 'shared/real')
    args = parser.parse_args()
    annotations = load_annotations(args.data)
    frames = [f for f in frames_of_split(annotations, 'test') if f.active_tools]
    facts = read_json(args.run / 'artifact.json')['facts']
    predictions = args.run / facts['predictions']
    coarse = partial(coarse_prompts, RecordStore(predictions), read_json(predictions / 'prompt_thresholds.json'))
    rows = [dict(data=annotations.root.name, prompts=name, **measure(backend, frames, annotations.root, prompts))
            for backend in ('simulated', 'grabcut')
            for name, prompts in (('ground truth', truth_prompts), ('coarse', coarse))]
    if (args.real / 'annotations.json').is_file():
        real = load_annotations(args.real)
        truth = partial(real_mask, root=real.root)
        masked = [f for f in real.annotated_frames() if truth(f) is not None]
        rows.append(dict(data='real frames with masks', prompts='ground truth',
                         **measure('grabcut', masked, real.root, truth_prompts, truth)))
    record = dict(machine=describe_machine(), command='python benchmarks/prior_quality.py', rows=rows)
    lines = ['# The stand-in priors', '',
             f'{record["machine"]["processor"]}, commit {record["machine"]["git_commit"]}. Mean IoU with the acting '
             'tools on frames where a tool acts; a picture without a valid prior counts as 0. `grabcut` was tuned on '
             'the same few real tools, so that figure flatters it.', '',
             '| data | prompts | backend | pictures | mean IoU | failed | no prompt | prompts on two tools | CPU ms |',
             '|---|---|---|---|---|---|---|---|---|']
    lines += [f'| {r["data"]} | {r["prompts"]} | {r["backend"]} | {r["pictures"]} | '
              f'{"-" if r["mean_iou"] is None else format(r["mean_iou"], ".2f")} | {r["failed"]} | {r["unprompted"]} | '
              f'{r["straddling"]} of {r["with_instances"]} | {r["cpu_ms_per_picture"]} |' for r in rows]
    write_json(RESULTS.with_suffix('.json'), record)
    write_text(RESULTS.with_suffix('.md'), '\n'.join([*lines, '']))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
