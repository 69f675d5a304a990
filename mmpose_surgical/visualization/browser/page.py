"""From a data set to one page of its clips that needs no network and no other file."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from mmpose_surgical.datasets.annotations import read_annotations
from mmpose_surgical.datasets.problems import KINDS, Problem
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import SPLIT_NAMES, Splits, load_splits
from mmpose_surgical.datasets.validation import validate
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.files import write_text
from mmpose_surgical.visualization.browser.clips import (
    Place,
    ShownClip,
    choose_clips,
    group_clips,
    place_problems,
    places_of,
    record_of,
)
from mmpose_surgical.visualization.browser.pictures import Pictures, outline, without_root, words_of
from mmpose_surgical.visualization.overlays import COLOURS

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

LISTED = 100
"""Problems that are listed in one place; the others are counted."""


@dataclass(frozen=True)
class Options:
    """What a page shows.

    Args:
        splits: Only videos of these splits or folds; empty: all.
        videos: Only videos of these names; empty: all.
        clips: At most so many clips.
        width: Pixels of embedded pictures.
        limit: Greatest size of the page in bytes.
        num_frames: T of the windows that are marked.
        spacing: Seconds between their frames.
        validate: Look for problems.
    """
    splits: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()
    clips: int = 60
    width: int = 320
    limit: float = 20e6
    num_frames: int = 5
    spacing: float = 0.12
    validate: bool = True


@dataclass(frozen=True)
class Written:
    """What came to be on a page, and what did not."""
    clips: int
    total: int
    pictures: int
    bytes: int
    notes: tuple[str, ...]
    """What was left out and why, in sentences without a full stop."""


def write_browser(root: str | Path, out: Path, options: Options | None = None,
                  progress: Callable[[int, int], None] | None = None) -> Written:
    """Write the page.

    Args:
        root: Folder of the data set.
        out: The page.
        options: What it shows.
        progress: Called with clips that are drawn and their number.

    Raises:
        UserError: There is no annotation file, no such split or video, no clip to show, or not one clip fits.
    """
    options = options or Options()
    gathered = _Gathered(Path(root), options)
    environment = _environment()
    page = environment.get_template('browse.html.j2')
    style, script = _source(environment, 'report.css', 'browse.css'), _source(environment, 'browse.js')

    def render() -> str:
        text = page.render(gathered.context(), style=style, script=script, today=date.today().isoformat())
        return text.encode(errors='replace').decode()  # half of a surrogate pair in a name is no UTF-8
    bare = len(render().encode())
    for number, clip in enumerate(gathered.chosen, 1):
        gathered.draw(clip)
        if progress:
            progress(number, len(gathered.chosen))
        if bare + gathered.size > options.limit:
            break
    text = render()
    while gathered.drawn and len(text.encode()) > options.limit:
        gathered.drop_last()
        text = render()
    if not gathered.drawn:
        raise UserError(f'not one clip fits into {options.limit / 1e6:g} MB', out,
                        'allow more with --max-mb, or make pictures smaller with --width')
    write_text(out, text)
    return Written(len(gathered.drawn), len(gathered.clips), len(gathered.pictures.addresses), len(text.encode()),
                   tuple(gathered.notes()))


class _Gathered:
    """What the page shows, clip by clip."""

    def __init__(self, root: Path, options: Options) -> None:
        self.options = options
        self.annotations, problems = read_annotations(root)
        self.root = self.annotations.root
        self.splits, names = _splits(self.annotations, options)
        if options.validate:
            problems = validate(self.root, decode=False, num_frames=options.num_frames,
                                spacing=options.spacing).problems
        clips = group_clips(self.annotations)
        self.problems = place_problems(problems, self.annotations, clips)
        self.clips = [clip for clip in clips if names is None or clip.video.name in names]
        if not self.clips:
            raise UserError('there is no clip and no annotated picture to show', self.annotations.path,
                            'check the data set (tools/data.py validate), --split and --videos')
        self.chosen = choose_clips(self.clips, options.clips)
        self.pictures = Pictures(self.root, options.width)
        self.drawn: list[tuple[ShownClip, dict[str, Any], int]] = []
        """Clips with what the page says of them, and the number of pictures before them."""
        self.size = 0
        """Bytes in the page, about."""

    def draw(self, clip: ShownClip) -> None:
        """Add a clip to the page."""
        before, record = len(self.pictures.addresses), clip.frames[0].clip
        places = places_of(clip, self.root, self.options.num_frames, self.options.spacing)
        told = dict(
            kind=clip.kind, id=clip.id, video=clip.video.name, source=clip.video.source or 'unnamed',
            split=self._split(clip.video.name), actions=list(clip.actions), fps=clip.video.fps,
            dense=clip.video.dense, annotated=sum(frame.annotated for frame in clip.frames),
            first=record and record.start_frame, last=record and record.end_frame,
            frames=[self._place(clip, place) for place in places],
            problems=[self._problem(problem) for problem in clip.problems[:LISTED]],
            more_problems=len(clip.problems[LISTED:]))
        self.drawn.append((clip, told, before))
        self.size += len(_json(told)) + sum(len(address) + 3 for address in self.pictures.addresses[before:])

    def drop_last(self) -> None:
        """Take the last clip out again."""
        self.pictures.forget(self.drawn.pop()[2])

    def context(self) -> dict[str, Any]:
        """What the template is filled with."""
        told = [told for clip, told, _ in self._in_order()]
        rest = [*self.problems, *(problem for clip in self._left_out() for problem in clip.problems)]
        return dict(
            name=self.root.resolve().name, synthetic=self.annotations.synthetic, options=self.options,
            total=len(self.clips), annotated=sum(clip['annotated'] for clip in told), notes=list(self.notes()),
            problems=[self._problem(problem) for problem in rest[:LISTED]], more_problems=len(rest[LISTED:]),
            grave=any(not problem.harmless for problem in rest),
            values={name: sorted({value for clip in told for value in (
                clip[name] if isinstance(clip[name], list) else [clip[name]])})
                for name in ('actions', 'source', 'split')},
            colours={name: '#{2:02x}{1:02x}{0:02x}'.format(*bgr) for name, bgr in COLOURS.items()},
            data=dict(pictures=self.pictures.addresses, clips=told, spacing=self.options.spacing))

    def notes(self) -> Iterator[str]:
        """What is not on the page and why."""
        drawn, chosen, total = len(self.drawn), len(self.chosen), len(self.clips)
        if chosen < total:
            yield f'{total - chosen} of {total} clips are left out: at most {chosen} were asked for (--clips)'
        if drawn < chosen:
            yield (f'{chosen - drawn} of {chosen} clips are left out to keep the page below '
                   f'{self.options.limit / 1e6:g} MB (--max-mb)')
        if not self.options.validate:
            yield 'problems were not looked for (--no-validate)'

    def _in_order(self) -> list[tuple[ShownClip, dict[str, Any], int]]:
        place = {id(clip): index for index, clip in enumerate(self.clips)}
        return sorted(self.drawn, key=lambda drawn: place[id(drawn[0])])

    def _left_out(self) -> list[ShownClip]:
        there = {id(clip) for clip, _, _ in self.drawn}
        return [clip for clip in self.clips if id(clip) not in there]

    def _split(self, video: str) -> str:
        return next((name for name in SPLIT_NAMES if self.splits and video in self.splits.videos(name)), 'none')

    def _place(self, clip: ShownClip, place: Place) -> dict[str, Any]:
        """One frame of a clip, as the page draws it."""
        frame, errors = place.frame, []
        picture, size = None, (clip.frames[0].width, clip.frames[0].height)
        try:
            picture, own_size = self.pictures.add(clip.frames[0], place)
            size = (frame.width, frame.height) if frame else own_size
            if size != own_size:
                errors.append(f'the picture is {own_size[0]}x{own_size[1]}, its record says {size[0]}x{size[1]}')
        except UserError as error:
            errors.append(words_of(error, self.root))
        told = dict(number=place.number, picture=picture, size=list(size))
        if frame is not None:
            tools = []
            for tool in frame.tools:
                path = ''
                try:
                    path = outline(tool, frame)
                except UserError as error:
                    errors.append(words_of(error, self.root))
                tools.append(dict(tool=tool.tool, action=tool.action, active=tool.active, path=path, points=[
                    [point.name, point.landmark, round(point.x, 2), round(point.y, 2), point.v]
                    for point in tool.points]))
            told |= dict(image=frame.image_id, annotated=frame.annotated, tools=tools, about=_about(frame),
                         window=list(place.window), no_window=place.no_window)
        return told | dict(errors=errors)

    def _problem(self, problem: Problem) -> dict[str, Any]:
        """A problem in words, with the number of the frame that it is about, if it is about one."""
        kind, record = KINDS[problem.kind], record_of(problem)
        frame = self.annotations.by_id.get(record[1]) if record and record[0] == 'image' else None
        where = problem.record or without_root(problem.file, self.root)
        return dict(title=kind.title, where=where, what=without_root(problem.what, self.root), fix=kind.fix,
                    harmless=kind.harmless, frame=None if frame is None else frame.frame_id)


def _splits(annotations: Annotations, options: Options) -> tuple[Splits | None, set[str] | None]:
    """The splits, ``None`` if their file is damaged, and the names of the videos to show, ``None`` for all.

    Raises:
        UserError: A split is asked for that cannot be told, or an unknown video.
    """
    try:
        splits = load_splits(annotations.root, annotations)
    except UserError:
        if options.splits:
            raise
        splits = None  # one of the problems
    names = {frame.video.name for frame in annotations.frames}
    if unknown := sorted(set(options.videos) - names):
        raise UserError(f'unknown videos, or ones without a picture: {list_problems(unknown)}', annotations.path,
                        'name videos as "videos" does')
    if not (options.splits or options.videos):
        return splits, None
    if options.splits:
        names &= {video for name in options.splits for video in splits.videos(name)}
    return splits, names & set(options.videos) if options.videos else names


def _about(frame: Frame) -> str:
    """Further attributes of a picture in words."""
    words = []
    for name, value in frame.attributes.items():
        values = value if isinstance(value, list) else [value]
        words.append(f'{name} ' + ', '.join(f'{v:.3g}' if isinstance(v, float) else str(v) for v in values))
    return shorten('; '.join(words), 400)


def _json(value: Any) -> str:
    from jinja2.utils import htmlsafe_json_dumps
    return htmlsafe_json_dumps(value)


def _environment() -> Environment:
    """Templates of this page, and of the report, whose style it shares."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    loaders = [PackageLoader(f'mmpose_surgical.visualization.{name}') for name in ('browser', 'report')]
    return Environment(loader=ChoiceLoader(loaders), autoescape=True, trim_blocks=True, lstrip_blocks=True,
                       undefined=StrictUndefined)


def _source(environment: Environment, *names: str) -> Markup:
    """Styles or scripts, which go into the page as they are."""
    from markupsafe import Markup
    return Markup('').join(Markup(environment.loader.get_source(environment, name)[0]) for name in names)
