"""Records to the annotation file, the way back from :mod:`mmpose_surgical.datasets.annotations`."""
import json
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.datasets.records import Annotations, Frame, Tool
from mmpose_surgical.files import write_atomically


def write_annotations(path: str | Path, annotations: Annotations) -> None:
    """Write an annotation file atomically.

    Raises:
        UserError: The place cannot be written.
    """
    text = json.dumps(to_coco(annotations), allow_nan=False, ensure_ascii=False)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding='utf-8'))


def to_coco(annotations: Annotations) -> dict[str, Any]:
    """COCO keypoints with video fields; see "The data format" in data/README.md.

    Boxes and areas, without which some readers refuse a file, span a tool's mask, else its points.
    """
    categories = {tool: number for number, tool in enumerate(annotations.categories, 1)}
    return dict(
        info=annotations.info,
        videos=[_given(id=v.id, name=v.name, source=v.source, fps=v.fps, dense=v.dense, frame_pattern=v.frame_pattern,
                       video_file=v.video_file) for v in annotations.videos.values()],
        clips=[_given(id=c.id, video_id=c.video_id, start_frame=c.start_frame, end_frame=c.end_frame, action=c.action,
                      video_file=c.video_file) for c in annotations.clips.values()],
        images=[_image(frame) for frame in annotations.frames],
        categories=[dict(id=number, name=tool, supercategory='surgical_tool', keypoints=list(names))
                    for (tool, names), number in zip(annotations.categories.items(), categories.values())],
        annotations=[_annotation(tool, frame, categories[tool.tool], annotations.categories[tool.tool])
                     for frame in annotations.frames for tool in frame.tools])


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _image(frame: Frame) -> dict[str, Any]:
    # A picture of a plain COCO file is a case of its own, with an id below 0, and belongs to no listed video.
    video = dict(video_id=frame.video.id, frame_id=frame.frame_id) if frame.video.id >= 0 else {}
    return {**_given(id=frame.image_id, file_name=frame.file_name), 'width': frame.width, 'height': frame.height,
            **video, **_given(clip_id=frame.clip and frame.clip.id), 'annotated': frame.annotated, **frame.extra}


def _annotation(tool: Tool, frame: Frame, category: int, names: tuple[str, ...]) -> dict[str, Any]:
    points = {point.name: [point.x, point.y, point.v] for point in tool.points}
    box = box_of(tool, frame)
    # What the columns say stands in the attributes too, which other programs show.
    attributes = tool.attributes | dict(active=tool.active) | _given(action=tool.action)
    return dict(
        id=tool.id, image_id=frame.image_id, category_id=category,
        keypoints=[value for name in names for value in points.get(name, [0, 0, 0])], num_keypoints=len(points),
        bbox=box, area=box[2] * box[3], iscrowd=0, **_given(segmentation=tool.segmentation), attributes=attributes)


def box_of(tool: Tool, frame: Frame) -> list[float]:
    """Left, top, width and height of a tool's mask, else of its points, in pixels."""
    mask = tool.mask(frame.height, frame.width)
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return [float(v) for v in (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)]
    if not tool.points:
        return [0.0, 0.0, 0.0, 0.0]
    xy = np.array([(point.x, point.y) for point in tool.points])
    return [round(float(v), 3) for v in (*xy.min(axis=0), *np.ptp(xy, axis=0))]
