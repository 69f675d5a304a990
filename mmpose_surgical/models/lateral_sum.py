"""A neck that joins all levels of a backbone at the finest one."""
from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LateralSum(BaseModule):
    """Hypercolumn (Hariharan et al., CVPR 2015) as a sum of 1x1 projections, each enlarged to the finest level.

    The same function as concatenating all levels and projecting once (a 1x1 convolution and bilinear enlargement
    commute), without the concatenated map: at 512x288 and ResNet-50 that has 3,840 channels. Any input size fits.

    Args:
        in_channels: Channels of the levels, finest first.
        out_channels: Channels of the joint map.
        init_cfg: Initialisation as in MMEngine.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.laterals = nn.ModuleList(nn.Conv2d(channels, out_channels, 1, bias=False) for channels in in_channels)
        self.activate = nn.Sequential(nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor]:
        """Levels (N, C_i, h_i, w_i), finest first, to one map (N, ``out_channels``, h_0, w_0)."""
        maps = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        size = maps[0].shape[-2:]
        for coarse in maps[1:]:
            maps[0] = maps[0] + F.interpolate(coarse, size=size, mode='bilinear', align_corners=False)
        return (self.activate(maps[0]), )
