"""Score thresholds, chosen on validation data by one rule for all methods.

The rule: per landmark, the threshold of greatest micro F1; of equally good ones, the highest. The sweep is
exact: it visits every distinct score and matches anew at each.
"""
from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.datasets.annotations import LANDMARKS
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.evaluator import TOLERANCE
from mmpose_surgical.evaluation.matching import Protocol, match_groups
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.evaluation.table import CANVAS, build_table
from mmpose_surgical.files import read_json, write_json

THIS_DATA = 'this data'
RULE = 'highest score threshold of greatest micro F1, over all distinct scores'


def choose_thresholds(frames: Sequence[Frame], predictions: Predictions, *, tolerance: float = TOLERANCE,
                      canvas: tuple[float, float] | None = CANVAS, visible_only: bool = False,
                      complete_only: bool = False, protocol: Protocol = 'max_pairs',
                      landmarks: Sequence[str] = LANDMARKS, known_images: Collection[int] = (),
                      source: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Choose the score threshold of each landmark.

    Args:
        frames: frames of the validation split.
        predictions: all points of the method on them, without a threshold.
        tolerance, canvas, visible_only, complete_only, protocol, landmarks, known_images: as in
            :class:`~mmpose_surgical.evaluation.evaluator.Rules`.
        source: what is known of the data (``{'data': {name, sha256, synthetic}, 'split': ...}``), for the
            record.

    Returns:
        ``{landmark: threshold, ..., 'meta': {rule, f1, frames, videos, ...}}``. A point counts if its score is at
        least the threshold. A landmark without any prediction gets ``None``: no threshold.
    """
    table = build_table(frames, predictions, canvas=canvas, visible_only=visible_only, complete_only=complete_only,
                        landmarks=landmarks, known_images=known_images)
    chosen: dict[str, Any] = {}
    f1: dict[str, float | None] = {}
    for k, landmark in enumerate(landmarks):
        gt, pred = table.gt_landmark == k, table.pred_landmark == k
        chosen[landmark], f1[landmark] = _best(
            table.gt_xy[gt], table.gt_frame[gt], table.pred_xy[pred], table.pred_frame[pred],
            table.pred_score[pred], tolerance, protocol)
    chosen['meta'] = {'rule': RULE, 'f1': f1, 'frames': len(table.frames),
                      'videos': sorted({frame.video.name for frame in frames}), 'tolerance': tolerance,
                      'canvas': None if canvas is None else list(canvas), 'protocol': protocol,
                      'visible_only': visible_only, 'complete_only': complete_only, **(source or {})}
    return chosen


def _best(gt: np.ndarray, gt_frame: np.ndarray, pred: np.ndarray, pred_frame: np.ndarray, score: np.ndarray,
          tolerance: float, protocol: Protocol) -> tuple[float | None, float | None]:
    """The threshold of greatest F1 and that F1, for the points of one landmark."""
    if not len(score):
        return None, 0.0 if len(gt) else None
    threshold, tp, kept = sweep(gt, gt_frame, pred, pred_frame, score, tolerance, protocol)
    f1 = 2 * tp / (len(gt) + kept)
    best = np.argmax(f1)
    return float(threshold[best]), float(f1[best])


def sweep(gt: np.ndarray, gt_frame: np.ndarray, pred: np.ndarray, pred_frame: np.ndarray, score: np.ndarray,
          tolerance: float, protocol: Protocol) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every distinct score as a threshold, falling, with the true positives and the points kept at each, all (T,).

    Args:
        gt: (N, 2) ground-truth points of one landmark type.
        gt_frame: (N,) frame of each.
        pred: (P, 2) predicted points.
        pred_frame: (P,) likewise.
        score: (P,) their scores.
        tolerance, protocol: as in :func:`~mmpose_surgical.evaluation.matching.match_points`.
    """
    gain = _true_positives_gained(gt, gt_frame, pred, pred_frame, score, tolerance, protocol)
    order = np.argsort(-score, kind='stable')
    # A threshold keeps all points of equal score: only the last of each run is a choice.
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)) if len(order) else order
    return score[order][last], np.cumsum(gain[order])[last], last + 1


def _true_positives_gained(gt: np.ndarray, gt_frame: np.ndarray, pred: np.ndarray, pred_frame: np.ndarray,
                           score: np.ndarray, tolerance: float, protocol: Protocol) -> np.ndarray:
    """(P,) change of its frame's number of pairs when each point joins the better-scored ones of the frame.

    A falling threshold adds the points of a frame in this order, so the sums of these changes are the true
    positives at every threshold, for a matching that is solved anew at each.
    """
    gain = np.zeros(len(score), dtype=np.int64)
    order = np.lexsort((-score, pred_frame))
    n_frames = 1 + max(gt_frame.max(initial=-1), pred_frame.max(initial=-1))
    per_frame = np.bincount(pred_frame, minlength=n_frames)
    rank = np.empty(len(score), dtype=np.int64)
    rank[order] = np.arange(len(score)) - (np.cumsum(per_frame) - per_frame)[pred_frame[order]]
    before = np.zeros(n_frames, dtype=np.int64)
    for k in range(int(per_frame.max(initial=0))):
        growing = per_frame > k
        these_gt, these = growing[gt_frame], np.flatnonzero(growing[pred_frame] & (rank <= k))
        matches = match_groups(gt[these_gt], gt_frame[these_gt], pred[these], pred_frame[these], tolerance,
                               protocol)
        after = np.bincount(gt_frame[these_gt][matches.gt], minlength=n_frames)
        newest = np.flatnonzero(rank == k)
        gain[newest] = (after - before)[pred_frame[newest]]
        before = after
    return gain


def write_thresholds(path: str | Path, thresholds: Mapping[str, Any]) -> None:
    """Write the result of :func:`choose_thresholds` as JSON, whole or not at all."""
    write_json(path, thresholds)


def read_thresholds(path: str | Path) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Read a thresholds file, or the metrics file of an evaluation that chose or used thresholds.

    Returns:
        Thresholds by landmark, and the ``meta`` that says how they were found; of a metrics file only where.

    Raises:
        UserError: the file is missing or damaged, or has no thresholds.
    """
    path = Path(path)
    fix = 'write {"tip": 0.3, "anchor": 0.2, "meta": {...}}, or evaluate the validation split first'
    data = read_json(path, fix)
    if isinstance(data, dict) and 'results' in data:
        data = _thresholds_of_metrics(data, path)
    meta = data.pop('meta', {}) if isinstance(data, dict) else None
    if not _is_origin(meta) or not data or not all(
            k in LANDMARKS and (v is None or type(v) in (int, float) and abs(v) <= sys.float_info.max)
            for k, v in data.items()):
        raise UserError('thresholds file is not {landmark: number, "meta": {...}}', path, fix)
    return data, meta


def _is_origin(meta: Any) -> bool:
    """Whether a record says where thresholds were found, as far as it says anything, in the types of one."""
    if not isinstance(meta, dict):
        return False
    data, split, videos = meta.get('data') or {}, meta.get('split') or '', meta.get('videos') or []
    return (isinstance(data, dict) and isinstance(split, str) and isinstance(videos, list)
            and all(isinstance(name, str) for name in videos))


def _thresholds_of_metrics(metrics: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a thresholds file would say, from a metrics file."""
    meta = metrics.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    values, origin = meta.get('threshold'), meta.get('threshold_from')
    if not isinstance(values, float | int | dict):
        raise UserError('the metrics file has not one threshold per landmark', path,
                        'evaluate the validation split of one run with --score-thr best --out FILE')
    if not isinstance(values, dict):
        values = dict.fromkeys(LANDMARKS, values)
    source = meta if origin == THIS_DATA else origin if isinstance(origin, dict) else {}
    found = {key: source.get(key) for key in ('split', 'data', 'videos')}
    if origin == THIS_DATA:
        found['videos'] = sorted(metrics['per_video']) if isinstance(metrics.get('per_video'), dict) else None
    return {**values, 'meta': found}


def refuse_seen_videos(path: str | Path, meta: Mapping[str, Any], annotations: Annotations,
                       frames: Sequence[Frame]) -> None:
    """Refuse a threshold that was chosen on videos that it is to be reported on.

    Args:
        path: where the threshold was read from.
        meta: its record, of :func:`read_thresholds`; one that does not say where it was chosen passes.
        annotations: the data that is reported on.
        frames: the frames of it that count.

    Raises:
        UserError: the same annotation file, or one in a folder of the same name, and a split that shares a video with
            ``frames``. Videos of other data sets may have the same names and be others.
    """
    data, split, videos = meta.get('data') or {}, meta.get('split'), meta.get('videos')
    if data.get('sha256') == annotations.sha256 and not videos:
        videos = [f.video.name for f in (annotations.frames if split is None else frames_of_split(annotations, split))]
    same_data = data.get('sha256') == annotations.sha256 or data.get('name') == annotations.path.resolve().parent.name
    chosen_on = set(videos or ()) if same_data else set()
    shared = sorted(chosen_on & {f.video.name for f in frames})
    if shared:
        raise UserError(f'this threshold was chosen on {"all videos" if split is None else f"split {split}"}, of which '
                        f'{len(shared)} video(s) are reported here: {list_problems(shared, 3)}', path,
                        'choose it on other videos: --split val --score-thr best --out FILE')


def threshold_source(path: str | Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a metrics file records about thresholds from a file: its name, and the data behind it."""
    return {'file': Path(path).name, **{key: meta.get(key) for key in ('split', 'data', 'videos')}}
