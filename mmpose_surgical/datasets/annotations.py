"""The annotation format: COCO keypoints with video fields (no torch in here).

A data set is a folder with ``annotations.json``, the frames or videos that it points to, and optionally
``splits.json``. The format is read in one place so that the data set, the evaluator, the priors and the
command-line tools cannot disagree about it.
"""
import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from mmpose_surgical.datasets.problems import Problem
from mmpose_surgical.datasets.records import Annotations, Clip, Frame, Point, Tool, Video, run_lengths
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.landmarks import LANDMARKS, landmark_of
from mmpose_surgical.pictures import MAX_SIDE


def load_annotations(path: str | Path) -> Annotations:
    """Read and check an annotation file.

    Args:
        path: ``annotations.json``, or the data set folder that holds it.

    Raises:
        UserError: The file is missing, is not JSON, or has bad records; all of them are named at once.
    """
    annotations, problems = read_annotations(path)
    if problems:
        shown = list_problems([f'{problem.record}: {problem.what}' for problem in problems])
        raise UserError(f'{len(problems)} bad record(s): {shown}', annotations.path,
                        'correct the named records; see "The data format" in data/README.md')
    return annotations


def read_annotations(path: str | Path) -> tuple[Annotations, list[Problem]]:
    """Read an annotation file as far as its records are good.

    Args:
        path: See :func:`load_annotations`.

    Returns:
        What could be read, and a problem for every record that was left out.

    Raises:
        UserError: The file is missing, is not JSON, or has no lists of records.
    """
    path = Path(path)
    if path.is_dir():
        path = path / 'annotations.json'
    try:
        raw = path.read_bytes()
    except OSError as error:
        what = 'annotation file not found' if isinstance(error, FileNotFoundError | NotADirectoryError) else \
            f'annotation file cannot be read: {error.strerror}'
        raise UserError(what, path, 'check the data set folder (SURGICAL_DATA or --cfg-options data_root=DIR); it must '
                        'hold annotations.json') from None
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UserError(f'annotation file is not valid JSON, perhaps truncated: {error}', path,
                        'write it again from its source') from None
    wrong = not_coco(data)
    if wrong:
        raise UserError(wrong, path, 'write the file again; see "The data format" in data/README.md')
    return _Reader(path, data).read(hashlib.sha256(raw).hexdigest())


def check_records(path: Path, data: dict[str, Any]) -> list[Problem]:
    """Problems of records that are to be written to ``path``."""
    return _Reader(path, data).read('')[1]


def not_coco(data: Any) -> str | None:
    """Why something is no COCO object at all, in words; ``None`` if it is one."""
    if not isinstance(data, dict):
        return 'annotation file is not a COCO object'
    wrong = [f'"{key}" is not a list' for key in ('images', 'annotations', 'categories')
             if not isinstance(data.get(key), list)]
    wrong += [f'"{key}" is not a list' for key in ('videos', 'clips') if not isinstance(data.get(key, []), list)]
    if not isinstance(data.get('info') or {}, dict):
        wrong.append('"info" is not an object')
    return '; '.join(wrong) or None


class _Reader:
    """Builds the typed records and collects every problem on the way."""

    def __init__(self, path: Path, data: dict) -> None:
        self.path = path
        self.data = data
        self.problems: list[Problem] = []
        self._ids: dict[str, set[int]] = {}

    def read(self, sha256: str) -> tuple[Annotations, list[Problem]]:
        categories = self._records('categories', _category)
        videos = self._records('videos', _video)
        named: dict[str, int] = {}
        for video in videos.values():
            if named.setdefault(video.name, video.id) != video.id:
                self._problem(f'videos {named[video.name]} and {video.id}',
                              f'both are named "{video.name}", and splits go by name')
        clips = self._records('clips', lambda record: _clip(record, videos))
        frames = self._records('images', lambda record: self._frame(record, videos, clips))
        tools = self._records('annotations', lambda record: self._tool(record, frames, categories))
        for image_id, tool in tools.values():
            frames[image_id].tools.append(tool)
        for record in self.data['images']:
            known = isinstance(record, dict) and isinstance(record.get('id'), int)
            frame = frames.get(record['id']) if known else None
            if frame is not None and 'annotated' not in record:
                frame.annotated = bool(frame.tools)
        keypoints: dict[str, tuple[str, ...]] = {}
        for tool, names in categories.values():
            keypoints[tool] = tuple(dict.fromkeys((*keypoints.get(tool, ()), *names)))
        return Annotations(self.path, self.data.get('info') or {}, videos, clips, list(frames.values()), keypoints,
                           sha256), self.problems

    def _frame(self, record: dict, videos: dict[int, Video], clips: dict[int, Clip]) -> Frame:
        for key, built, records in (('video_id', videos, 'videos'), ('clip_id', clips, 'clips')):
            wanted = record.get(key)
            if isinstance(wanted, int) and wanted not in built and wanted in self._listed(records):
                raise _Consequence
        return _frame(record, videos, clips)

    def _tool(self, record: dict, frames: dict[int, Frame],
              categories: dict[int, tuple[str, list[str]]]) -> tuple[int, Tool]:
        """A tool and the id of its picture."""
        for key, built, records in (('image_id', frames, 'images'), ('category_id', categories, 'categories')):
            if record[key] not in built:
                listed = record[key] in self._listed(records)
                raise (_Consequence if listed else ValueError)(f'{key} {record[key]} is unknown')
        return record['image_id'], _tool(record, frames[record['image_id']], *categories[record['category_id']])

    def _listed(self, key: str) -> set[int]:
        """Ids that a list gives, also those of records that are no good."""
        if key not in self._ids:
            self._ids[key] = {record['id'] for record in self.data.get(key) or []
                              if isinstance(record, dict) and isinstance(record.get('id'), int)}
        return self._ids[key]

    def _problem(self, record: str, what: str) -> None:
        self.problems.append(Problem('record', str(self.path), record, what))

    def _records(self, key: str, build: Callable[[dict], Any]) -> dict:
        """Build all records of one list, keyed by id; a bad or repeated one becomes a problem."""
        built: dict[int, Any] = {}
        for index, record in enumerate(self.data.get(key) or []):
            if not isinstance(record, dict):
                self._problem(f'{key}[{index}]', 'it is not an object')
                continue
            where = f'{key}[{index}] (id {record.get("id")})'
            try:
                if not isinstance(record['id'], int):
                    raise ValueError('the id is not a whole number')
                if record['id'] in built:
                    raise ValueError('this id occurs twice')
                built[record['id']] = build(record)
            except _Consequence:
                continue
            except KeyError as error:
                self._problem(where, f'{error} is missing')
            except (TypeError, ValueError, OverflowError, AttributeError) as error:
                self._problem(where, str(error))
        return built


def _category(record: dict) -> tuple[str, list[str]]:
    names = record.get('keypoints', [])
    if not isinstance(names, list):
        raise ValueError('"keypoints" is not a list of names')
    unknown = sorted({landmark_of(name) for name in names} - set(LANDMARKS))
    if unknown:
        raise ValueError(f'keypoints {unknown} are neither tip nor anchor')
    if len(set(names)) < len(names):
        raise ValueError(f'keypoints {names} have a name twice')
    return _text(record, 'name'), names


def _video(record: dict) -> Video:
    fps = record.get('fps')
    if fps is not None and not 0 < _number(fps, 'fps') < math.inf:
        raise ValueError(f'fps {fps} is not a positive number')
    pattern, video_file = record.get('frame_pattern'), record.get('video_file')
    if pattern:
        check_pattern(pattern)
    if video_file:
        check_inside(video_file, 'video_file')
    return Video(record['id'], str(record['name']), _text(record, 'source', None), None if fps is None else float(fps),
                 _flag(record, 'dense', bool(pattern or video_file)), pattern or None, video_file or None)


def check_pattern(pattern: Any) -> None:
    """A path in the data set with one ``{frame_id:06d}`` or the like; anything else is a ValueError."""
    if not isinstance(pattern, str) or not re.fullmatch(r'[^{}]*\{frame_id(:0?\d{0,2}d)?\}[^{}]*', pattern):
        raise ValueError(f'frame_pattern "{pattern}" does not take frame_id as {{frame_id:06d}} does')
    check_inside(pattern.format(frame_id=0), 'frame_pattern')


def _clip(record: dict, videos: dict[int, Video]) -> Clip:
    if record['video_id'] not in videos:
        raise ValueError(f'video_id {record["video_id"]} is unknown')
    start, end = _whole(record['start_frame'], 'start_frame'), _whole(record['end_frame'], 'end_frame')
    if start > end:
        raise ValueError('start_frame is after end_frame')
    if record.get('video_file'):
        check_inside(record['video_file'], 'video_file')
    return Clip(record['id'], record['video_id'], start, end, _text(record, 'action', None),
                record.get('video_file') or None)


def _frame(record: dict, videos: dict[int, Video], clips: dict[int, Clip]) -> Frame:
    width, height = _whole(record['width'], 'width'), _whole(record['height'], 'height')
    if not (width > 0 and height > 0):
        raise ValueError(f'size {width}x{height} is not positive')
    if max(width, height) > MAX_SIDE:
        raise ValueError(f'size {width}x{height} is beyond that of a picture')
    if record.get('file_name') is not None:
        check_inside(record['file_name'], 'file_name')
    if 'video_id' in record:
        if record['video_id'] not in videos:
            raise ValueError(f'video_id {record["video_id"]} is unknown')
        video = videos[record['video_id']]
    elif videos:
        raise ValueError('"video_id" is missing, and the file has videos: no split would hold the picture')
    else:
        # A plain COCO file: each picture is a case of its own, so that no split can tear one apart.
        video = Video(-record['id'] - 1, str(record.get('file_name')), dense=False)
    # Wherever a number leads to neighbours, a missing one would silently be another frame.
    placed = video.frame_pattern or video.video_file or record.get('clip_id') is not None
    frame_id = _whole(record['frame_id'] if placed else record.get('frame_id', 0), 'frame_id')
    clip = _clip_of(record, video, frame_id, clips)
    if not (record.get('file_name') or video.frame_pattern or video.video_file or (clip and clip.video_file)):
        raise ValueError('"file_name" is missing, and the video has no frame_pattern or video_file')
    if not isinstance(record.get('attributes', {}), dict):
        raise ValueError('"attributes" is not an object')
    known = {'id', 'file_name', 'width', 'height', 'video_id', 'frame_id', 'clip_id', 'annotated'}
    return Frame(record['id'], record.get('file_name'), width, height, video, frame_id,
                 _flag(record, 'annotated', False), clip, extra={k: v for k, v in record.items() if k not in known})


def _clip_of(record: dict, video: Video, frame_id: int, clips: dict[int, Clip]) -> Clip | None:
    """The clip that a picture belongs to, checked: a window is cut at its clip's ends, so both must agree."""
    clip_id = record.get('clip_id')
    if clip_id is None:
        return None
    if clip_id not in clips:
        raise ValueError(f'clip_id {clip_id} is unknown')
    clip = clips[clip_id]
    if clip.video_id != video.id:
        raise ValueError(f'clip {clip_id} is of video {clip.video_id}, the picture of video {video.id}')
    if not clip.start_frame <= frame_id <= clip.end_frame:
        raise ValueError(f'frame_id {frame_id} lies outside clip {clip_id} ({clip.start_frame} to {clip.end_frame})')
    return clip


def _tool(record: dict, frame: Frame, tool: str, names: list[str]) -> Tool:
    attributes = record.get('attributes') or {}
    if not isinstance(attributes, dict):
        raise ValueError('"attributes" is not an object')
    if attributes.get('active', True) not in (True, False):
        raise ValueError(f'attributes.active is {attributes["active"]!r}, not true or false')
    return Tool(record['id'], tool, _text(attributes, 'action', None), bool(attributes.get('active', True)),
                _points(record.get('keypoints', []), names),
                check_segmentation(record.get('segmentation'), [frame.height, frame.width]), attributes)


class _Consequence(Exception):
    """A record that is bad only because another one is, which is told."""


_REQUIRED: Any = object()


def _text(record: dict, key: str, default: Any = _REQUIRED) -> Any:
    value = record[key] if default is _REQUIRED else record.get(key, default)
    if value is not default and not isinstance(value, str | None if default is None else str):
        raise ValueError(f'{key} is {value!r}, not a word')
    return value


def _flag(record: dict, key: str, default: bool) -> bool:
    value = record.get(key, default)
    if value not in (True, False):
        raise ValueError(f'{key} is {value!r}, not true or false')
    return bool(value)


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'{what} is {value!r}, not a number')
    return float(value)


def _whole(value: Any, what: str) -> int:
    if _number(value, what) % 1 != 0:  # NaN and infinity are not whole either
        raise ValueError(f'{what} is {value!r}, not a whole number')
    return int(value)


def check_inside(path: Any, what: str) -> None:
    """Refuse a path that leaves the data set's folder, with a ValueError: it could not be moved or shared."""
    if not isinstance(path, str):
        raise ValueError(f'{what} is {path!r}, not a path')
    if '\0' in path or PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive or '..' in PurePosixPath(
            path).parts:
        raise ValueError(f'{what} "{path}" leaves the data set folder')


def _points(flat: Any, names: list[str]) -> list[Point]:
    if not isinstance(flat, list):
        raise ValueError('"keypoints" is not a list')
    if len(flat) not in (0, 3 * len(names)):
        raise ValueError(f'{len(flat)} keypoint numbers, expected {3 * len(names)} (x, y, v for {names})')
    points = []
    for name, x, y, v in zip(names, flat[::3], flat[1::3], flat[2::3]):
        if v not in (0, 1, 2):
            raise ValueError(f'visibility {v} of {name} is not 0, 1 or 2')
        if v > 0:
            if not np.isfinite([_number(x, name), _number(y, name)]).all():
                raise ValueError(f'{name} is at ({x}, {y})')
            points.append(Point(landmark_of(name), name, float(x), float(y), int(v)))
    return points


def check_mask(value: Any, size: list[int]) -> dict | list | None:
    """As :func:`check_segmentation`, and compressed run lengths too, which takes its time."""
    value = check_segmentation(value, size)
    compressed = isinstance(value, dict) and isinstance(value['counts'], str)
    if compressed and (runs := run_lengths(value['counts'])) != size[0] * size[1]:
        raise ValueError(f'the run lengths of "segmentation" add up to {runs} pixels, not {size[0] * size[1]}')
    return value


def check_segmentation(value: Any, size: list[int]) -> dict | list | None:
    """COCO's three forms of a mask, as far as they can be checked at once; ``None`` for an empty one."""
    if not value:
        return None
    if isinstance(value, list):
        if not all(isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0
                   and np.isfinite(np.asarray(ring, float)).all() for ring in value):
            raise ValueError('"segmentation" is no list of polygons [x1, y1, x2, y2, x3, y3, ...]')
        # pycocotools walks along the outline pixel by pixel, however far it leads.
        corners = np.concatenate([np.asarray(ring, float).reshape(-1, 2) for ring in value])
        if not ((corners >= -np.array(size[::-1])) & (corners <= 2 * np.array(size[::-1]))).all():
            raise ValueError('"segmentation" has corners far outside the picture')
        return value
    if not isinstance(value, dict) or not isinstance(value.get('counts'), str | list):
        raise ValueError('"segmentation" is neither polygons nor {"size": [height, width], "counts": ...}')
    if value.get('size') != size:
        raise ValueError(f'"segmentation" has size {value.get("size")}, the picture {size} (height, width)')
    if isinstance(value['counts'], list) and not all(
            isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in value['counts']):
        raise ValueError('the run lengths of "segmentation" are no whole numbers')
    if isinstance(value['counts'], list) and sum(value['counts']) != size[0] * size[1]:
        raise ValueError(f'the run lengths of "segmentation" add up to {sum(value["counts"])} pixels, not '
                         f'{size[0] * size[1]}')
    return value
