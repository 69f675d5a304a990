"""Landmarks of new videos by a trained model, frame after frame (paper, Fig. 1a, from coarse to refined)."""
from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.structures import PoseDataSample

import mmpose_surgical.plugin  # noqa: F401  (registers everything)
from mmpose_surgical.apis.mask_prior import LiveMaskPrior
from mmpose_surgical.apis.runtime_prior import (
    AUX,
    NONE,
    RuntimePrior,
    own_prior,
    refuse_prior,
    resolve_runtime_prior,
    takes_prior,
)
from mmpose_surgical.apis.sources import FrameSource, Picture, SourceFrame, open_source
from mmpose_surgical.apis.streaming import SlidingWindow, StreamedNetwork, samples_of
from mmpose_surgical.apis.trained_run import load_run
from mmpose_surgical.datasets.clip_dataset import SurgicalClipDataset
from mmpose_surgical.datasets.transforms import picture_to_heatmap, warp_coarse, warp_prior
from mmpose_surgical.datasets.windows import frame_step
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import surest_of_equal
from mmpose_surgical.landmarks import SLOTS, landmark_of
from mmpose_surgical.pipeline.predict import load_model, stored_maps
from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.priors.prompts import PromptRule, prompts_from_points

POINT, EMPTY, BROKEN = 'point', 'none', 'broken'
"""States of a frame: it has points, it has none, it cannot be read."""


@dataclass(frozen=True)
class FrameResult:
    """What is known of one frame of a source.

    Args:
        frame: Its number, from 0 in the order of display.
        time: Seconds from the first frame.
        points: Those that count: ``{landmark, x, y, score}`` in pixels of the picture, surest first.
        picture: BGR uint8 (H, W, 3); ``None`` for a frame that cannot be read.
        data_sample: As of MMPose's estimators: ``pred_instances`` holds all points, whatever their score, and
            ``pred_fields`` the heatmaps if these were asked for. ``None`` for a frame that cannot be read.
        prior: The mask prior of a refiner that takes one.
        problem: Why the frame cannot be read.
        name: Of its file, in a folder.
    """
    frame: int
    time: float
    points: list[dict[str, Any]]
    picture: np.ndarray | None = None
    data_sample: PoseDataSample | None = None
    prior: MaskPrior | None = None
    problem: str = ''
    name: str = ''

    @property
    def state(self) -> str:
        """``point``, ``none`` (nothing acts) or ``broken``."""
        return BROKEN if self.data_sample is None else POINT if self.points else EMPTY

    def to_dict(self) -> dict[str, Any]:
        """Frame, time, state and points as JSON values; with ``name`` and ``problem`` where there is one."""
        told = dict(name=self.name, problem=self.problem)
        return dict(frame=self.frame, time=self.time, state=self.state, points=self.points,
                    **{key: value for key, value in told.items() if value})


@dataclass
class _Seen:
    """A frame behind the per-frame networks."""
    source: SourceFrame
    coarse: tuple | None = None
    geometry: dict[str, Any] | None = None
    feature: tuple | None = None
    refiner_geometry: dict[str, Any] | None = None


class SurgicalLandmarkInferencer:
    """Predict tips and anchors of the acting instrument in new videos, in the manner of MMPose's inferencers.

    Each frame passes the per-frame networks once; a ring buffer of its maps feeds the temporal fusion. A centred window
    looks ahead: results come :meth:`look_ahead` frames late, and are those of the same window in a data set.

    Args:
        model: Work directory of tools/train.py, or a config file.
        weights: The checkpoint; needed with a config file.
        device: ``cpu``, ``cuda``, ``cuda:1``; by default a GPU if there is one.
        prior: Of a refiner: ``sam3``, ``sam2``, ``grabcut``, ``aux`` (the refiner's own mask branch, of a model that
            was trained with mask dropout), ``none``, another registered backend, or a segmenter at hand. By default
            the one that the model was trained with.
        prior_every: Segment every n-th frame only; the frames between take its mask.
        score_thr: Least score of a point that counts, for all or by landmark; by default the thresholds that training
            chose on validation.
        batch_size: Frames that pass a network together; results come so many frames later.
        heatmaps: Whether results carry heatmaps.
        options: Overrides of the config as ``--cfg-options`` gives them, e.g. ``{'prior.checkpoint': PATH}``.

    Raises:
        UserError: The model is not there, or cannot take this prior.

    Example::

        inferencer = SurgicalLandmarkInferencer('work_dirs/refine_prior_aux', prior='sam3')
        for result in inferencer('operation.mp4'):
            print(result.time, result.points)
    """

    def __init__(self,
                 model: str | Path,
                 weights: str | Path | None = None,
                 device: str | None = None,
                 prior: str | LiveMaskPrior | None = None,
                 prior_every: int = 1,
                 score_thr: float | Mapping[str, float | None] | None = None,
                 batch_size: int = 1,
                 heatmaps: bool = False,
                 options: Mapping[str, Any] | None = None) -> None:
        for name, value in (('batch_size', batch_size), ('prior_every', prior_every)):
            if value < 1:
                raise UserError(f'{name} is {value}', fix='give 1 or more')
        options = dict(options or {})
        self.run = load_run(model, weights, options)
        self.batch_size = batch_size
        self.prior_every = prior_every
        self.heatmaps = heatmaps
        self.thresholds = self.run.thresholds_or(score_thr)
        self.dataset_meta = parse_pose_metainfo(SurgicalClipDataset.METAINFO)
        refines = self.run.coarse is not None
        # Decided before weights are loaded, which takes seconds.
        self.prior: dict[str, Any] = dict(backend=NONE)
        self.segmenter: LiveMaskPrior | None = None
        if isinstance(prior, LiveMaskPrior):
            if not takes_prior(self.run):
                refuse_prior(self.run, prior.name)
            if foreign := sorted(key for key in options if key.startswith('prior.')):
                raise UserError(f'{foreign[0]} beside a segmenter that is made already', fix='leave it out')
            self.prior, self.segmenter = dict(backend=prior.name), prior
        else:
            self.prior = resolve_runtime_prior(self.run, prior, options, device)
            if self.prior['backend'] not in (AUX, NONE):
                self.segmenter = LiveMaskPrior(self.prior, self.run.prompt_thresholds)
        if prior_every > 1 and self.segmenter is None:
            raise UserError(f'every {prior_every} frames, and nothing is segmented', fix='leave --prior-every out (in '
                            'Python: prior_every)')
        front = self.run.coarse or self.run
        self._coarse = StreamedNetwork(load_model(front.cfg, front.checkpoint, device), front.cfg)
        # Maps are wanted of the coarse network in front of a refiner, and of the last network if asked for.
        self._coarse.model.test_cfg['output_heatmaps'] = refines or heatmaps
        self._refiner = None
        if refines:
            self._refiner = StreamedNetwork(load_model(self.run.cfg, self.run.checkpoint, device), self.run.cfg)
            self._refiner.model.test_cfg['output_heatmaps'] = heatmaps
        self._shares_stem = refines and self.run.cfg.get('stem') == 'shared'

    @property
    def networks(self) -> list[StreamedNetwork]:
        """The network, or the coarse network and the refiner."""
        return [network for network in (self._coarse, self._refiner) if network is not None]

    def look_ahead(self, fps: float | None) -> int:
        """Frames that must follow a frame before its result comes: 0 of a causal window, and of a single frame."""
        return self._window(fps).look_ahead

    def _window(self, fps: float | None, length: int | None = None) -> SlidingWindow[_Seen]:
        network = self._coarse
        if fps is None and network.num_frames > 1 and length != 1:
            raise UserError('how many frames a second there are is not known, and this model looks at '
                            f'{network.num_frames} frames that are {network.spacing:g} s apart', fix='give --fps (in '
                            'Python: fps=)')
        return SlidingWindow(network.num_frames, frame_step(network.spacing, fps) if fps else 1, network.mode)

    def __call__(self, source: FrameSource | str | Path | int | Iterable[Picture], fps: float | None = None,
                 start: int = 0) -> Iterator[FrameResult]:
        """Results of all frames of a source, in order, while it is being read; memory does not grow with its length.

        A frame that cannot be read has a result too. In the windows of others the last frame before it that can be
        read takes its place, as a player would hold the picture.

        Args:
            source: See :func:`~mmpose_surgical.apis.sources.open_source`.
            fps: Frames per second of a source that does not know it.
            start: Number of the first frame with a result. What is before it is read as far as windows need it, so
                that results are those of a call that began at 0.
        """
        source = open_source(source, fps)
        window = self._window(source.fps, source.length)
        # Each stream has masks of its own to reuse.
        segment = RuntimePrior(self.segmenter, self.prior_every) if self.segmenter else None
        begin = start - (start % self.prior_every if segment else 0)
        first = source.readable_before(max(begin - window.look_back, 0)) if start else 0
        kept = window.look_back + window.look_ahead + self.batch_size
        seen = self._seen(_batched(source.frames(first), self.batch_size), kept)
        whole = (_batched(itertools.chain.from_iterable(map(window.push, frames)), self.batch_size) for frames in seen)
        for windows in itertools.chain(itertools.chain.from_iterable(whole), _batched(window.flush(), self.batch_size)):
            targets = [one[window.position] for one in windows]
            readable = [one for one, target in zip(windows, targets)
                        if target.source.index >= begin and target.source.picture is not None]
            found = iter(self._predict(readable, window.position, segment) if readable else ())
            for target in targets:
                frame = target.source
                # As a neighbour of later targets it needs its maps alone.
                target.source = replace(frame, picture=None)
                if frame.index < begin:
                    continue
                result = FrameResult(frame.index, frame.time, [], problem=frame.problem, name=frame.name) \
                    if frame.picture is None else next(found)
                if frame.index >= start:
                    yield result

    def _seen(self, batches: Iterable[list[SourceFrame]], kept: int) -> Iterator[list[_Seen]]:
        """Frames behind the per-frame networks; one that cannot be read has the maps of the last that can.

        Before the first that can, so many of them wait for its maps as a window can hold.
        """
        last: _Seen | None = None
        leading: deque[_Seen] = deque(maxlen=kept)
        for batch in batches:
            seen = [_Seen(frame) for frame in batch]
            self._pass([one for one in seen if one.source.picture is not None])
            for one in seen:
                if one.source.picture is not None:
                    last = one
                    while leading:
                        leading.pop().coarse = one.coarse
                elif last is not None:
                    one.coarse = last.coarse
                else:
                    leading.append(one)
            yield seen

    def _pass(self, frames: list[_Seen]) -> None:
        """Let frames pass the per-frame networks."""
        if not frames:
            return
        inputs = [self._coarse.prepare(frame.source.picture) for frame in frames]
        for frame, entered, maps in zip(frames, inputs, self._coarse.per_frame(inputs)):
            frame.coarse, frame.geometry = maps, entered.meta
            if self._shares_stem:
                frame.feature, frame.refiner_geometry = maps, entered.meta
        if self._refiner and not self._shares_stem:
            inputs = [self._refiner.prepare(frame.source.picture) for frame in frames]
            for frame, entered, maps in zip(frames, inputs, self._refiner.per_frame(inputs)):
                frame.feature, frame.refiner_geometry = maps, entered.meta

    def _predict(self, windows: list[list[_Seen]], position: int, segment: RuntimePrior | None) -> list[FrameResult]:
        """Results of the targets of windows, all of which can be read."""
        targets = [window[position] for window in windows]
        features = self._coarse.features([[frame.coarse for frame in window] for window in windows])
        samples = self._coarse.predict(features, samples_of([target.geometry for target in targets]))
        priors: Sequence[MaskPrior | None] = [None] * len(targets)
        if self._refiner:
            samples, priors = self._refine(targets, samples, segment)
        results = []
        for target, sample, prior in zip(targets, samples, priors):
            del sample.gt_instances
            source = target.source
            sample.set_metainfo(dict(frame=source.index, time=source.time, prior=self.prior['backend']))
            results.append(FrameResult(source.index, source.time, self._counted(sample), source.picture, sample, prior,
                                       name=source.name))
        return results

    def _refine(self, targets: list[_Seen], coarse: list[PoseDataSample],
                segment: RuntimePrior | None) -> tuple[list[PoseDataSample], list[MaskPrior | None]]:
        """Refined samples of frames, and their priors."""
        network, size = self._refiner, tuple(self.run.cfg.codec.heatmap_size)
        samples = samples_of([target.refiner_geometry for target in targets])
        matrices = [picture_to_heatmap(target.refiner_geometry, size) for target in targets]
        for target, found, sample, matrix in zip(targets, coarse, samples, matrices):
            maps = stored_maps(self._coarse.model.head.decoder, found.pred_fields.heatmaps.float().cpu().numpy())
            # Stores keep half precision: what a refiner was trained on, to the bit.
            maps = warp_coarse(maps.astype(np.float16), target.geometry, matrix, size)
            sample.prior_fields = PixelData(coarse_heatmaps=torch.from_numpy(maps),
                                            mask=torch.zeros(1, size[1], size[0]))
            sample.set_metainfo(dict(prior_valid=0.))
        features = network.features([[target.feature] for target in targets])
        priors: list[MaskPrior | None] = [None] * len(targets)
        entered: list[np.ndarray] = []
        if segment:
            priors = [segment(target.source.picture, found.pred_instances.keypoints[0],
                              found.pred_instances.keypoint_scores[0], target.source.index)
                      for target, found in zip(targets, coarse)]
            entered = [warp_prior(prior, target.source.picture.shape[:2], matrix, size)
                       for prior, target, matrix in zip(priors, targets, matrices)]
        elif self.prior['backend'] == AUX:
            own = [own_prior(mask, self._prompts(found, target), matrix, _size(target)) for mask, found, target, matrix
                   in zip(network.masks(features, samples), coarse, targets, matrices)]
            entered, priors = [mask for mask, _ in own], [prior for _, prior in own]
        for sample, mask, prior in zip(samples, entered, priors):
            sample.prior_fields.mask = torch.from_numpy(mask[None].astype(np.float32))
            sample.set_metainfo(dict(prior_valid=float(prior.valid)))
        refined = network.predict(features, samples)
        for sample in refined:
            del sample.prior_fields
        return refined, priors

    def _prompts(self, coarse: PoseDataSample, target: _Seen) -> tuple[np.ndarray, np.ndarray]:
        """What would prompt a segmenter."""
        found = coarse.pred_instances
        return prompts_from_points(found.keypoints[0], found.keypoint_scores[0], self.run.prompt_thresholds,
                                   _size(target), PromptRule.of(self.prior).landmarks)

    def _counted(self, sample: PoseDataSample) -> list[dict[str, Any]]:
        """The points of a sample that are sure enough."""
        found = sample.pred_instances
        points = []
        for slot, (x, y), score in zip(SLOTS, found.keypoints[0].tolist(), found.keypoint_scores[0].tolist()):
            least = self.thresholds[landmark_of(slot)]
            if score > 0 and (least is None or score >= least):
                points.append(dict(landmark=landmark_of(slot), x=x, y=y, score=score))
        return sorted(surest_of_equal(points), key=lambda point: -point['score'])


def _size(target: _Seen) -> tuple[int, int]:
    """Width and height of the picture of a frame."""
    return target.source.picture.shape[1], target.source.picture.shape[0]


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of so many items; what is left at the end is a shorter one."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
