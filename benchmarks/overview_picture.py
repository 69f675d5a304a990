#!/usr/bin/env python3
"""The README's picture: how one test frame passes through the method.

    python benchmarks/overview_picture.py [work_dirs/demo_refine_prior_aux] [--image-id N]

Reads a finished demo run: window, coarse heatmaps and mask prior from its stores, predictions of coarse and refined
model. Without --image-id it takes the test frame on which refinement gained most.
"""
import argparse
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.datasets.windows import window_files
from mmpose_surgical.evaluation.evaluator import apply_threshold, evaluate
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.evaluation.thresholds import read_thresholds
from mmpose_surgical.files import read_json
from mmpose_surgical.pipeline.config import load_config
from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.priors.store import RecordStore
from mmpose_surgical.visualization.overlays import COLOURS, draw_overlay

ROOT = Path(__file__).resolve().parents[1]
SIZE = (400, 300)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """A cell with a caption above."""
    cell = cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA)
    bar = np.full((30, SIZE[0], 3), 255, np.uint8)
    cv2.putText(bar, title, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(np.vstack([bar, cell]), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def heat(picture: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Heatmaps (2, h, w) of the whole picture laid over it, tip and anchor in their colours."""
    canvas = picture.astype(np.float32) * 0.45
    for channel, landmark in zip(maps, COLOURS):
        weight = np.clip(cv2.resize(channel.astype(np.float32), picture.shape[1::-1]), 0, 1)[..., None]
        canvas = canvas * (1 - weight) + weight * np.array(COLOURS[landmark], np.float32)
    return canvas.astype(np.uint8)


def gain(frame: Frame, before, after) -> int:
    """True positives that refinement adds on a frame, less the false ones."""
    def score(predictions) -> int:
        cells = evaluate([frame], predictions.select(predictions.image_id == frame.image_id))['results']['overall']
        return sum(cell['tp'] - cell['fp'] for cell in cells.values())
    return score(after) - score(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, nargs='?', default=ROOT / 'work_dirs/demo_refine_prior_aux')
    parser.add_argument('--image-id', type=int)
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/overview.png')
    args = parser.parse_args()
    facts = read_json(args.work_dir / 'artifact.json')['facts']
    coarse = args.work_dir / facts['coarse']
    cfg = load_config(next(coarse.glob('*.py')))
    annotations = load_annotations(cfg.data_root)
    frames = frames_of_split(annotations, 'test')
    points = {}
    for name, folder in (('coarse', coarse), ('refined', args.work_dir)):
        values, _ = read_thresholds(folder / 'thresholds.json')
        points[name] = apply_threshold(read_predictions(folder / 'test_predictions.json'), values)
    frame = annotations.by_id[args.image_id] if args.image_id else max(
        (f for f in frames if len(f.tools) > 1), key=lambda f: gain(f, points['coarse'], points['refined']))
    files, _ = window_files(frame, annotations.root, cfg.clip.num_frames, cfg.clip.spacing)
    window = [file.read() for file in files]
    picture = frame.file(annotations.root).read()
    maps = RecordStore(args.work_dir / facts['predictions']).get(frame.image_id)[0]['heatmaps']
    prior = MaskPrior.from_record(*RecordStore(args.work_dir / facts['priors']).get(frame.image_id))
    film = np.hstack([cv2.resize(p, (SIZE[0] // len(window), SIZE[1] // len(window))) for p in window])
    strip = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    strip[(SIZE[1] - film.shape[0]) // 2:][:film.shape[0], :film.shape[1]] = film

    def drawn(predictions, with_prior=None) -> np.ndarray:
        own = predictions.select(predictions.image_id == frame.image_id)
        return draw_overlay(picture, frame, own, with_prior)[:picture.shape[0]]

    prompts = picture.copy()
    mask = cv2.resize(prior.probability(), picture.shape[1::-1])[..., None]
    prompts = (prompts * (1 - 0.6 * mask) + 0.6 * mask * np.array([80, 220, 80])).astype(np.uint8)
    for x, y in prior.points_xy:
        cv2.circle(prompts, (round(float(x)), round(float(y))), 8, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(prompts, (round(float(x)), round(float(y))), 6, (60, 60, 220), -1, cv2.LINE_AA)
    backend = facts['prior_config']['backend']
    cells = [titled(strip, f'1. window of {len(window)} frames'), titled(heat(picture, maps), '2. coarse heatmaps'),
             titled(drawn(points['coarse']), '3. coarse points (ring: truth)'),
             titled(prompts, f'4. prompts and mask prior ({backend})'),
             titled(drawn(points['refined'], prior), '5. refined points (ring: truth)')]
    args.out.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(args.out), np.hstack(cells), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f'{args.out}: image {frame.image_id}, {frame.video.name} frame {frame.frame_id}')


if __name__ == '__main__':
    main()
