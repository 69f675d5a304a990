"""Fusion of per-frame maps over time.

To add another fusion, write a module with the same ``forward`` and register it in ``MODELS``; a config names it in
``model.backbone.fusion``.
"""
import torch
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MFCNetLateFusion(BaseModule):
    """Late fusion of MFCNet (Ghanekar et al., ISBI 2025; paper, section 2.1).

    The maps of all frames are concatenated over channels and pass an 11x11 and two 3x3 convolutions, each with batch
    normalisation and ReLU. The closing 1x1 convolution is the final layer of the head.

    Args:
        in_channels: Channels of one frame's maps.
        num_frames: T, the length of the window.
        channels: Channels of the fused map.
        kernel_size: Side of the first convolution, which must span the motion between frames.
        init_cfg: Initialisation as in MMEngine.
    """

    def __init__(self,
                 in_channels: int,
                 num_frames: int,
                 channels: int = 64,
                 kernel_size: int = 11,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.num_frames = num_frames
        self.out_channels = channels
        widths = [(num_frames * in_channels, kernel_size), (channels, 3), (channels, 3)]
        self.layers = nn.Sequential(*(layer for width, kernel in widths for layer in (
            nn.Conv2d(width, channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True))))

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse (N, T, C, h, w) per-frame maps, oldest first, into (N, ``channels``, h, w)."""
        if maps.shape[1] != self.num_frames:
            raise ValueError(f'{self.num_frames} frames expected, got maps of shape {tuple(maps.shape)}')
        return self.layers(torch.flatten(maps, 1, 2))
