"""The layout of Ultralytics for pose: a picture and a text file each, whose lines are tools.

For training YOLOv8-pose beside our own methods see configs/surgical/baselines/yolov8_pose.py, which does this and the
geometry by itself.
"""
import json
from pathlib import Path

from mmpose_surgical.datasets.account import Account
from mmpose_surgical.datasets.exporters.pictures import ending_of, put_picture
from mmpose_surgical.datasets.records import Annotations, Frame, Tool
from mmpose_surgical.datasets.splits import SPLIT_NAMES, Splits
from mmpose_surgical.datasets.writing import box_of
from mmpose_surgical.files import FolderNames, write_text
from mmpose_surgical.landmarks import SLOTS

_DIGITS = 9


def write_yolo(annotations: Annotations, splits: Splits, out: Path, account: Account) -> None:
    """Write ``images/<split>/``, ``labels/<split>/`` and ``data.yaml``; a picture's name is video and frame number.

    Classes are tool types, and only acting tools are objects: an action has no place.

    Raises:
        UserError: A picture cannot be read.
    """
    folder = FolderNames()
    split_of = {name: split for split in SPLIT_NAMES for name in splits.videos(split)}
    classes = {tool: number for number, tool in enumerate(annotations.categories)}
    for frame in annotations.frames:
        split = split_of.get(frame.video.name)
        if split is None or not frame.annotated:
            account.skip('picture', 'it is not annotated, or in no split', f'image {frame.image_id}')
            continue
        name = f'{folder(frame.video.name)}_{frame.frame_id:06d}'
        put_picture(frame, annotations.root,
                    out / f'images/{split}/{name}{ending_of(frame.file(annotations.root))}')
        lines = []
        for tool in frame.tools:
            if not tool.active:
                account.skip('tool', 'it does not act', f'annotation {tool.id}')
            elif not any(point.name in SLOTS for point in tool.points):
                account.skip('tool', 'it has no point', f'annotation {tool.id}')
            else:
                lines.append(_line(tool, frame, classes[tool.tool]))
                for what, value in (('action', tool.action), ('mask', tool.segmentation)):
                    if value:
                        account.skip(what, 'the layout has no place for it', f'annotation {tool.id}')
                account.taken['tools'] += 1
        write_text(out / f'labels/{split}/{name}.txt', ''.join(f'{line}\n' for line in lines))
        account.taken['pictures'] += 1
    used = [split for split in SPLIT_NAMES if (out / f'images/{split}').is_dir()]
    # JSON is YAML too.
    write_text(out / 'data.yaml', json.dumps(dict(
        {split: f'images/{split}' for split in used}, names=list(classes), kpt_shape=[len(SLOTS), 3],
        flip_idx=list(range(len(SLOTS))), kpt_names=list(SLOTS)), indent=1) + '\n')


def _line(tool: Tool, frame: Frame, number: int) -> str:
    """``class x y w h`` of the box and ``x y v`` of each slot, as fractions of the picture."""
    left, top, width, height = box_of(tool, frame)
    values: list[float] = [(left + width / 2) / frame.width, (top + height / 2) / frame.height,
                           width / frame.width, height / frame.height]
    points = {point.name: point for point in tool.points}
    for slot in SLOTS:
        point = points.get(slot)
        values += [point.x / frame.width, point.y / frame.height, point.v] if point else [0, 0, 0]
    return ' '.join([str(number), *(f'{value:.{_DIGITS}g}' for value in values)])
