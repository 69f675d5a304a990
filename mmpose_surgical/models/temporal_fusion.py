"""Fusion of per-frame maps over time.

To add another fusion, subclass :class:`TemporalFusion` and register it in ``MODELS``; a config names it in
``model.backbone.fusion``, and the pipeline fills in window and target from ``clip``.
"""
import torch
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn


def conv_layers(in_channels: int, channels: int, *kernel_sizes: int) -> nn.Sequential:
    """Convolutions that keep the size, each with batch normalisation and ReLU."""
    widths = [in_channels] + [channels] * len(kernel_sizes)
    return nn.Sequential(*(layer for width, kernel in zip(widths, kernel_sizes) for layer in (
        nn.Conv2d(width, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True))))


class TemporalFusion(BaseModule):
    """What all fusions share: a window of per-frame maps becomes one map of the target frame (paper, section 2.1).

    Args:
        in_channels: Channels of one frame's maps.
        num_frames: T, the length of the window.
        channels: Channels of the fused map.
        target_index: Position of the target in the window; ``None``: the middle, T // 2.
        init_cfg: Initialisation as in MMEngine.
    """

    def __init__(self,
                 in_channels: int,
                 num_frames: int,
                 channels: int = 64,
                 target_index: int | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.num_frames = num_frames
        self.out_channels = channels
        self.target_index = num_frames // 2 if target_index is None else target_index

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse (N, T, C, h, w) per-frame maps, oldest first, into (N, ``channels``, h, w)."""
        if maps.shape[1] != self.num_frames:
            raise ValueError(f'{self.num_frames} frames expected, got maps of shape {tuple(maps.shape)}')
        return self.fuse(maps)

    def fuse(self, maps: Tensor) -> Tensor:
        """:meth:`forward` on a window of the right length; for subclasses to write."""
        raise NotImplementedError


@MODELS.register_module()
class MFCNetLateFusion(TemporalFusion):
    """Late fusion of MFCNet (Ghanekar et al., ISBI 2025; paper, section 2.1).

    The maps of all frames are concatenated over channels and pass an 11x11 and two 3x3 convolutions, each with batch
    normalisation and ReLU. The closing 1x1 convolution is the final layer of the head.

    Args:
        in_channels: Channels of one frame's maps.
        num_frames: T, the length of the window.
        channels: Channels of the fused map.
        kernel_size: Side of the first convolution, which must span the motion between frames.
        kwargs: See :class:`TemporalFusion`.
    """

    def __init__(self, in_channels: int, num_frames: int, channels: int = 64, kernel_size: int = 11, **kwargs) -> None:
        super().__init__(in_channels, num_frames, channels, **kwargs)
        self.layers = conv_layers(num_frames * in_channels, channels, kernel_size, 3, 3)

    def fuse(self, maps: Tensor) -> Tensor:
        return self.layers(torch.flatten(maps, 1, 2))


@MODELS.register_module()
class ConcatFusion(TemporalFusion):
    """Ablation: MFCNet's fusion without its wide kernel; concatenated maps pass a 1x1 and a 3x3 convolution.

    A pixel of the output sees little more than that pixel of each frame: what moved farther between two frames must
    be told from the features of the frames alone. Arguments: see :class:`TemporalFusion`.
    """

    def __init__(self, in_channels: int, num_frames: int, channels: int = 64, **kwargs) -> None:
        super().__init__(in_channels, num_frames, channels, **kwargs)
        self.layers = conv_layers(num_frames * in_channels, channels, 1, 3)

    def fuse(self, maps: Tensor) -> Tensor:
        return self.layers(torch.flatten(maps, 1, 2))


@MODELS.register_module()
class AttentionFusion(TemporalFusion):
    """Ablation: every pixel of the target attends to the same pixel of all frames of the window.

    Softmax over time of scaled dot products of 1x1 projections, with a learned bias per position in the window, so
    that the order of frames can count. The target's map and the weighted mean pass a 3x3 convolution together.

    Args:
        in_channels: Channels of one frame's maps.
        num_frames: T, the length of the window.
        channels: Channels of the fused map.
        key_channels: Channels of queries and keys.
        kwargs: See :class:`TemporalFusion`.
    """

    def __init__(self, in_channels: int, num_frames: int, channels: int = 64, key_channels: int = 16,
                 **kwargs) -> None:
        super().__init__(in_channels, num_frames, channels, **kwargs)
        self.query = nn.Conv2d(in_channels, key_channels, 1)
        self.key = nn.Conv2d(in_channels, key_channels, 1)
        self.position = nn.Parameter(torch.zeros(num_frames))
        self.layers = conv_layers(2 * in_channels, channels, 3)

    def weights(self, maps: Tensor) -> Tensor:
        """Attention (N, T, h, w) of per-frame maps (N, T, C, h, w); sums to 1 over T."""
        query = self.query(maps[:, self.target_index])[:, None]
        keys = self.key(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        scores = (query * keys).sum(2) / keys.shape[2]**0.5
        return (scores + self.position[:, None, None]).softmax(1)

    def fuse(self, maps: Tensor) -> Tensor:
        attended = (self.weights(maps)[:, :, None] * maps).sum(1)
        return self.layers(torch.cat([maps[:, self.target_index], attended], 1))


@MODELS.register_module()
class TargetFrameOnly(TemporalFusion):
    """Ablation: no fusion; the target's map alone passes two 3x3 convolutions.

    The pipeline loads windows of one frame for it, so that a model costs what T = 1 costs. Arguments: see
    :class:`TemporalFusion`.
    """

    def __init__(self, in_channels: int, num_frames: int, channels: int = 64, **kwargs) -> None:
        super().__init__(in_channels, num_frames, channels, **kwargs)
        self.layers = conv_layers(in_channels, channels, 3, 3)

    def fuse(self, maps: Tensor) -> Tensor:
        return self.layers(maps[:, self.target_index])
