"""What part of a picture a top-down network sees.

``picture`` is the rule for every number that is compared. ``oracle`` is a box around the acting tools of the ground
truth, which gives away what acts and whether anything does: an upper bound, called ``oracle box`` wherever its results
are named, and in no table of compared methods. Anything else is a file of detections in COCO's result format,
``[{"image_id", "bbox": [x, y, width, height], "score"}, ...]``, as MMPose's ``bbox_file``.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.files import file_digest, read_json

PICTURE = 'picture'
ORACLE = 'oracle'
WHOLE_PICTURE = 'whole picture'
ORACLE_LABEL = 'oracle box'

_MARGIN = 0.25
"""Of the longer side of the points' extent, on each side of it."""
_LEAST = 0.1
"""Least margin, of the longer side of the picture: a single point has no extent."""
_FIX = 'write [{"image_id": 1, "bbox": [x, y, width, height], "score": 0.9}, ...], or set box=picture'


@dataclass(frozen=True)
class Box:
    """A box in pixels of the original picture."""
    corners: tuple[float, float, float, float]
    """x1, y1, x2, y2."""
    score: float = 1.0


def whole_picture(frame: Frame) -> Box:
    """The box over the whole picture."""
    return Box((0., 0., float(frame.width), float(frame.height)))


def box_label(box: str) -> str:
    """How results that stand on a ``box`` option are called.

    Raises:
        UserError: It names a file that is not there.
    """
    if box == PICTURE:
        return WHOLE_PICTURE
    if box == ORACLE:
        return ORACLE_LABEL
    return f'detector boxes {Path(box).name} ({_digest(box)[:12]})'


def box_content(box: str) -> dict[str, str]:
    """What a ``box`` option adds to the fingerprint of a run; nothing for the whole picture."""
    return {} if box == PICTURE else dict(box=box if box == ORACLE else _digest(box))


def _digest(box: str) -> str:
    digest = file_digest(box)
    if digest is None:
        raise UserError('file of boxes not found', box, 'give box=picture, box=oracle or a file of detections')
    return digest


def boxes_of(box: str, frames: Sequence[Frame], annotations: Annotations) -> dict[int, Box]:
    """The box of each frame, by image id.

    Args:
        box: ``picture``, ``oracle`` or a file of detections. Of several detections in a picture the surest one counts,
            because MMPose's top-down data has one box per sample; a picture without any has no entry.
        frames: Whose boxes are wanted.
        annotations: The data set; a detection in a picture that it does not have is an error.

    Raises:
        UserError: The file is missing, damaged, or has bad records; all of them are named at once.
    """
    if box == PICTURE:
        return {frame.image_id: whole_picture(frame) for frame in frames}
    if box == ORACLE:
        return {frame.image_id: _oracle(frame) for frame in frames}
    best = _read(Path(box), annotations)
    return {frame.image_id: best[frame.image_id] for frame in frames if frame.image_id in best}


def _oracle(frame: Frame) -> Box:
    """One box around the points of all acting tools; the whole picture where nothing acts."""
    points = np.array([(point.x, point.y) for tool in frame.active_tools for point in tool.points])
    if not len(points):
        return whole_picture(frame)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(_MARGIN * (high - low).max(), _LEAST * max(frame.width, frame.height))
    return Box((*map(float, low - margin), *map(float, high + margin)))


def _read(path: Path, annotations: Annotations) -> dict[int, Box]:
    records = read_json(path, _FIX)
    if not isinstance(records, list):
        raise UserError('file of boxes is not a JSON list', path, _FIX)
    best: dict[int, Box] = {}
    problems = []
    for number, record in enumerate(records, 1):
        try:
            image_id, found = _box(record, annotations)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f'record {number}: {f"{error} missing" if isinstance(error, KeyError) else error}')
            continue
        if image_id not in best or found.score > best[image_id].score:
            best[image_id] = found
    if problems:
        raise UserError(f'{len(problems)} problem(s) in the boxes: {list_problems(problems)}', path, _FIX)
    return best


def _box(record: Any, annotations: Annotations) -> tuple[int, Box]:
    if not isinstance(record, dict):
        raise ValueError(f'{record!r} is not an object')
    image_id, (x, y, width, height) = record['image_id'], record['bbox']
    values = [float(value) for value in (x, y, width, height, record['score'])]
    if image_id not in annotations.by_id:
        raise ValueError(f'image_id {image_id!r} is not in the annotations')
    if not np.isfinite(values).all() or width <= 0 or height <= 0:
        raise ValueError(f'box {record["bbox"]} with score {record["score"]} is none')
    x, y, width, height, score = values
    return image_id, Box((x, y, x + width, y + height), score)
