"""The refinement network F_refine."""
from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MaskPriorRefiner(TopdownPoseEstimator):
    """H^r = F_refine(I_t, H^c, M^c), on the target frame alone (paper, section 2.2).

    ``backbone`` and ``neck`` are the visual stem, ``head`` is a :class:`RefineHead`. The coarse network and the
    segmenter are not part of it: their outputs arrive with the data, in training as in testing.

    Args:
        args: See :class:`mmpose.models.TopdownPoseEstimator`.
        freeze_stem: Keep backbone and neck as they are, in evaluation mode: for a stem that is the coarse network's.
        kwargs: See :class:`mmpose.models.TopdownPoseEstimator`.
    """

    def __init__(self, *args, freeze_stem: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.freeze_stem = freeze_stem
        if freeze_stem:
            self.backbone.requires_grad_(False)
            self.neck.requires_grad_(False)

    def train(self, mode: bool = True) -> 'MaskPriorRefiner':
        """As in torch; a frozen stem stays in evaluation mode, its statistics too."""
        super().train(mode)
        if self.freeze_stem:
            self.backbone.eval()
            self.neck.eval()
        return self

    def refine(self, image: Tensor, coarse: Tensor, mask: Tensor, validity: Tensor) -> tuple[Tensor, Tensor | None]:
        """Refined heatmaps of normalised pictures; shapes as in :meth:`RefineHead.forward`, ``image`` (N, 3, H, W)."""
        return self.head(self.extract_feat(image), coarse, mask, validity)
