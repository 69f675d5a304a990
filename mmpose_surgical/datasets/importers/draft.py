"""A data set in the making: what every importer fills, and the account of what was taken and what was not."""
from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.account import Account
from mmpose_surgical.datasets.records import Annotations, Clip, Frame, Point, Tool, Video
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.files import FolderNames
from mmpose_surgical.landmarks import LANDMARKS, SLOTS, TOOL_OF_ACTION

SKIP = 'skip'
"""What a name is mapped to, to leave its records out."""

SPOILT = 'a record of it is damaged, and what is missing would pass for "not there"'
"""Why a picture is dropped with what was good of it."""


@dataclass(frozen=True)
class ImportOptions:
    """What the user says of foreign data.

    Args:
        landmarks: ``{foreign name: tip | anchor | skip}``, over the defaults of the format.
        actions: ``{foreign name: action | skip}``, likewise.
        tools: ``{foreign name: tool}``; where the format knows no tools, ``{action: tool}``.
        source: Where the videos come from, e.g. ``Cholec80``; ``None``: what the format says.
        video_from: Its first group, found in a picture's path, is the case's name; ``None``: folder or file name.
        frames: ``extract`` pictures from videos, or leave them in the ``video``.
        short_side: Larger pictures are made this small, in pixels.
    """
    landmarks: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    video_from: re.Pattern | None = None
    frames: str = 'extract'
    short_side: int | None = None


@dataclass(frozen=True)
class CopyPicture:
    """A picture file to be copied, or written anew in another size."""
    source: Path
    target: str


@dataclass(frozen=True)
class CopyVideo:
    """A video file to be copied as it is."""
    source: Path
    target: str


@dataclass(frozen=True)
class ExtractFrames:
    """Pictures of a video file: its picture ``k`` becomes frame ``first + k``, for ``count`` of them."""
    source: Path
    pattern: str
    first: int
    count: int

    def target(self, number: int) -> str:
        return self.pattern.format(frame_id=self.first + number)


@dataclass(frozen=True)
class Footage:
    """What a video file holds: number of frames, frames a second, width and height, whether its rate changes."""
    file: Path
    count: int
    fps: float
    size: tuple[int, int]
    uneven: bool = False

    @classmethod
    def of(cls, file: Path) -> Footage:
        """Look into a video file.

        Raises:
            UserError: It is missing, cannot be decoded, or is a single picture.
        """
        from mmpose_surgical.datasets.video_file import VideoFile  # PyAV, which picture folders do not need
        video = VideoFile(file)
        try:
            height, width = video.read(0).shape[:2]
        finally:
            video.close()
        if video.index.fps is None:
            raise UserError('the video is a single picture', file, 'name a video')
        return cls(file, len(video), round(video.index.fps, 4), (width, height), video.index.uneven)


class Draft(Account):
    """Collects records; ids are those of the source where they are free.

    Every record of the source is either taken or skipped with a reason, so that the sums can be checked.
    """

    def __init__(self, options: ImportOptions) -> None:
        super().__init__()
        self.options = options
        self.info: dict[str, Any] = {}
        self.folder = FolderNames()
        """Of a video's pictures, by its name."""
        self.videos: dict[str, Video] = {}
        self.clips: dict[int, Clip] = {}
        self.frames: dict[tuple[str, int], Frame] = {}
        self.categories: dict[str, list[str]] = {}
        self.work: list[CopyPicture | CopyVideo | ExtractFrames] = []
        self._image_ids: set[int] = set()
        self._tool_ids: set[int] = set()

    # -- what is taken ---------------------------------------------------------------------------------------
    def video(self, name: str, **fields: Any) -> Video:
        """The video of this name; the first call makes it with these fields."""
        if name not in self.videos:
            fields['source'] = self.options.source or fields.get('source')
            self.videos[name] = Video(len(self.videos) + 1, name, **fields)
            self.taken['videos'] += 1
        return self.videos[name]

    def clip(self, video: Video, start: int, end: int, action: str | None, video_file: str | None = None) -> Clip:
        clip = Clip(len(self.clips) + 1, video.id, start, end, action, video_file)
        self.clips[clip.id] = clip
        self.taken['clips'] += 1
        return clip

    def footage(self, video: Video, footage: Footage, first: int, *, count: int | None = None,
                action: str | None = None) -> Clip:
        """The first ``count`` pictures of a video file, or all of them, as a clip from frame ``first`` on.

        It is extracted where the video has a pattern, else copied.
        """
        count, target = count or footage.count, None
        if footage.uneven:
            self.remark(f'{video.name}: the frame rate of {footage.file.name} changes; windows go by its mean, '
                        f'{footage.fps:g} a second')
        if video.frame_pattern is not None:
            self.work.append(ExtractFrames(footage.file, video.frame_pattern, first, count))
        else:
            # By its place: files of several clips may have one name.
            target = f'videos/{self.folder(video.name)}/{first:06d}{footage.file.suffix.lower()}'
            self.work.append(CopyVideo(footage.file, target))
        return self.clip(video, first, first + count - 1, action, target)

    def frame(self, video: Video, frame_id: int, size: tuple[int, int], *, file_name: str | None = None,
              clip: Clip | None = None, annotated: bool = True, image_id: Any = None,
              extra: dict[str, Any] | None = None) -> Frame:
        """The picture of this number of a video; a second call for the same one returns the first."""
        key = video.name, frame_id
        if key not in self.frames:
            self.frames[key] = Frame(_free(image_id, self._image_ids), file_name, *size, video, frame_id, annotated,
                                     clip, extra=dict(extra or {}))
            self.taken['pictures'] += 1
        return self.frames[key]

    def tool(self, frame: Frame, tool: str, points: Iterable[Point], *, action: str | None, where: str,
             active: bool = True, tool_id: Any = None, segmentation: Any = None,
             attributes: dict[str, Any] | None = None, names: Iterable[str] = SLOTS) -> None:
        """Add a tool; points that lie outside the picture are out of view and skipped."""
        own = []
        for point in points:
            if -0.5 <= point.x <= frame.width - 0.5 and -0.5 <= point.y <= frame.height - 0.5:
                own.append(point)
            else:
                self.skip('point', 'it lies outside the picture, so it is out of view', where)
        known = self.categories.setdefault(tool, [])
        known += [name for name in dict.fromkeys((*names, *(point.name for point in own))) if name not in known]
        frame.tools.append(Tool(_free(tool_id, self._tool_ids), tool, action, active, own, segmentation,
                                dict(attributes or {})))
        self.taken['tools'] += 1
        self.taken['points'] += len(own)

    # -- what is not -----------------------------------------------------------------------------------------
    def drop(self, frame: Frame, why: str, where: str) -> None:
        """Take a picture out again, with its tools."""
        del self.frames[frame.video.name, frame.frame_id]
        self.taken['pictures'] -= 1
        self.taken['tools'] -= len(frame.tools)
        self.taken['points'] -= sum(len(tool.points) for tool in frame.tools)
        self.skip('picture', why, where)

    def lines(self) -> list[str]:
        """The account, with the names of the videos: a wrong rule for these shows there."""
        first, *rest = super().lines()
        names = list(self.videos)
        more = f' and {len(names) - 12} more' if len(names) > 12 else ''
        return [first, *([f'videos: {", ".join(names[:12])}{more}'] if names else []), *rest]

    def finish(self, path: Path) -> Annotations:
        """The records as an annotation file at ``path`` holds them; videos without a picture are left out."""
        used = {frame.video.name for frame in self.frames.values()}
        for name in [name for name in self.videos if name not in used]:
            self.skip('video', 'none of its pictures was taken', name)
            self.taken['videos'] -= 1
            gone = self.videos.pop(name)
            left = {number: clip for number, clip in self.clips.items() if clip.video_id != gone.id}
            self.taken['clips'] -= len(self.clips) - len(left)
            self.clips = left
        return Annotations(path, self.info, {video.id: video for video in self.videos.values()}, self.clips,
                           list(self.frames.values()), {tool: tuple(names) for tool, names in self.categories.items()},
                           '')


def _free(wanted: Any, used: set[int]) -> int:
    """The wanted id if it is a number that is free, else the next one; marked as used."""
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted in used:
        wanted = len(used) + 1
        if wanted in used:  # rare; the greatest of all ids for every record would take minutes in a large data set
            wanted = max(used) + 1
    used.add(wanted)
    return wanted


# -- names -----------------------------------------------------------------------------------------------------
class LandmarkNames:
    """Foreign keypoint names to landmark types.

    Args:
        defaults: ``{name: tip | anchor | skip}`` of the format.
        chosen: What the user says, which wins.
    """

    def __init__(self, defaults: Mapping[str, str], chosen: Mapping[str, str]) -> None:
        self.names = {**defaults, **chosen}
        wrong = {name: value for name, value in chosen.items() if value not in (*LANDMARKS, SKIP)}
        if wrong:
            raise UserError(f'landmarks are mapped to {sorted(set(wrong.values()))}', '--landmark',
                            'map each name to tip, anchor or skip')

    def __call__(self, name: str) -> str | None:
        """``tip``, ``anchor``, ``skip``, or ``None`` for a name that nothing is known of."""
        if name in self.names:
            return self.names[name]
        plain = re.sub(r'[^a-z]', '', name.lower())
        words = [word for word in re.split(r'[^a-z]+', re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name).lower()) if word]
        for landmark, forms in _FORMS.items():
            if plain in forms or forms & set(words):
                return landmark
        return None

    def refuse(self, unknown: Iterable[str], where: str | Path) -> None:
        """Raise if there are names that nothing is known of."""
        if unknown := sorted(set(unknown)):
            raise UserError(f'keypoints that are neither tip nor anchor: {list_problems(unknown)}', where,
                            f'say what they are: --landmark {unknown[0]}=tip, =anchor or =skip')


_FORMS = dict(tip={'tip', 'tips', 'tooltip'}, anchor={'anchor', 'toolanchor', 'hinge'}, skip={'contact', 'entry'})


def pack(points: Iterable[tuple[str, float, float, int]]) -> list[list[Point]]:
    """Landmarks (type, x, y, v) of one frame to tools with the slots tip1, tip2, anchor, in the order given.

    A landmark whose slots are taken begins another tool.
    """
    tools: list[list[Point]] = []
    for landmark, x, y, v in points:
        slots = [slot for slot in SLOTS if slot.rstrip('0123456789') == landmark]
        for own in tools:
            free = [slot for slot in slots if slot not in {point.name for point in own}]
            if free:
                own.append(Point(landmark, free[0], x, y, v))
                break
        else:
            tools.append([Point(landmark, slots[0], x, y, v)])
    return tools


def action_of(name: str | None, options: ImportOptions, draft: Draft) -> str | None:
    """A foreign action in our words; :data:`SKIP` where the user leaves it out."""
    if name is None:
        return None
    chosen = options.actions.get(name)
    if chosen is not None:
        return chosen
    plain = _ACTIONS.get(name.strip().lower())
    if plain is None:
        draft.remark(f'action "{name}" is none of {", ".join(TOOL_OF_ACTION)}: kept as it is; '
                     f'--action {name}=NAME renames it, --action {name}=skip leaves it out')
        return name
    return plain


_ACTIONS = {form: action for action, forms in dict(
    clip=('clip', 'clipping', 'clipper'), grasp=('grasp', 'grasping'), dissect=('dissect', 'dissecting', 'dissection'),
).items() for form in forms}
ACTION_OF_TOOL = {tool: action for action, tool in TOOL_OF_ACTION.items()}


# -- values ----------------------------------------------------------------------------------------------------
def number(value: Any) -> float:
    """A finite number; anything else is a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f'{value!r} is no number')
    return float(value)


def whole(value: Any) -> int:
    """A whole number; anything else is a ValueError."""
    if number(value) % 1:
        raise ValueError(f'{value!r} is no whole number')
    return int(value)


def flag(value: Any) -> bool:
    """A truth value, also 0 or 1; anything else is a ValueError."""
    if value not in (True, False):
        raise ValueError(f'{value!r} is neither true nor false')
    return bool(value)
