"""The flat table of ground-truth and predicted points that everything is counted from."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mmpose_surgical.datasets.annotations import LANDMARKS
from mmpose_surgical.datasets.records import Frame, Tool
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.matching import to_canvas
from mmpose_surgical.evaluation.predictions import Predictions

CANVAS = (640, 480)
OVERALL, AMBIGUOUS, NOTHING_ACTS, UNNAMED = 'overall', 'ambiguous', 'none', 'unnamed'
RESERVED = {OVERALL, AMBIGUOUS, NOTHING_ACTS}


@dataclass(frozen=True)
class PointTable:
    """Ground-truth and predicted points of the frames that count, on the canvas, in flat arrays.

    ``*_frame`` (N,) indexes ``frames``, ``*_landmark`` (N,) indexes ``landmarks``, ``*_xy`` is (N, 2) canvas
    pixels, ``gt_action`` (N,) is the action of a ground-truth point and ``frame_action`` (F,) the one that an
    unmatched prediction of the frame is counted under, both as indices into ``actions``. ``gt_track`` (N,) is the same
    number for the same landmark of the same tool in all frames of a clip, -1 where two tools cannot be told apart.
    Several training seeds of one method repeat the frames, seed by seed: see :func:`join_seeds`.
    """

    frames: list[Frame]
    landmarks: tuple[str, ...]
    actions: tuple[str, ...]
    frame_action: np.ndarray
    gt_frame: np.ndarray
    gt_landmark: np.ndarray
    gt_action: np.ndarray
    gt_xy: np.ndarray
    gt_track: np.ndarray
    pred_frame: np.ndarray
    pred_landmark: np.ndarray
    pred_xy: np.ndarray
    pred_score: np.ndarray
    ignored: dict[str, int]
    seeds: int = 1

    @cached_property
    def frame_seed(self) -> np.ndarray:
        """(F,) the seed, from 0 on, that predicted in each frame."""
        return np.repeat(np.arange(self.seeds), len(self.frames) // self.seeds)

    @cached_property
    def videos(self) -> list[str]:
        """Names of the videos of the frames, in order of appearance."""
        return list(dict.fromkeys(frame.video.name for frame in self.frames))

    @cached_property
    def frame_video(self) -> np.ndarray:
        """(F,) index into ``videos``."""
        number = {name: i for i, name in enumerate(self.videos)}
        return np.array([number[frame.video.name] for frame in self.frames], dtype=np.int64)

    @property
    def gt_group(self) -> np.ndarray:
        """(N,) one number per frame and landmark: points match within it only."""
        return self.gt_frame * len(self.landmarks) + self.gt_landmark

    @property
    def pred_group(self) -> np.ndarray:
        """(P,) likewise."""
        return self.pred_frame * len(self.landmarks) + self.pred_landmark


def build_table(frames: Sequence[Frame], predictions: Predictions, *,
                canvas: tuple[float, float] | None = CANVAS, visible_only: bool = False,
                complete_only: bool = False, landmarks: Sequence[str] = LANDMARKS,
                known_images: Collection[int] = ()) -> PointTable:
    """Lay out the points of the frames that count; arguments and errors as in
    :func:`~mmpose_surgical.evaluation.evaluator.evaluate`."""
    landmarks = tuple(landmarks)
    counted = [f for f in frames if f.annotated and (not complete_only or _is_complete(f))]
    actions: dict[str, int] = {}
    frame_action = np.zeros(len(counted), dtype=np.int64)
    used: set[str] = set()
    rows: list[tuple[int, int, int]] = []
    xy: list[tuple[float, float]] = []
    tracks: dict[tuple, int] = {}
    track: list[int] = []
    for index, frame in enumerate(counted):
        acting = [(tool, _action(tool, frame)) for tool in frame.active_tools]
        names = {action for _, action in acting}
        used |= names
        name = NOTHING_ACTS if not names else AMBIGUOUS if len(names) > 1 else names.pop()
        frame_action[index] = actions.setdefault(name, len(actions))
        keys = [_tool_key(tool, frame) for tool, _ in acting]
        for (tool, action), key in zip(acting, keys):
            alone = keys.count(key) == 1
            for point in tool.points:
                if point.landmark in landmarks and (point.v == 2 or not visible_only):
                    code = actions.setdefault(action, len(actions))
                    rows.append((index, landmarks.index(point.landmark), code))
                    xy.append((point.x, point.y))
                    track.append(tracks.setdefault((*key, point.name), len(tracks)) if alone else -1)
    if used & RESERVED:
        raise UserError(f'actions are called {sorted(used & RESERVED)}, but these name rows of the result',
                        None, 'rename these actions in the annotations')
    gt_frame, gt_landmark, gt_action = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    size = np.array([(f.width, f.height) for f in counted], dtype=np.float64).reshape(-1, 2)
    predictions, pred_frame, ignored = _place(predictions, frames, counted, landmarks, known_images)
    pred_landmark = np.zeros(len(predictions), dtype=np.int64)
    for code, name in enumerate(landmarks):
        pred_landmark[predictions.landmark == name] = code
    gt_xy = to_canvas(np.array(xy, dtype=np.float64), size[gt_frame], canvas)
    pred_xy = to_canvas(predictions.xy, size[pred_frame], canvas)
    return PointTable(counted, landmarks, tuple(actions), frame_action, gt_frame, gt_landmark, gt_action, gt_xy,
                      np.array(track, dtype=np.int64), pred_frame, pred_landmark, pred_xy, predictions.score, ignored)


def join_seeds(tables: Sequence[PointTable]) -> PointTable:
    """One table of several training seeds of a method: its frames, once per seed, with that seed's predictions.

    Counts of the joined table are sums over the seeds, so that rates are micro averages over seeds and frames.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    size = len(first.frames)

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values] * len(tables))

    def placed(name: str) -> np.ndarray:
        return np.concatenate([getattr(table, name) + number * size for number, table in enumerate(tables)])
    return replace(
        first, frames=first.frames * len(tables), seeds=len(tables), gt_frame=placed('gt_frame'),
        pred_frame=placed('pred_frame'),
        **{name: repeated(getattr(first, name))
           for name in ('frame_action', 'gt_landmark', 'gt_action', 'gt_xy', 'gt_track')},
        **{name: np.concatenate([getattr(table, name) for table in tables])
           for name in ('pred_landmark', 'pred_xy', 'pred_score')},
        ignored={name: sum(table.ignored[name] for table in tables) for name in first.ignored})


def _place(predictions: Predictions, frames: Sequence[Frame], counted: list[Frame],
           landmarks: tuple[str, ...], known_images: Collection[int],
           ) -> tuple[Predictions, np.ndarray, dict[str, int]]:
    """The predictions that count, the (P,) index of each one's frame, and how many were ignored and why."""
    index = {frame.image_id: i for i, frame in enumerate(counted)}
    listed, outside = {f.image_id for f in frames}, set(known_images)
    ids, inverse = np.unique(predictions.image_id, return_inverse=True)
    unknown = [f'image {i}' for i in ids.tolist() if i not in listed and i not in outside]
    if unknown:
        raise UserError(f'{len(unknown)} predicted image id(s) are not in the annotations: '
                        f'{list_problems(unknown)}', 'predictions',
                        'evaluate against the annotation file that they belong to')
    pred_frame = np.array([index.get(i, -1) for i in ids.tolist()], dtype=np.int64)[inverse]
    in_frames = np.array([i in listed for i in ids.tolist()], dtype=bool)[inverse]
    annotated = np.isin(predictions.landmark, landmarks)
    ignored = {'outside_split': int((~in_frames).sum()),
               'frame_does_not_count': int((in_frames & (pred_frame < 0)).sum()),
               'landmark_not_annotated': int(((pred_frame >= 0) & ~annotated).sum())}
    keep = (pred_frame >= 0) & annotated
    return predictions.select(keep), pred_frame[keep], ignored


def _action(tool: Tool, frame: Frame) -> str:
    """The action of an acting tool: its own, else its clip's."""
    return tool.action or (frame.clip.action if frame.clip else None) or UNNAMED


def _tool_key(tool: Tool, frame: Frame) -> tuple:
    """What tells a tool from the others of its clip: its type, and a ``track_id`` attribute where there is one."""
    return frame.video.id, frame.clip and frame.clip.id, tool.tool, tool.attributes.get('track_id')


def _is_complete(frame: Frame) -> bool:
    points = [p for tool in frame.active_tools for p in tool.points]
    return {p.landmark for p in points} >= set(LANDMARKS) and all(p.v == 2 for p in points)
