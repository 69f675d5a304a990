"""What a data set holds: the paper's Table 1 and what else one asks before training (NumPy only)."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import SPLIT_NAMES, Splits
from mmpose_surgical.datasets.splitting import actions_of
from mmpose_surgical.landmarks import ACTIONS


@dataclass(frozen=True)
class Table:
    """A table with a heading; cells are printed as they are."""
    title: str
    columns: list[str]
    rows: list[list[Any]]

    def markdown(self) -> list[str]:
        """Lines of a Markdown table, heading included."""
        text = [[str(cell).replace('|', '\\|') for cell in row] for row in (self.columns, *self.rows)]
        return [f'## {self.title}', '', '| ' + ' | '.join(text[0]) + ' |',
                '| --- |' + ' ---: |' * (len(self.columns) - 1), *('| ' + ' | '.join(row) + ' |' for row in text[1:])]


def tables(annotations: Annotations, splits: Splits) -> list[Table]:
    """Tables of counts; only annotated pictures count."""
    frames = annotations.annotated_frames()
    return [*_by_source(annotations, frames), split_table(annotations, splits), _points(frames), _sizes(frames)]


def _source(frame: Frame) -> str:
    return frame.video.source or '(no source)'


def clips_of(frames: list[Frame]) -> dict[tuple[str, int], set[str]]:
    """Actions of every clip, ``{(video, clip): actions}``; a picture without a clip is one of its own.

    A clip in whose pictures something acts is not idle, whatever its other pictures show.
    """
    found: dict[tuple[str, int], set[str]] = {}
    for frame in frames:
        place = frame.video.name, frame.clip.id if frame.clip else -frame.image_id - 1
        found.setdefault(place, set()).update(actions_of(frame))
    return {place: actions - {'idle'} or actions for place, actions in found.items()}


def _ordered_actions(found: set[str]) -> list[str]:
    return [action for action in (*ACTIONS, *sorted(found - {*ACTIONS, 'idle'}), 'idle') if action in found]


def _by_source(annotations: Annotations, frames: list[Frame]) -> list[Table]:
    """Clips and pictures by action and source (paper, Table 1)."""
    sources = sorted({_source(frame) for frame in frames})
    source_of = {frame.video.name: _source(frame) for frame in frames}
    clips = Counter((action, source_of[video]) for (video, _), actions in clips_of(frames).items()
                    for action in actions)
    pictures = Counter((action, _source(frame)) for frame in frames for action in actions_of(frame))
    number = Counter(source_of.values())
    found = []
    for what, counts, total in (('Clips', clips, len(clips_of(frames))), ('Annotated pictures', pictures, len(frames))):
        rows = [[action, *(counts[action, source] for source in sources),
                 sum(counts[action, source] for source in sources)]
                for action in _ordered_actions({action for action, _ in counts})]
        videos = ['videos', *(number[source] for source in sources), sum(number.values())]
        found.append(Table(f'{what} by action and source ({total} in all)', ['action', *sources, 'total'],
                           [*rows, videos]))
    return found


def split_table(annotations: Annotations, splits: Splits) -> Table:
    """Sizes of the splits and folds, and their shares of every action."""
    actions = _ordered_actions({a for frame in annotations.annotated_frames() for a in actions_of(frame)})
    rows = []
    names = [*SPLIT_NAMES, *(f'fold{k}' for k in range(len(splits.folds)))]
    for name in names:
        frames = annotations.annotated_frames(splits.videos(name))
        clips = clips_of(frames)
        count = Counter(action for actions in clips.values() for action in actions)
        rows.append([name, len({frame.video.name for frame in frames}), len(clips), len(frames),
                     *(f'{count[action]} ({100 * count[action] / max(len(clips), 1):.0f} %)' for action in actions)])
    return Table('Splits: videos, clips, pictures, and clips by action',
                 ['split', 'videos', 'clips', 'pictures', *actions], rows)


def _points(frames: list[Frame]) -> Table:
    acting = [frame for frame in frames if frame.active_tools]
    rows = [['pictures in which nothing acts', f'{len(frames) - len(acting)} '
             f'({100 * (1 - len(acting) / max(len(frames), 1)):.1f} %)'],
            ['pictures with several tools in view', sum(len(frame.tools) > 1 for frame in frames)],
            ['pictures with several acting tools', sum(len(frame.active_tools) > 1 for frame in frames)]]
    for landmark in ('tip', 'anchor'):
        counts = Counter(sum(point.landmark == landmark for tool in frame.active_tools for point in tool.points)
                         for frame in acting)
        hidden = sum(point.v == 1 for frame in acting for tool in frame.active_tools for point in tool.points
                     if point.landmark == landmark)
        rows += [[f'{landmark}s', sum(k * n for k, n in counts.items())],
                 [f'{landmark}s that are hidden (v = 1)', hidden],
                 [f'pictures with 0, 1, 2 ... {landmark}s, where a tool acts',
                  ', '.join(f'{counts[k]}' for k in range(max(counts, default=0) + 1))]]
    return Table('Points', ['what', 'number'], rows)


def _sizes(frames: list[Frame]) -> Table:
    sizes = Counter(f'{frame.width}x{frame.height}' for frame in frames)
    rates = {frame.video.name: f'{frame.video.fps:g}' if frame.video.dense and frame.video.fps else 'single pictures'
             for frame in frames}
    return Table('Picture sizes and frame rates', ['size or rate', 'number'], [
        *([size, f'{count} pictures'] for size, count in sizes.most_common()),
        *([f'{rate} fps' if rate[0].isdigit() else rate, f'{count} videos']
          for rate, count in Counter(rates.values()).most_common())])


def positions(frames: list[Frame], landmark: str) -> dict[str, np.ndarray]:
    """Where a landmark of acting tools lies, by action: (N, 2) in shares of width and height."""
    found: dict[str, list[tuple[float, float]]] = {}
    for frame in frames:
        for tool in frame.active_tools:
            found.setdefault(tool.action or 'unnamed', []).extend(
                ((point.x + 0.5) / frame.width, (point.y + 0.5) / frame.height)
                for point in tool.points if point.landmark == landmark)
    return {action: np.array(xy) for action, xy in found.items() if xy}
