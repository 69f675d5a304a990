"""What an annotation file says, as typed records (no torch in here)."""
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.datasets.frame_file import FrameFile
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import landmark_of


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
            if (runs := run_lengths(rle['counts'])) != height * width:
                raise ValueError(f'its runs add up to {runs} pixels of {height * width}')
            return coco_mask.decode(rle).astype(bool)
        except (TypeError, ValueError) as error:
            raise UserError(f'the mask cannot be decoded: {error}', f'annotation {self.id}',
                            'write its "segmentation" again') from None


@dataclass
class Video:
    """A surgical case. Frames are reached by ``frame_pattern``, or by the ``video_file`` whose first one is frame 0."""
    id: int
    name: str
    source: str | None = None
    fps: float | None = None
    dense: bool = False
    frame_pattern: str | None = None
    video_file: str | None = None


@dataclass
class Clip:
    """One action instance; both ends are inclusive frame numbers of the video.

    ``video_file`` holds this clip alone: its first picture is frame ``start_frame``.
    """
    id: int
    video_id: int
    start_frame: int
    end_frame: int
    action: str | None = None
    video_file: str | None = None


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

    def file(self, root: Path, frame_id: int | None = None) -> FrameFile:
        """Where this picture lies, or the neighbour ``frame_id`` of the same video.

        Raises:
            UserError: Nothing leads to that neighbour.
        """
        number = self.frame_id if frame_id is None else frame_id
        if number == self.frame_id and self.file_name is not None:
            return FrameFile(root / self.file_name)
        if self.video.frame_pattern is not None:
            return FrameFile(root / self.video.frame_pattern.format(frame_id=number))
        if self.clip is not None and self.clip.video_file is not None:
            return FrameFile(root / self.clip.video_file, number - self.clip.start_frame)
        if self.video.video_file is not None:
            return FrameFile(root / self.video.video_file, number)
        raise UserError(f'frame {number} of video "{self.video.name}" cannot be located', root / 'annotations.json',
                        'give the video a "frame_pattern" or a "video_file", or set "dense": false')


# Where a picture comes from, not what is seen in it.
_COCO_IMAGE_KEYS = ('license', 'coco_url', 'flickr_url', 'date_captured')


def _flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {f'{prefix}{key}': value}
    return flat


@dataclass
class Annotations:
    """A whole annotation file; ``sha256`` identifies its content.

    ``categories`` are the keypoint names of each tool type.
    """
    path: Path
    info: dict[str, Any]
    videos: dict[int, Video]
    clips: dict[int, Clip]
    frames: list[Frame]
    categories: dict[str, tuple[str, ...]]
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
        return tuple(dict.fromkeys(landmark_of(name) for names in self.categories.values() for name in names))

    def annotated_frames(self, video_names: Iterable[str] | None = None) -> list[Frame]:
        """Annotated frames, of all videos or of the named ones, in file order."""
        names = None if video_names is None else set(video_names)
        return [f for f in self.frames if f.annotated and (names is None or f.video.name in names)]


def run_lengths(counts: str | bytes) -> int:
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
    if min(runs, default=0) < 0:
        raise ValueError('a run length is below 0')
    return sum(runs)
