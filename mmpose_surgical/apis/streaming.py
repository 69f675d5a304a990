"""A network on a stream of frames: each passes its per-frame half once, whatever the length of the window."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import TRANSFORMS
from mmpose.structures import PoseDataSample
from torch import Tensor

from mmpose_surgical.datasets.windows import WindowMode, target_position, window_frame_ids
from mmpose_surgical.models.multi_frame_backbone import MultiFrameBackbone
from mmpose_surgical.models.refine_head import gather_priors

Item = TypeVar('Item')

_ELSEWHERE = ('LoadClip', 'LoadImage', 'LoadMaskPrior', 'PackClipInputs', 'PackPoseInputs')
"""Transforms of a test pipeline that read or pack; the others are about geometry and done to every frame."""


class SlidingWindow(Generic[Item]):
    """Ring buffer over a stream: windows like those of a data set, each item kept as long as a window needs it.

    Numbers beyond the ends of the stream are clamped to it, see
    :func:`~mmpose_surgical.datasets.windows.window_frame_ids`.

    Args:
        num_frames: T.
        step: Items between neighbours of a window.
        mode: ``centred`` or ``causal``.
    """

    def __init__(self, num_frames: int, step: int, mode: WindowMode = 'centred') -> None:
        self.num_frames, self.step, self.mode = num_frames, step, mode
        self.position = target_position(num_frames, mode)
        self.look_back = self.position * step
        self.look_ahead = (num_frames - 1 - self.position) * step
        """Items that must follow a target before its window is whole."""
        self._kept: dict[int, Item] = {}
        self._pushed = 0
        self._due = 0

    def push(self, item: Item) -> Iterator[list[Item]]:
        """Take the next item; gives the window that it completes, if any: oldest first, target at :attr:`position`."""
        self._kept[self._pushed] = item
        self._pushed += 1
        if self._due + self.look_ahead < self._pushed:
            yield self._next()

    def flush(self) -> Iterator[list[Item]]:
        """The stream is over: the windows of the targets that are left."""
        while self._due < self._pushed:
            yield self._next()

    def _next(self) -> list[Item]:
        numbers = window_frame_ids(self._due, self.num_frames, self.step, 0, self._pushed - 1, self.mode)
        window = [self._kept[number] for number in numbers]
        self._due += 1
        for number in [number for number in self._kept if number < self._due - self.look_back]:
            del self._kept[number]
        return window


@dataclass(frozen=True)
class NetworkInput:
    """A picture as it enters a network.

    Args:
        pixels: uint8 (3, H, W), BGR.
        meta: How it lies in the original picture: ``input_size``, ``input_center`` and ``input_scale``.
    """
    pixels: np.ndarray
    meta: dict[str, Any]


class StreamedNetwork:
    """A trained top-down network in two halves: one sees a frame, the other a window of what the first made of it.

    Of a :class:`~mmpose_surgical.models.multi_frame_backbone.MultiFrameBackbone` the seam is before the fusion, of any
    other network, which looks at one frame, before the head.

    Args:
        model: The network, in evaluation mode.
        cfg: Its config.
    """

    def __init__(self, model: TopdownPoseEstimator, cfg: Config) -> None:
        self.model = model
        self.is_clip_network = isinstance(model.backbone, MultiFrameBackbone)
        dataset = cfg.test_dataloader.dataset
        self.num_frames: int = dataset.get('num_frames', 1)
        self.spacing: float = dataset.get('spacing', 0.)
        self.mode: WindowMode = dataset.get('window', 'centred')
        self._geometry = Compose([TRANSFORMS.build(transform) for transform in dataset.pipeline
                                  if transform['type'] not in _ELSEWHERE])

    def prepare(self, picture: np.ndarray) -> NetworkInput:
        """Bring a picture, BGR uint8 (H, W, 3), into the geometry of the test pipeline, as one box."""
        height, width = picture.shape[:2]
        results = self._geometry(dict(
            img=picture, img_shape=(height, width), ori_shape=(height, width),
            bbox=np.array([[0, 0, width, height]], np.float32), bbox_score=np.ones(1, np.float32)))
        return NetworkInput(np.ascontiguousarray(results['img'].transpose(2, 0, 1)), {
            key: results[key] for key in ('ori_shape', 'img_shape', 'input_size', 'input_center', 'input_scale')})

    @torch.inference_mode()
    def per_frame(self, inputs: Sequence[NetworkInput]) -> list[tuple[Tensor, ...]]:
        """What the first half makes of frames: for each its maps (C, h, w), one for every level."""
        pixels = torch.from_numpy(np.stack([one.pixels for one in inputs]))
        batch = self.model.data_preprocessor(dict(inputs=pixels, data_samples=[]), False)['inputs']
        levels = (self.model.backbone.per_frame(batch),) if self.is_clip_network else self.model.extract_feat(batch)
        return list(zip(*(level.unbind() for level in levels)))

    @torch.inference_mode()
    def features(self, windows: Sequence[Sequence[tuple[Tensor, ...]]]) -> tuple[Tensor, ...]:
        """What the head sees of windows of per-frame maps, each oldest first: levels (N, C, h, w)."""
        if not self.is_clip_network:
            return tuple(torch.stack(levels) for levels in zip(*(window[-1] for window in windows)))
        maps = torch.stack([torch.stack([level for level, in window]) for window in windows])
        fused = (self.model.backbone.fuse(maps), )
        return self.model.neck(fused) if self.model.with_neck else fused

    @torch.inference_mode()
    def predict(self, features: tuple[Tensor, ...], samples: list[PoseDataSample]) -> list[PoseDataSample]:
        """Add what the head sees in features (N, C, h, w) to N samples, in pixels of their pictures."""
        found = self.model.head.predict(features, samples, test_cfg=self.model.test_cfg)
        instances, fields = found if isinstance(found, tuple) else (found, None)
        return self.model.add_pred_to_datasample(instances, fields, samples)

    @torch.inference_mode()
    def masks(self, features: tuple[Tensor, ...], samples: list[PoseDataSample]) -> np.ndarray:
        """Output (N, h, w) of a refiner's mask branch, for samples with the prior fields of its input."""
        _, masks = self.model.head.forward(features, *gather_priors(samples, features[-1].device))
        return masks[:, 0].float().cpu().numpy()


def samples_of(metas: Sequence[dict[str, Any]]) -> list[PoseDataSample]:
    """Empty data samples of whole pictures, for what MMPose's estimators add to them."""
    samples = []
    for meta in metas:
        height, width = meta['ori_shape']
        sample = PoseDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(bboxes=np.array([[0, 0, width, height]], np.float32),
                                           bbox_scores=np.ones(1, np.float32))
        samples.append(sample)
    return samples
