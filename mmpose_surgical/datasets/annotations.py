"""The annotation format: COCO keypoints with video fields (no torch in here).

A data set is a folder with ``annotations.json``, the frames or videos that it points to, and optionally
``splits.json``. The format is read in one place so that the data set, the evaluator, the priors and the
command-line tools cannot disagree about it.
"""
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.landmarks import LANDMARKS, landmark_of


@dataclass(frozen=True)
class Point:
    """A labelled landmark in pixels of the original picture; ``v`` is the COCO visibility (1 hidden, 2 visible)."""
    landmark: str
    name: str
    x: float
    y: float
    v: int


@dataclass
class Tool:
    """One instrument in one frame. ``points`` holds labelled landmarks only (v > 0)."""
    id: int
    tool: str
    action: str | None
    active: bool
    points: list[Point]
    segmentation: dict | list | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def mask(self, height: int, width: int) -> np.ndarray | None:
        """Instance mask, bool (height, width); ``None`` where the data has none."""
        if not self.segmentation:
            return None
        from pycocotools import mask as coco_mask
        rle = self.segmentation
        try:
            if isinstance(rle, list):
                rle = coco_mask.merge(coco_mask.frPyObjects(rle, height, width))
            elif isinstance(rle.get('counts'), list):
                rle = coco_mask.frPyObjects(rle, height, width)
            if (runs := _run_lengths(rle['counts'])) != height * width:
                raise ValueError(f'its runs add up to {runs} pixels of {height * width}')
            return coco_mask.decode(rle).astype(bool)
        except (TypeError, ValueError) as error:
            raise UserError(f'the mask cannot be decoded: {error}', f'annotation {self.id}',
                            'write its "segmentation" again') from None


@dataclass
class Video:
    """A surgical case. Neighbouring frames are reached by ``frame_pattern`` or ``video_file``."""
    id: int
    name: str
    source: str | None = None
    fps: float | None = None
    dense: bool = False
    frame_pattern: str | None = None
    video_file: str | None = None


@dataclass
class Clip:
    """One action instance; both ends are inclusive frame numbers of the video."""
    id: int
    video_id: int
    start_frame: int
    end_frame: int
    action: str | None = None


@dataclass
class Frame:
    """One listed picture with its tools. Only ``annotated`` frames are samples and count in metrics."""
    image_id: int
    file_name: str | None
    width: int
    height: int
    video: Video
    frame_id: int
    annotated: bool
    clip: Clip | None = None
    tools: list[Tool] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def active_tools(self) -> list[Tool]:
        return [tool for tool in self.tools if tool.active]

    @property
    def attributes(self) -> dict[str, Any]:
        """What else is said of the picture, e.g. its condition: the keys of ``attributes`` and the unknown ones.

        Objects are flattened: ``{"conditions": {"smoke": 0.3}}`` gives ``conditions.smoke``.
        """
        rest = {key: value for key, value in self.extra.items() if key not in ('attributes', *_COCO_IMAGE_KEYS)}
        return _flat({**rest, **self.extra.get('attributes', {})})

    def path(self, root: Path, frame_id: int | None = None) -> Path:
        """Path of this picture, or of the neighbour ``frame_id`` of the same video."""
        if frame_id is None or frame_id == self.frame_id:
            if self.file_name is not None:
                return root / self.file_name
            frame_id = self.frame_id
        if self.video.frame_pattern is None:
            raise UserError(f'frame {frame_id} of video "{self.video.name}" cannot be located',
                            root / 'annotations.json', 'give the video a "frame_pattern", or set "dense": false')
        return root / self.video.frame_pattern.format(frame_id=frame_id)


# Where a picture comes from, not what is seen in it.
_COCO_IMAGE_KEYS = ('license', 'coco_url', 'flickr_url', 'date_captured')


def _flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {f'{prefix}{key}': value}
    return flat


@dataclass
class Annotations:
    """A whole annotation file; ``sha256`` identifies its content."""
    path: Path
    info: dict[str, Any]
    videos: dict[int, Video]
    clips: dict[int, Clip]
    frames: list[Frame]
    keypoint_names: tuple[str, ...]
    sha256: str

    def __post_init__(self) -> None:
        self.by_id = {frame.image_id: frame for frame in self.frames}

    @property
    def root(self) -> Path:
        return self.path.parent

    @property
    def synthetic(self) -> bool:
        """Whether the file carries the mark of generated data."""
        return self.info.get('synthetic') is True

    @property
    def landmarks(self) -> tuple[str, ...]:
        """Landmark types that the categories declare; a type that is missing here was never annotated."""
        return tuple(dict.fromkeys(landmark_of(name) for name in self.keypoint_names))

    def annotated_frames(self, video_names: Iterable[str] | None = None) -> list[Frame]:
        """Annotated frames, of all videos or of the named ones, in file order."""
        names = None if video_names is None else set(video_names)
        return [f for f in self.frames if f.annotated and (names is None or f.video.name in names)]


def load_annotations(path: str | Path) -> Annotations:
    """Read and check an annotation file.

    Args:
        path: ``annotations.json``, or the data set folder that holds it.

    Raises:
        UserError: The file is missing, is not JSON, or has bad records; all of them are named at once.
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
    except ValueError as error:
        raise UserError(f'annotation file is not valid JSON, perhaps truncated: {error}', path,
                        'write it again from its source') from None
    if not isinstance(data, dict):
        raise UserError('annotation file is not a COCO object', path, 'its top level must be {"images": [...], ...}')
    return _Reader(path, data, hashlib.sha256(raw).hexdigest()).read()


class _Reader:
    """Builds the typed records and collects every problem on the way."""

    def __init__(self, path: Path, data: dict, sha256: str) -> None:
        self.path = path
        self.data = data
        self.sha256 = sha256
        self.problems: list[str] = []

    def read(self) -> Annotations:
        for key in ('images', 'annotations', 'categories'):
            if not isinstance(self.data.get(key), list):
                self.problems.append(f'"{key}" is not a list')
        for key in ('videos', 'clips'):
            if not isinstance(self.data.get(key, []), list):
                self.problems.append(f'"{key}" is not a list')
        if not isinstance(self.data.get('info') or {}, dict):
            self.problems.append('"info" is not an object')
        self._stop_on_problems()
        categories = self._records('categories', self._category)
        videos = self._records('videos', self._video)
        named: dict[str, int] = {}
        for video in videos.values():
            if named.setdefault(video.name, video.id) != video.id:
                self.problems.append(f'videos {named[video.name]} and {video.id} are both named "{video.name}", '
                                     'and splits go by name')
        clips = self._records('clips', lambda r: self._clip(r, videos))
        frames = self._records('images', lambda r: self._frame(r, videos, clips))
        with_annotation = self._attach_tools(frames, categories)
        for record in self.data['images']:
            known = isinstance(record, dict) and isinstance(record.get('id'), int)
            frame = frames.get(record['id']) if known else None
            if frame is not None and 'annotated' not in record:
                frame.annotated = frame.image_id in with_annotation
        self._stop_on_problems()
        names = tuple(dict.fromkeys(name for _, points in categories.values() for name in points))
        return Annotations(self.path, self.data.get('info') or {}, videos, clips, list(frames.values()),
                           names, self.sha256)

    def _stop_on_problems(self) -> None:
        if self.problems:
            raise UserError(f'{len(self.problems)} bad record(s): {list_problems(self.problems)}', self.path,
                            'correct the named records; see "The data format" in data/README.md')

    def _records(self, key: str, build: Any) -> dict:
        """Build all records of one list, keyed by id; a bad or repeated one becomes a problem."""
        built: dict[int, Any] = {}
        for index, record in enumerate(self.data.get(key) or []):
            if not isinstance(record, dict):
                self.problems.append(f'{key}[{index}] is not an object')
                continue
            where = f'{key}[{index}] (id {record.get("id")})'
            try:
                if not isinstance(record['id'], int):
                    raise ValueError('the id is not a whole number')
                if record['id'] in built:
                    raise ValueError('this id occurs twice')
                built[record['id']] = build(record)
            except KeyError as error:
                self.problems.append(f'{where}: {error} is missing')
            except (TypeError, ValueError, OverflowError, AttributeError) as error:
                self.problems.append(f'{where}: {error}')
        return built

    @staticmethod
    def _category(record: dict) -> tuple[str, list[str]]:
        names = record.get('keypoints', [])
        unknown = sorted({landmark_of(name) for name in names} - set(LANDMARKS))
        if unknown:
            raise ValueError(f'keypoints {unknown} are neither tip nor anchor')
        return record['name'], names

    @staticmethod
    def _video(record: dict) -> Video:
        fps = record.get('fps')
        if fps is not None and not float(fps) > 0:
            raise ValueError(f'fps {fps} is not positive')
        if record.get('frame_pattern'):
            try:
                record['frame_pattern'].format(frame_id=0)
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                raise ValueError(f'frame_pattern "{record["frame_pattern"]}" does not take frame_id: {error}') from None
        reachable = bool(record.get('frame_pattern') or record.get('video_file'))
        return Video(record['id'], str(record['name']), record.get('source'), None if fps is None else float(fps),
                     bool(record.get('dense', reachable)), record.get('frame_pattern'), record.get('video_file'))

    @staticmethod
    def _clip(record: dict, videos: dict[int, Video]) -> Clip:
        if record['video_id'] not in videos:
            raise ValueError(f'video_id {record["video_id"]} is unknown')
        if record['start_frame'] > record['end_frame']:
            raise ValueError('start_frame is after end_frame')
        return Clip(record['id'], record['video_id'], int(record['start_frame']), int(record['end_frame']),
                    record.get('action'))

    def _frame(self, record: dict, videos: dict[int, Video], clips: dict[int, Clip]) -> Frame:
        if not (record['width'] > 0 and record['height'] > 0):
            raise ValueError(f'size {record["width"]}x{record["height"]} is not positive')
        if 'video_id' in record:
            if record['video_id'] not in videos:
                raise ValueError(f'video_id {record["video_id"]} is unknown')
            video = videos[record['video_id']]
        elif videos:
            raise ValueError('"video_id" is missing, and the file has videos: no split would hold the picture')
        else:
            # A plain COCO file: each picture is a case of its own, so that no split can tear one apart.
            video = Video(-int(record['id']) - 1, str(record.get('file_name')), dense=False)
        # Wherever a number leads to neighbours, a missing one would silently be another frame.
        placed = video.frame_pattern is not None or record.get('clip_id') is not None
        frame_id = int(record['frame_id'] if placed else record.get('frame_id', 0))
        clip = self._clip_of(record, video, frame_id, clips)
        if record.get('file_name') is None and video.frame_pattern is None and video.video_file is None:
            raise ValueError('"file_name" is missing, and the video has no frame_pattern or video_file')
        if not isinstance(record.get('attributes', {}), dict):
            raise ValueError('"attributes" is not an object')
        known = {'id', 'file_name', 'width', 'height', 'video_id', 'frame_id', 'clip_id', 'annotated'}
        return Frame(record['id'], record.get('file_name'), int(record['width']), int(record['height']), video,
                     frame_id, bool(record.get('annotated', False)), clip,
                     extra={k: v for k, v in record.items() if k not in known})

    @staticmethod
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
            raise ValueError(f'frame_id {frame_id} lies outside clip {clip_id} '
                             f'({clip.start_frame} to {clip.end_frame})')
        return clip

    def _attach_tools(self, frames: dict[int, Frame], categories: dict[int, tuple[str, list[str]]]) -> set[int]:
        """Give each frame its tools; returns the ids of frames that have any."""
        def build(record: dict) -> tuple[int, Tool]:
            if record['image_id'] not in frames:
                raise ValueError(f'image_id {record["image_id"]} is unknown')
            if record['category_id'] not in categories:
                raise ValueError(f'category_id {record["category_id"]} is unknown')
            tool_name, names = categories[record['category_id']]
            attributes = record.get('attributes') or {}
            if not isinstance(attributes, dict):
                raise ValueError('"attributes" is not an object')
            if attributes.get('active', True) not in (True, False):
                raise ValueError(f'attributes.active is {attributes["active"]!r}, not true or false')
            frame = frames[record['image_id']]
            return record['image_id'], Tool(
                record['id'], tool_name, attributes.get('action'), bool(attributes.get('active', True)),
                _points(record.get('keypoints', []), names),
                _segmentation(record.get('segmentation'), [frame.height, frame.width]), attributes)

        with_annotation = set()
        for image_id, tool in self._records('annotations', build).values():
            frames[image_id].tools.append(tool)
            with_annotation.add(image_id)
        return with_annotation


def _points(flat: list, names: list[str]) -> list[Point]:
    if len(flat) not in (0, 3 * len(names)):
        raise ValueError(f'{len(flat)} keypoint numbers, expected {3 * len(names)} (x, y, v for {names})')
    points = []
    for name, x, y, v in zip(names, flat[::3], flat[1::3], flat[2::3]):
        if v not in (0, 1, 2):
            raise ValueError(f'visibility {v} of {name} is not 0, 1 or 2')
        if v > 0:
            if not np.isfinite([float(x), float(y)]).all():
                raise ValueError(f'{name} is at ({x}, {y})')
            points.append(Point(landmark_of(name), name, float(x), float(y), int(v)))
    return points


def _segmentation(value: Any, size: list[int]) -> dict | list | None:
    """COCO's three forms of a mask, as far as they can be checked without decoding; ``None`` for an empty one."""
    if not value:
        return None
    if isinstance(value, list):
        if not all(isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0
                   and np.isfinite(np.asarray(ring, float)).all() for ring in value):
            raise ValueError('"segmentation" is no list of polygons [x1, y1, x2, y2, x3, y3, ...]')
        return value
    if not isinstance(value, dict) or not isinstance(value.get('counts'), str | list):
        raise ValueError('"segmentation" is neither polygons nor {"size": [height, width], "counts": ...}')
    if value.get('size') != size:
        raise ValueError(f'"segmentation" has size {value.get("size")}, the picture {size} (height, width)')
    if isinstance(value['counts'], list) and sum(value['counts']) != size[0] * size[1]:
        raise ValueError(f'the run lengths of "segmentation" add up to {sum(value["counts"])} pixels, not '
                         f'{size[0] * size[1]}')
    return value


def _run_lengths(counts: str | bytes) -> int:
    """Pixels that compressed run lengths cover. pycocotools reads beyond the end of those that are cut off."""
    runs: list[int] = []
    value = shift = 0
    for code in (counts.encode() if isinstance(counts, str) else counts):
        # Six bits a character: five of the number, one that says whether more follow; the sign is in the last one.
        code -= 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return sum(runs)
