"""Which clips of a data set a page shows, and which of their frames (no torch in here)."""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmpose_surgical.datasets.problems import Problem
from mmpose_surgical.datasets.records import Annotations, Frame, Video
from mmpose_surgical.datasets.statistics import clips_of
from mmpose_surgical.datasets.windows import window_numbers
from mmpose_surgical.errors import UserError

MAX_FRAMES = 24
"""Frames of a clip beyond which its frames are thinned out; annotated ones are always shown."""

_GOLDEN = 0.618034
"""Multiples of it, taken modulo 1, are spread evenly, however many there are."""

_ABOUT = re.compile(r'(?:annotation -?\d+ \()?(image|clip) (-?\d+)')


@dataclass
class ShownClip:
    """A clip of the data set; or an annotated picture that is in none.

    Args:
        kind: ``clip`` or ``image``.
        id: Of that record.
        frames: Its listed pictures in order of time, at least one.
        actions: What is done in it: that of its acting tools, ``idle`` if nothing acts.
        problems: What is wrong with it.
    """
    kind: str
    id: int
    frames: list[Frame]
    actions: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)

    @property
    def video(self) -> Video:
        return self.frames[0].video


@dataclass(frozen=True)
class Place:
    """A place in the strip of frames of a clip.

    Args:
        number: Of the frame in its video.
        frame: Its record, ``None`` for a neighbour that is not listed.
        window: Frame numbers of its window, oldest first, where it is annotated.
        no_window: Why it has none, in words.
    """
    number: int
    frame: Frame | None = None
    window: tuple[int, ...] = ()
    no_window: str = ''


def group_clips(annotations: Annotations) -> list[ShownClip]:
    """All clips with a listed picture, and annotated pictures without a clip, in file order."""
    groups: dict[tuple[str, int], list[Frame]] = defaultdict(list)
    for frame in annotations.frames:
        if frame.annotated or frame.clip:
            groups[('clip', frame.clip.id) if frame.clip else ('image', frame.image_id)].append(frame)
    clips = []
    for (kind, record_id), frames in groups.items():
        actions = set().union(*clips_of([frame for frame in frames if frame.annotated]).values())
        clips.append(ShownClip(kind, record_id, sorted(frames, key=lambda frame: (frame.frame_id, frame.image_id)),
                               tuple(sorted(actions)) or (frames[0].clip.action or 'unnamed',)))
    return clips


def place_problems(problems: Iterable[Problem], annotations: Annotations, clips: Sequence[ShownClip]) -> list[Problem]:
    """Give each clip its problems; returns those that are about none of them."""
    by_record = {(clip.kind, clip.id): clip for clip in clips}
    by_record |= {('image', frame.image_id): clip for clip in clips for frame in clip.frames}
    rest = []
    for problem in problems:
        clip = by_record.get(record_of(problem))
        (rest if clip is None else clip.problems).append(problem)
    return rest


def record_of(problem: Problem) -> tuple[str, int] | None:
    """``('image', id)`` or ``('clip', id)`` that a problem is about, if it is about one."""
    match = _ABOUT.match(problem.record)
    return (match[1], int(match[2])) if match else None


def choose_clips(clips: Sequence[ShownClip], count: int) -> list[ShownClip]:
    """At most so many clips, the first to be shown first.

    Up to half of them have a problem that matters, so that those are found; videos and, in each, actions take turns.
    """
    by_video: dict[str, list[ShownClip]] = defaultdict(list)
    for index in sorted(range(len(clips)), key=lambda index: index * _GOLDEN % 1):
        by_video[clips[index].video.name].append(clips[index])
    of_video: Counter[str] = Counter()
    of_action: Counter[str] = Counter()

    def take(open_clips: dict[str, list[ShownClip]], limit: int) -> list[ShownClip]:
        taken: list[ShownClip] = []
        while len(taken) < limit and open_clips:
            name = min(open_clips, key=lambda name: of_video[name])
            clip = min(open_clips[name], key=lambda clip: min(of_action[action] for action in clip.actions))
            open_clips[name].remove(clip)
            if not open_clips[name]:
                del open_clips[name]
            of_video[name] += 1
            of_action.update(clip.actions)
            taken.append(clip)
        return taken
    bad, good = ({name: found for name, own in by_video.items()
                  if (found := [clip for clip in own if _matters(clip) == wanted])} for wanted in (True, False))
    first = take(bad, (count + 1) // 2)
    for name, left in bad.items():
        good[name] = left + good.get(name, [])
    return first + take(good, count - len(first))


def _matters(clip: ShownClip) -> bool:
    return any(not problem.harmless for problem in clip.problems)


def places_of(clip: ShownClip, root: Path, num_frames: int, spacing: float) -> list[Place]:
    """The strip of a clip, in order of time.

    It holds all annotated frames; and, up to :data:`MAX_FRAMES`, those of their windows, then as many of the others as
    can be reached, evenly spaced.

    Args:
        clip: The clip.
        root: Folder of the data set.
        num_frames: T of the windows.
        spacing: Seconds between their frames.
    """
    listed: dict[int, list[Place]] = defaultdict(list)
    for frame in clip.frames:
        window, no_window = (), ''
        if frame.annotated:
            try:
                window = tuple(window_numbers(frame, root, num_frames, spacing))
            except UserError as error:
                no_window = error.what
        listed[frame.frame_id].append(Place(frame.frame_id, frame, window, no_window))
    numbers = {number for number, places in listed.items() if any(place.frame.annotated for place in places)}
    windows = [number for places in listed.values() for place in places for number in place.window]
    for number in (*windows, *_others(clip, listed, MAX_FRAMES - len(numbers | set(windows)))):
        if len(numbers) < MAX_FRAMES:
            numbers.add(number)
    return [place for number in sorted(numbers) for place in listed.get(number, [Place(number)])]


def _others(clip: ShownClip, listed: Iterable[int], count: int) -> list[int]:
    """Frame numbers of a clip, ``count`` or all of them where they are not many more, evenly spaced."""
    record, video = clip.frames[0].clip, clip.video
    reachable = record is not None and video.dense and (
        video.frame_pattern or video.video_file or record.video_file)
    if not reachable:
        return sorted(listed)
    first, last = record.start_frame, record.end_frame
    if last - first < MAX_FRAMES:
        return list(range(first, last + 1))
    return [first + (last - first) * i // max(count - 1, 1) for i in range(count)]
