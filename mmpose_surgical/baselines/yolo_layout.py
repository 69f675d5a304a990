"""YOLO's layout of a pose data set, and the way back from its answers to predictions in original pixels.

Pictures are written as the network input of every other method, letterboxed to its size: the same resolution, and
labels that need no further geometry. Nothing of ultralytics is needed here.
"""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.baselines.tip_order import tip_order
from mmpose_surgical.evaluation.predictions import Predictions, surest_of_equal
from mmpose_surgical.files import write_atomically, write_json, write_text
from mmpose_surgical.landmarks import SLOTS, landmark_of

DATA_FILE = 'data.yaml'
_DIGITS = 6


def label_lines(points: np.ndarray, visible: np.ndarray, size: tuple[int, int], margin: float) -> list[str]:
    """The label file of one picture: ``class x y w h`` and ``x y v`` per slot, as fractions of the picture.

    There is one class, and only acting tools are objects: a frame in which nothing acts has no line. Data of this kind
    has points and no boxes, so an object's box is the one around its points, grown and cut off at the border.

    Args:
        points: (N, 3, 2) in pixels of the exported picture, slots tip1, tip2, anchor.
        visible: (N, 3), 0 for an empty slot. A point outside of the picture is absent too.
        size: Width and height of the exported picture.
        margin: Growth of the box on each side, as a fraction of the longer side of the picture.
    """
    inside = ((points >= 0) & (points < np.array(size))).all(axis=-1)
    shown = (visible > 0) & inside
    order = tip_order(points, shown)
    points, shown = np.take_along_axis(points, order[..., None], axis=1), np.take_along_axis(shown, order, axis=1)
    lines = []
    for tool, present in zip(points / size, shown):
        if not present.any():
            continue
        grow = margin * max(size) / np.array(size)
        low = np.clip(tool[present].min(axis=0) - grow, 0, 1)
        high = np.clip(tool[present].max(axis=0) + grow, 0, 1)
        numbers = [*((low + high) / 2), *(high - low)]
        for xy, there in zip(tool, present):
            numbers += [*xy, 2] if there else [0, 0, 0]
        lines.append(' '.join(['0', *(f'{number:.{_DIGITS}g}' for number in numbers)]))
    return lines


def export_sample(results: Mapping[str, Any], images: Path, labels: Path | None, margin: float) -> dict[str, Any]:
    """Write picture and labels of one sample behind ``TopdownAffine``, named by its image id.

    Without a folder for ``labels`` there are none: what is predicted needs no ground truth beside it.

    Returns:
        ``{input_center, input_scale, input_size}``, the way back to the original picture.
    """
    import cv2
    name, size = str(results['img_id']), tuple(map(int, results['input_size']))
    write_atomically(images / f'{name}.png', lambda path: cv2.imwrite(str(path), results['img']))
    if labels is not None:
        lines = label_lines(results['transformed_keypoints'], results['keypoints_visible'], size, margin)
        write_text(labels / f'{name}.txt', ''.join(f'{line}\n' for line in lines))
    return dict(input_center=[float(v) for v in results['input_center']],
                input_scale=[float(v) for v in results['input_scale']], input_size=list(size))


def write_data_file(folder: Path, oks_sigma: float) -> Path:
    """``data.yaml`` beside ``images``. JSON is YAML too.

    ``flip_idx`` changes nothing: tips are ordered anew behind augmentation, in ``ultralytics_program.py``. ultralytics
    wants validation pictures; nothing is chosen on them, so the training pictures stand in.

    Args:
        folder: Where ``images`` and ``labels`` are.
        oks_sigma: Of the object keypoint similarity that the keypoint loss is made of, for every slot.
    """
    write_json(folder / DATA_FILE, dict(
        path=str(folder.resolve()), train='images', val='images', names=['tool'],
        kpt_shape=[len(SLOTS), 3], flip_idx=list(range(len(SLOTS))),
        kpt_oks_sigmas=[oks_sigma] * len(SLOTS)))
    return folder / DATA_FILE


def to_predictions(answers: Mapping[str, Sequence[Mapping[str, Any]]],
                   geometry: Mapping[str, Mapping[str, Any]]) -> Predictions:
    """Detections in exported pictures to points in original ones.

    Args:
        answers: By picture name (the image id): a list of ``{score, points}``, ``points`` being (x, y, visibility) per
            slot, in pixels of the exported picture.
        geometry: By the same names what :func:`export_sample` returned.

    Returns:
        Points whose score is that of the detection times the visibility of the point: either alone would let a sure
        tool answer for a point that it does not show, or the reverse.
    """
    records = []
    for name, detections in answers.items():
        way = {key: np.array(value) for key, value in geometry[name].items()}
        points = []
        for detection in detections:
            for slot, (x, y, visibility) in zip(SLOTS, detection['points']):
                # As TopdownPoseEstimator returns from its input to the picture.
                back = (np.array([x, y]) / way['input_size'] - 0.5) * way['input_scale'] + way['input_center']
                points.append(dict(image_id=int(name), landmark=landmark_of(slot), x=float(back[0]), y=float(back[1]),
                                   score=float(detection['score'] * visibility)))
        records += surest_of_equal(point for point in points if not point['score'] <= 0)
    return Predictions.from_records(records, 'output of the model', known_images=[int(name) for name in geometry])
