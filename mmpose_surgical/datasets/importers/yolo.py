"""The layout of Ultralytics for pose: ``data.yaml``, ``images/<split>/``, ``labels/<split>/``, or ``<split>/images/``.

Pictures are found by their folders, whatever paths ``data.yaml`` gives. Their splits are not taken over: one that tears
a video apart would leak.
"""
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.importers.coco import slots_of
from mmpose_surgical.datasets.importers.draft import (
    ACTION_OF_TOOL,
    SKIP,
    SPOILT,
    CopyPicture,
    Draft,
    ImportOptions,
    LandmarkNames,
)
from mmpose_surgical.datasets.importers.pictures import Places
from mmpose_surgical.datasets.records import Point
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import SLOTS
from mmpose_surgical.pictures import PICTURE_ENDINGS, read_picture


def read_yolo(src: Path, options: ImportOptions) -> Draft:
    """Read the folder with ``data.yaml``, or that file. Keypoints without names are tip1, tip2, anchor.

    Raises:
        UserError: ``data.yaml`` is missing or no such file, or a keypoint is neither tip nor anchor.
    """
    file = src / 'data.yaml' if src.is_dir() else src
    tools, points = _read_yaml(file)
    names = LandmarkNames({}, options.landmarks)
    names.refuse({name for name in points if names(name) is None}, file)
    slots = slots_of([names(name) for name in points])
    draft = Draft(options)
    places = Places(draft, src.resolve().name)
    found = sorted(path for path in file.parent.rglob('*') if path.suffix.lower() in PICTURE_ENDINGS
                   and 'images' in path.relative_to(file.parent).parts[:-1])
    if not found:
        raise UserError('there is no picture in a folder called "images"', file.parent,
                        'name the folder with data.yaml, images/ and labels/ (or train/images/, train/labels/)')
    for path in found:
        inner = path.relative_to(file.parent)
        folders = list(inner.parts)
        folders[len(folders) - 1 - folders[::-1].index('images')] = 'labels'
        label = file.parent.joinpath(*folders).with_suffix('.txt')
        if not label.is_file():
            draft.skip('picture', 'it has no label file', str(inner))
            continue
        try:
            height, width = read_picture(path).shape[:2]
            text = label.read_text()
            video, frame_id = places(str(inner))
        except (UserError, OSError, ValueError) as error:
            draft.skip('picture', getattr(error, 'what', 'its label file is no text, or --video-from does not fit'),
                       str(inner))
            continue
        name = f'frames/{draft.folder(video.name)}/{frame_id:06d}{path.suffix.lower()}'
        draft.work.append(CopyPicture(path, name))
        frame, spoilt = draft.frame(video, frame_id, (width, height), file_name=name), None
        for number, line in enumerate(text.splitlines(), 1):
            where = f'{inner}, line {number}'
            try:
                tool, own = _read_line(line, tools, slots, (width, height))
            except (ValueError, OverflowError, KeyError) as error:
                draft.skip('tool', f'damaged ({type(error).__name__})', where)
                spoilt = where
                continue
            draft.tool(frame, options.tools.get(tool, tool), own, action=ACTION_OF_TOOL.get(tool), where=where,
                       names=[slot for slot, landmark in slots if landmark != SKIP])
        if spoilt:
            draft.drop(frame, SPOILT, spoilt)
    return draft


def _read_yaml(file: Path) -> tuple[dict[int, str], list[str]]:
    """Tool types by number, and the names of the keypoints."""
    import yaml
    try:
        data: Any = yaml.safe_load(file.read_text(encoding='utf-8'))
        names = data['names']
        tools = {int(key): name for key, name in (names if isinstance(names, dict) else dict(enumerate(names))).items()}
        count, numbers = data['kpt_shape']
        points = data.get('kpt_names', list(SLOTS))
        points = list(next(iter(points.values())) if isinstance(points, dict) else points)
        words = all(isinstance(name, str) for name in (*tools.values(), *points))
        if numbers != 3 or len(points) != count or not words:
            raise ValueError('kpt_shape is not [keypoints, 3], or kpt_names are not so many')
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError,
            RecursionError) as error:
        raise UserError(f'it is no data.yaml of a pose data set: {" ".join(str(error).split())[:120]}', file,
                        'give it names, kpt_shape [K, 3] and, unless they are tip1, tip2, anchor, kpt_names') from None
    return tools, points


def _read_line(line: str, tools: dict[int, str], slots: list[tuple[str, str]],
               size: tuple[int, int]) -> tuple[str, list[Point]]:
    values = [float(word) for word in line.split()]
    if len(values) != 5 + 3 * len(slots) or values[0] % 1 or values[0] < 0:
        raise ValueError('not class, box and points')
    points = []
    for (slot, landmark), x, y, v in zip(slots, values[5::3], values[6::3], values[7::3]):
        if v not in (0, 1, 2):
            raise ValueError(f'visibility {v}')
        if v and landmark != SKIP:
            if not (-1 < x < 2 and -1 < y < 2):
                raise ValueError('no fraction of the picture')
            points.append(Point(landmark, slot, round(x * size[0], 4), round(y * size[1], 4), int(v)))
    return tools[int(values[0])], points
