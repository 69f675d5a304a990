"""A backbone for clips around any MMPose backbone."""
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MultiFrameBackbone(BaseModule):
    """Per-frame network with shared weights, then fusion over time to the target frame (paper, section 2.1).

    Every frame passes ``backbone`` and ``neck`` alone and becomes a small map; ``fusion`` joins the maps of the window.
    Both halves can be called by themselves, so that a video needs one pass of the network per frame.

    Args:
        backbone: Config of any MMPose backbone.
        neck: Config of a neck that returns one map, e.g. :class:`LateralSum`.
        fusion: Config of a temporal fusion; its ``in_channels`` is the width of the per-frame map.
        init_cfg: Initialisation as in MMEngine.
    """

    def __init__(self, backbone: dict, neck: dict, fusion: dict, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.fusion = MODELS.build(fusion)

    def per_frame(self, frames: Tensor) -> Tensor:
        """Maps (B, C, h, w) of single frames (B, 3, H, W)."""
        return self.neck(self.backbone(frames))[-1]

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
