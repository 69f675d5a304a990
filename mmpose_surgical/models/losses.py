"""Losses of the refinement model and of direct mask supervision."""
import torch
import torch.nn.functional as F
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AuxiliaryMaskLoss(nn.Module):
    """The mask term of the training objective, lambda_aux * |M^ - M^c|^2 (paper, section 2.3).

    A failed prior (validity 0) is no target: its picture contributes nothing.

    Args:
        loss_weight: lambda_aux. Both terms of the objective are means over pixels, so that it does not depend on the
            size of the maps.
    """

    def __init__(self, loss_weight: float) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, mask: Tensor, prior: Tensor, validity: Tensor) -> Tensor:
        """Loss of predicted masks (N, 1, h, w) against priors (N, 1, h, w) in [0, 1]; ``validity`` is (N,)."""
        per_picture = F.mse_loss(mask, prior, reduction='none').flatten(1).mean(1)
        return self.loss_weight * (per_picture * validity).sum() / max(len(validity), 1)


@MODELS.register_module()
class GatedMSELoss(nn.Module):
    """The gated regression loss of direct mask supervision, |G (H^ - H~)|^2 (paper, section 2.4).

    G weights the regions of the target by its values, see
    :class:`~mmpose_surgical.codecs.mask_augmented_heatmap.MaskAugmentedHeatmap`; as printed, it counts squared.

    Args:
        alpha: Height of the plateau, that of the codec.
        keypoint: G where the target is above the plateau.
        mask: G on the plateau.
        background: G where the target is zero.
        loss_weight: Weight of the whole term, a mean over pixels.
    """

    def __init__(self, alpha: float = 0.1, keypoint: float = 10., mask: float = 1., background: float = 1.,
                 loss_weight: float = 1.) -> None:
        super().__init__()
        self.alpha, self.keypoint, self.mask, self.background = alpha, keypoint, mask, background
        self.loss_weight = loss_weight

    def gate(self, target: Tensor) -> Tensor:
        """G of a target (N, C, h, w), same shape."""
        beside_points = torch.where(target > 0, self.mask, self.background)
        # The plateau is alpha to the bit of float32; a point's region is at least that.
        return torch.where(target > torch.tensor(self.alpha, dtype=target.dtype), self.keypoint, beside_points)

    def forward(self, output: Tensor, target: Tensor, target_weights: Tensor) -> Tensor:
        """Loss of maps (N, C, h, w) against targets of that shape; ``target_weights`` is (N, C)."""
        squared = (self.gate(target) * (output - target)).square()
        return self.loss_weight * (squared * target_weights[..., None, None]).mean()
