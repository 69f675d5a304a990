"""Losses of the refinement model."""
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
