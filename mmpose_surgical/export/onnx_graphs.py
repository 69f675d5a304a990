"""The two halves of a trained model as modules from tensors to tensors, which torch.onnx.export can follow."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from mmpose.codecs import SimCCLabel
from mmpose.models.heads import HeatmapHead, RTMCCHead
from mmpose.models.pose_estimators import TopdownPoseEstimator
from torch import Tensor, nn

from mmpose_surgical.apis.runtime_prior import AUX, NONE, STEEPNESS
from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
from mmpose_surgical.errors import UserError
from mmpose_surgical.models.multi_frame_backbone import MultiFrameBackbone
from mmpose_surgical.priors.base import MAX_SHARE

INPUT = 'input'
"""The prior is an input of the graph, beside :data:`AUX` and :data:`NONE`."""


@dataclass(frozen=True)
class PriorRule:
    """Where the mask prior of an exported refiner comes from.

    Args:
        kind: ``aux``, ``none`` or ``input``.
        thresholds: Least score of a coarse point that prompts, by landmark; without a prompt there is no prior.
        landmarks: The landmark types that prompt.
    """
    kind: str = NONE
    thresholds: Mapping[str, float] = field(default_factory=dict)
    landmarks: Sequence[str] = ()


def refuse_unknown(model: TopdownPoseEstimator, where: str) -> None:
    """Refuse a stock network whose parts are none of those that are exported here."""
    decoder, head = model.head.decoder, model.head
    heatmaps = isinstance(decoder, LandmarkHeatmap) and isinstance(head, HeatmapHead)
    simcc = (isinstance(decoder, SimCCLabel) and isinstance(head, RTMCCHead) and not decoder.use_dark
             and not decoder.decode_visibility)
    if not (heatmaps or simcc):
        raise UserError(f'a {type(head).__name__} with {type(decoder).__name__} is not exported here', where,
                        'use MMDeploy, which exports the stock models of MMPose')


class FrameGraph(nn.Module):
    """Pictures to what the per-frame networks make of them.

    Args:
        coarse: The network, or the coarse network in front of a refiner.
        refiner: Of a pair; left out where it shares the coarse network's per-frame half.
    """

    def __init__(self, coarse: TopdownPoseEstimator, refiner: TopdownPoseEstimator | None = None) -> None:
        super().__init__()
        self.coarse, self.refiner = coarse, refiner

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 3, H, W), BGR, to maps (N, C, h, w) and the refiner's features (N, C', h, w), if there is one."""
        processor = self.coarse.data_preprocessor
        pixels = picture.float()
        if processor._channel_conversion:
            pixels = pixels.flip(1)
        if processor._enable_normalize:
            pixels = (pixels - processor.mean) / processor.std
        backbone = self.coarse.backbone
        maps = (backbone.per_frame(pixels) if isinstance(backbone, MultiFrameBackbone)
                else self.coarse.extract_feat(pixels)[-1])
        return (maps, ) if self.refiner is None else (maps, self.refiner.extract_feat(pixels)[-1])


class WindowGraph(nn.Module):
    """Maps of a window to heatmaps of its target: fusion, head and, of a pair, the refiner's head.

    Args:
        coarse: The network, or the coarse network in front of a refiner.
        target: Position of the target in the window.
        refiner: Of a pair.
        shares_stem: The map of the target is the refiner's feature.
        prior: Of a refiner.
    """

    def __init__(self, coarse: TopdownPoseEstimator, target: int, refiner: TopdownPoseEstimator | None = None,
                 shares_stem: bool = False, prior: PriorRule | None = None) -> None:
        super().__init__()
        self.coarse, self.target, self.refiner = coarse, target, refiner
        self.shares_stem, self.prior = shares_stem, prior or PriorRule()

    @property
    def input_names(self) -> list[str]:
        """Names of the arguments of :meth:`forward`."""
        return ['maps', *(['feature'] if self.refiner and not self.shares_stem else []),
                *(['mask', 'validity'] if self.prior.kind == INPUT else [])]

    @property
    def output_names(self) -> list[str]:
        """Names of what :meth:`forward` gives."""
        if self.refiner is None:
            return ['simcc_x', 'simcc_y'] if isinstance(self.coarse.head, RTMCCHead) else ['heatmaps']
        return ['heatmaps', 'coarse_heatmaps', *(['mask_out'] if self.refiner.head.aux_head is not None else []),
                *(['validity_out'] if self.prior.kind == AUX else [])]

    def forward(self, maps: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Outputs of one window.

        Args:
            maps: (1, T, C, h, w), oldest first.
            more: As :attr:`input_names` says: ``feature`` (1, C', h, w) of the target; ``mask`` (1, 1, h, w),
                probabilities on the heatmap grid, and ``validity`` (1,), 1 where there is a prior.

        Returns:
            As :attr:`output_names` says: ``heatmaps`` (1, K, h, w) of the last network, ``coarse_heatmaps``
            (1, L, h, w), one for each landmark type; ``mask_out`` (1, 1, h, w), what the mask branch gives, in [0, 1],
            and ``validity_out`` (1,), 1 where that was the prior. Of SimCC maps (1, S, W) and (1, S, H).
        """
        inputs = dict(zip(self.input_names[1:], more))
        found = self.coarse.head(self._coarse_features(maps))
        if self.refiner is None:
            return found if isinstance(found, tuple) else (found, )
        coarse = self._per_landmark(found)
        feature = maps[:, self.target] if self.shares_stem else inputs['feature']
        # The stores that a refiner was trained on keep half precision.
        half = round_to_half(coarse)
        nothing = torch.zeros_like(half[:, :1])
        mask, validity = inputs.get('mask', nothing), inputs.get('validity', nothing[:, 0, 0, 0])
        outputs, own = self._refine(feature, half, mask, validity)
        if self.prior.kind == AUX:
            validity = self._validity(coarse, own)
            sharp = torch.sigmoid(STEEPNESS * (own - 0.5)) * validity.view(-1, 1, 1, 1)
            outputs, _ = self._refine(feature, half, sharp, validity)
        branch = () if own is None else (own, )
        return (outputs, coarse, *branch, *((validity, ) if self.prior.kind == AUX else ()))

    def _coarse_features(self, maps: Tensor) -> tuple[Tensor, ...]:
        if not isinstance(self.coarse.backbone, MultiFrameBackbone):
            return (maps[:, self.target], )
        fused = (self.coarse.backbone.fuse(maps), )
        return self.coarse.neck(fused) if self.coarse.with_neck else fused

    def _per_landmark(self, heatmaps: Tensor) -> Tensor:
        """As ``LandmarkHeatmap.per_landmark``: the maximum over actions."""
        landmarks = len(self.coarse.head.decoder.landmarks)
        return heatmaps if heatmaps.shape[1] == landmarks else heatmaps.unflatten(1, (landmarks, -1)).amax(2)

    def _refine(self, feature: Tensor, coarse: Tensor, mask: Tensor, validity: Tensor) -> tuple[Tensor, Tensor | None]:
        heatmaps, own = self.refiner.head((feature, ), coarse, mask, validity)
        return heatmaps, None if own is None else own.clamp(0, 1)

    def _validity(self, coarse: Tensor, mask: Tensor) -> Tensor:
        """1 where a mask (1, 1, h, w) passes the quality gate and a coarse point is sure enough to prompt: (1,).

        As :func:`~mmpose_surgical.apis.runtime_prior.own_prior`.
        """
        share = (mask > 0.5).float().mean((1, 2, 3))
        return (prompted(coarse, self.coarse.head.decoder, self.prior) & (share > 0) & (share <= MAX_SHARE)).float()


def round_to_half(values: Tensor) -> Tensor:
    """float32 of values rounded to the 11 bits of half precision (Veltkamp's splitting); below 6e-5 they keep more.

    A cast there and back would say the same, but OpenVINO takes it for nothing and leaves it out.
    """
    shifted = values * (2**13 + 1)
    return shifted - (shifted - values)


def prompted(coarse: Tensor, codec: LandmarkHeatmap, prior: PriorRule) -> Tensor:
    """Whether any point of coarse heatmaps (N, L, h, w) prompts: bool (N,).

    The surest point of a landmark is the maximum of its map, so nothing needs to be decoded.
    """
    scores = coarse.amax((2, 3)).clamp(max=1)
    floor = getattr(codec, 'alpha', 0.)
    sure = [(scores[:, channel] > floor) & (scores[:, channel] >= prior.thresholds[landmark])
            for channel, landmark in enumerate(codec.landmarks) if landmark in prior.landmarks]
    return torch.stack(sure).any(0)
