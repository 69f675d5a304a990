"""A backbone for clips around any MMPose backbone."""
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MultiFrameBackbone(BaseModule):
    """Per-frame network with shared weights, then fusion over time to the target frame (paper, section 2.1).

    Every frame passes ``backbone`` and ``neck`` alone and is projected to a small map; ``fusion`` joins the maps of the
    window. Both halves can be called by themselves, so that a video needs one pass of the network per frame.

    Args:
        backbone: Config of any MMPose backbone.
        fusion: Config of a temporal fusion; its ``in_channels`` is the width of the per-frame map.
        neck: Config of a neck that returns one map of the wanted stride. The default joins all levels of the
            backbone at the finest one (hypercolumn), which needs no input sides that are multiples of 32.
        neck_channels: Channels that the neck returns.
        init_cfg: Initialisation as in MMEngine.
    """

    def __init__(self,
                 backbone: dict,
                 fusion: dict,
                 neck_channels: int,
                 neck: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck or dict(type='FeatureMapProcessor', concat=True))
        self.fusion = MODELS.build(fusion)
        channels = self.fusion.in_channels
        self.projection = nn.Sequential(
            nn.Conv2d(neck_channels, 2 * channels, 1, bias=False), nn.BatchNorm2d(2 * channels), nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True))

    def per_frame(self, frames: Tensor) -> Tensor:
        """Maps (B, C, h, w) of single frames (B, 3, H, W)."""
        maps = self.neck(self.backbone(frames))
        return self.projection(maps[-1] if isinstance(maps, (list, tuple)) else maps)

    def fuse(self, maps: Tensor) -> Tensor:
        """Fused map (N, C', h, w) of a window of per-frame maps (N, T, C, h, w), oldest first."""
        return self.fusion(maps)

    def forward(self, clips: Tensor) -> tuple[Tensor]:
        """Fused map of clips (N, T, 3, H, W), or of single frames (N, 3, H, W) as clips of one.

        Returns:
            A tuple with one map (N, C', h, w), as MMPose's heads expect.
        """
        if clips.dim() == 4:
            clips = clips[:, None]
        maps = self.per_frame(clips.flatten(0, 1))
        return (self.fuse(maps.unflatten(0, clips.shape[:2])), )
