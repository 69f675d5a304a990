"""Test frames with what each method made of them, side by side, in the manner of the paper's Figure 2."""
from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.evaluator import apply_threshold, build_table
from mmpose_surgical.evaluation.matching import match_groups
from mmpose_surgical.evaluation.predictions import Predictions, read_predictions
from mmpose_surgical.evaluation.summary import provenance
from mmpose_surgical.landmarks import LANDMARKS, SLOTS, landmark_of
from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.priors.store import MANIFEST, RecordStore
from mmpose_surgical.visualization.overlays import COLOURS, draw_marks
from mmpose_surgical.visualization.report.comparison import Comparison
from mmpose_surgical.visualization.report.figures import prior_folder
from mmpose_surgical.visualization.report.runs import HEATMAPS, Run, predictions_file

KINDS = ('chosen', 'disputed', 'worst', 'best')

NOTICEABLE = 0.1
"""Severity from which on a condition of a picture is named."""

_WIDTH = 400
_QUALITY = 82
_NO_POINTS = Predictions.from_records([])


@dataclass(frozen=True)
class Panel:
    """One picture of the gallery; ``method`` is ``None`` for the frame itself."""
    method: int | None
    caption: str
    alt: str
    jpeg: bytes

    @property
    def source(self) -> str:
        """The picture as an address that needs no file."""
        return 'data:image/jpeg;base64,' + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class Shown:
    """A frame of the gallery with what it can be filtered by."""
    kind: str
    title: str
    action: str
    source: str
    conditions: tuple[str, ...]
    panels: tuple[Panel, ...]

    @property
    def size(self) -> int:
        """Bytes in the page, about."""
        return sum(len(panel.jpeg) * 4 // 3 + 400 for panel in self.panels)


@dataclass(frozen=True)
class Gallery:
    """Frames, what a reader must know about them, and how many the size of the page left out."""
    shown: tuple[Shown, ...]
    notes: tuple[str, ...]
    left_out: int

    def values(self, name: str) -> list[str]:
        """What there is to filter by: ``kind``, ``action``, ``source`` or ``conditions``."""
        found: set[str] = set()
        for item in self.shown:
            value = getattr(item, name)
            found |= {value} if isinstance(value, str) else set(value)
        return sorted(found)


class _Source:
    """What one method has to show: the points that count, heatmaps and priors of its first run."""

    def __init__(self, index: int, name: str, run: Run, frames: Sequence[Frame], known: Mapping[int, Frame]) -> None:
        self.index, self.name, self.run = index, name, run
        path = predictions_file(run)
        self.points = None
        if path.is_file():
            points = read_predictions(path, known_images=known)
            self.points = apply_threshold(points, run.meta['threshold'])
        self.heatmaps = _open(heatmap_folder(run))
        self.priors = _open(prior_folder(run))
        self.scores = {} if self.points is None else frame_scores(frames, self.points, run.meta, known)

    def of(self, frame: Frame) -> Predictions:
        return self.points.select(self.points.image_id == frame.image_id)

    def prior(self, frame: Frame) -> MaskPrior | None:
        if self.priors is None or not self.priors.has(frame.image_id):
            return None
        return MaskPrior.from_record(*self.priors.get(frame.image_id))

    def heatmap(self, frame: Frame) -> tuple[np.ndarray, Mapping[str, Any]] | None:
        if self.heatmaps is None or not self.heatmaps.has(frame.image_id):
            return None
        arrays, scalars = self.heatmaps.get(frame.image_id)
        return arrays['heatmaps'].astype(np.float32), scalars


def _open(folder: Path | None) -> RecordStore | None:
    return RecordStore(folder) if folder is not None and (folder / MANIFEST).is_file() else None


def heatmap_folder(run: Run) -> Path | None:
    """The store of a run's own heatmaps: dumped by ``tools/test.py``, or a coarse network's for its refiners."""
    is_coarse = run.folder == run.trained_in and run.fact_folder('coarse') is None
    # Where tools/test.py leaves them by default.
    tested = run.folder / f'test-{run.meta["data"]["name"]}-{run.meta.get("split")}'
    places = [run.folder / HEATMAPS, tested / HEATMAPS, *([run.folder / 'predictions'] if is_coarse else [])]
    return next((place for place in places if (place / MANIFEST).is_file()), None)


def frame_scores(frames: Sequence[Frame], points: Predictions, meta: Mapping[str, Any],
                 known: Mapping[int, Frame]) -> dict[int, float]:
    """F1 of each frame by the rules of the run, to choose frames by; a frame with nothing to find or found has none."""
    table = build_table(frames, points, canvas=meta['canvas'] and tuple(meta['canvas']),
                        visible_only=bool(meta.get('visible_only')), complete_only=bool(meta.get('complete_only')),
                        known_images=known)
    matches = match_groups(table.gt_xy, table.gt_group, table.pred_xy, table.pred_group, meta['tolerance'],
                           meta['protocol'])
    n = len(table.frames)
    right = np.bincount(table.gt_frame[matches.gt], minlength=n)
    total = np.bincount(table.gt_frame, minlength=n) + np.bincount(table.pred_frame, minlength=n)
    return {frame.image_id: 2 * float(right[i]) / float(total[i]) for i, frame in enumerate(table.frames) if total[i]}


def choose_frames(frames: Sequence[Frame], scores: Sequence[Mapping[int, float]], count: int,
                  chosen: Iterable[int] = ()) -> list[tuple[str, Frame]]:
    """Frames to show, at most one per clip and kind in turn, so that a shorter list still has all kinds.

    Args:
        frames: Annotated frames of the split.
        scores: Per method, the F1 of each frame; where a method has none it found nothing and nothing was there: 1.
        count: How many of each kind: disputed (greatest difference between methods), worst and best (of the mean).
        chosen: Image ids that are shown first.
    """
    values = {f.image_id: [s.get(f.image_id, 1.) for s in scores] for f in frames
              if any(f.image_id in s for s in scores)}
    by_id = {frame.image_id: frame for frame in frames}
    keys = {'disputed': lambda v: min(v) - max(v), 'worst': lambda v: sum(v), 'best': lambda v: -sum(v)}
    taken = {_clip(by_id[i]) for i in chosen}
    lists: dict[str, list[Frame]] = {'chosen': [by_id[i] for i in chosen]}
    for kind, key in keys.items():
        lists[kind] = []
        for image_id in _spread(values, key, by_id):
            frame = by_id[image_id]
            agreed = kind == 'disputed' and not key(values[image_id])
            if not agreed and _clip(frame) not in taken and len(lists[kind]) < count:
                taken.add(_clip(frame))
                lists[kind].append(frame)
    longest = max(map(len, lists.values()), default=0)
    return [(kind, lists[kind][i]) for i in range(longest) for kind in KINDS if i < len(lists[kind])]


def _clip(frame: Frame) -> tuple[int, int]:
    return frame.video.id, frame.clip.id if frame.clip else -frame.image_id


def _spread(values: Mapping[int, list[float]], key: Any, by_id: Mapping[int, Frame]) -> list[int]:
    """Image ids by their key; among equals, frames where something acts come first, and videos take turns."""
    turns: Counter = Counter()
    order = {}
    for image_id, v in values.items():
        frame = by_id[image_id]
        rank = (round(key(v), 9), not frame.active_tools)
        order[image_id] = (*rank, turns[rank, frame.video.id], image_id)
        turns[rank, frame.video.id] += 1
    return sorted(order, key=order.get)


def conditions_of(frame: Frame) -> tuple[str, ...]:
    """What a picture's further attributes say, as words: names of what is present, or ``name: value``."""
    words = []
    for name, value in frame.extra.items():
        if isinstance(value, Mapping):
            words += filter(None, (_word(str(k), v) for k, v in value.items()))
        elif isinstance(value, list):
            words += [str(v) for v in value if isinstance(v, str)]
        elif isinstance(value, str):
            words.append(f'{name}: {value}')
    return tuple(words) or ('none',)


def _word(name: str, value: Any) -> str | None:
    """A fraction is a severity, named where it can be seen; a count stands with its name."""
    if isinstance(value, float):
        return name if value >= NOTICEABLE else None
    return f'{name}: {value}' if value and not isinstance(value, bool) else name if value else None


def make_gallery(comparison: Comparison, annotations: Annotations, count: int, chosen: Sequence[int],
                 budget: int) -> Gallery:
    """Draw the gallery of a comparison.

    Args:
        comparison: Its methods; of several seeds the first is shown.
        annotations: The data set that they were evaluated on.
        count: Frames of each kind.
        chosen: Image ids to show besides.
        budget: Bytes that it may take in the page.

    Raises:
        UserError: A chosen frame is not among those that count.
    """
    frames = frames_of_split(annotations, comparison.meta.get('split') or 'all')
    absent = sorted(set(chosen) - {frame.image_id for frame in frames})
    if absent:
        raise UserError(f'these frames are not in the evaluated split: {absent}', '--frames',
                        f'give image ids of {annotations.path.name}')
    sources = [_Source(i, method.name, method.runs[0], frames, annotations.by_id)
               for i, method in enumerate(comparison.methods)]
    notes = [f'{s.name}: no predictions in its folder, so it is not shown' for s in sources if s.points is None]
    sources = [source for source in sources if source.points is not None]
    without = [s.name for s in sources if s.heatmaps is None]
    if without:
        notes.append(f'No heatmaps are stored for {", ".join(without)}: the points are shown alone. tools/test.py '
                     '--heatmaps stores them')
    seeds = [f'{s.name}: seed {s.run.seed}' for s in sources if len(comparison.methods[s.index].runs) > 1]
    if seeds:
        notes.append('One run of each method is shown (' + ', '.join(seeds) + ')')
    picked = choose_frames(frames, [s.scores for s in sources], count, chosen) if sources else []
    shown: list[Shown] = []
    used = 0
    for kind, frame in picked:
        item = _draw(kind, frame, annotations, sources)
        if used + item.size > budget:
            break
        used += item.size
        shown.append(item)
    shown_order = sorted(shown, key=lambda item: KINDS.index(item.kind))
    return Gallery(tuple(shown_order), tuple(notes), len(picked) - len(shown))


def _draw(kind: str, frame: Frame, annotations: Annotations, sources: Sequence[_Source]) -> Shown:
    picture = frame.file(annotations.root).read()
    priors = {source.index: source.prior(frame) for source in sources}
    by_backend: dict[str, MaskPrior] = {}
    for source in sources:
        if priors[source.index] is not None:
            by_backend.setdefault(provenance(source.run.meta)['prior'], priors[source.index])
    actions = sorted({tool.action or '?' for tool in frame.active_tools}) or ['nothing acts']
    title = f'{frame.video.name} #{frame.frame_id} (image {frame.image_id})'
    panels = [Panel(None, 'Picture, ground truth' + ''.join(
        f', prior by {name}' + ('' if prior.valid else ' (failed)') for name, prior in list(by_backend.items())[:1]),
        f'Frame {title} with ground truth', _jpeg(draw_marks(
            picture, frame, _NO_POINTS, next(iter(by_backend.values()), None))))]
    for source in sources:
        points, heat = source.of(frame), source.heatmap(frame)
        ground = picture if heat is None else lay_heatmap(picture, *heat)
        score = source.scores.get(frame.image_id)
        told = 'nothing to find, nothing found' if score is None else f'F1 {100 * score:.0f} %'
        found = ', '.join(f'{n} {name}' for name, n in sorted(Counter(points.landmark.tolist()).items())) or 'no point'
        panels.append(Panel(source.index, f'{source.name}: {told}' + (', points only' if heat is None else ''),
                            f'{source.name} on frame {title}: {found}, {told}',
                            _jpeg(draw_marks(ground, frame, points, priors[source.index]))))
    return Shown(kind, title, ', '.join(actions), frame.video.source or 'unnamed', conditions_of(frame), tuple(panels))


def lay_heatmap(picture: np.ndarray, heatmaps: np.ndarray, geometry: Mapping[str, Any]) -> np.ndarray:
    """Heatmaps in the colours of their landmarks over a darkened picture.

    Args:
        picture: (H, W, 3) BGR uint8.
        heatmaps: (C, h, w), peaks near 1, of the model's input; channels that are neither the landmarks nor the slots
            of one tool are white.
        geometry: ``input_center`` and ``input_scale`` of that input in the picture, in pixels.

    Returns:
        (H, W, 3) BGR uint8.
    """
    height, width = picture.shape[:2]
    rows, columns = heatmaps.shape[1:]
    (cx, cy), (sx, sy) = geometry['input_center'], geometry['input_scale']
    # A cell's index is its place, as the codec decodes it.
    to_picture = np.array([[sx / columns, 0, cx - sx / 2], [0, sy / rows, cy - sy / 2]])
    names = {len(LANDMARKS): LANDMARKS, len(SLOTS): tuple(map(landmark_of, SLOTS))}.get(len(heatmaps))
    layers = defaultdict(lambda: np.zeros((height, width), np.float32))
    for channel, heatmap in enumerate(heatmaps):
        colour = COLOURS[names[channel]] if names else (255, 255, 255)
        warped = cv2.warpAffine(np.clip(heatmap, 0, 1), to_picture, (width, height), flags=cv2.INTER_LINEAR)
        layers[colour] = np.maximum(layers[colour], warped)
    laid = picture.astype(np.float32) * 0.55
    for colour, heat in layers.items():
        share = 0.85 * heat[..., None]
        laid = laid * (1 - share) + np.array(colour, np.float32) * share
    return laid.round().astype(np.uint8)


def _jpeg(picture: np.ndarray) -> bytes:
    height = round(picture.shape[0] * _WIDTH / picture.shape[1])
    small = cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
