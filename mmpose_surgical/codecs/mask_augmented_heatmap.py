"""The target of direct mask supervision: Gaussian peaks on a weak plateau over the acting tool."""
import math
from collections.abc import Sequence

import numpy as np
from mmpose.registry import KEYPOINT_CODECS

from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
from mmpose_surgical.errors import UserError


@KEYPOINT_CODECS.register_module()
class MaskAugmentedHeatmap(LandmarkHeatmap):
    """Piecewise target of the ablation (paper, section 2.4).

    Per landmark type, with P its Gaussian map and M the mask of the acting tools::

        H~(x) = P(x)   where x is within the keypoint radius of a point of this type
                alpha  elsewhere on the mask
                0      elsewhere

    The keypoint radius is ``sigma * sqrt(2 ln(1 / alpha))``, where the Gaussian has fallen to alpha: the target is
    continuous on the tool, and the three regions can be read off its values (see
    :class:`~mmpose_surgical.models.losses.GatedMSELoss`). Off the mask the keypoint region wins.

    Args:
        input_size: See :class:`LandmarkHeatmap`.
        heatmap_size: See :class:`LandmarkHeatmap`.
        alpha: Height of the plateau.
        kwargs: Other arguments of :class:`LandmarkHeatmap`.
    """

    auxiliary_encode_keys = {'landmark_annotated', 'tool_mask', 'tool_actions'}

    def __init__(self, input_size: tuple[int, int], heatmap_size: tuple[int, int], alpha: float = 0.1,
                 **kwargs) -> None:
        super().__init__(input_size, heatmap_size, **kwargs)
        if not 0 < alpha < 1:
            raise UserError(f'codec.alpha is {alpha}', fix='use a height in (0, 1), by default 0.1')
        self.alpha = alpha

    @property
    def keypoint_radius(self) -> float:
        """Radius of the region around a point, in heatmap pixels."""
        return self.sigma * math.sqrt(2 * math.log(1 / self.alpha))

    def encode(self,
               keypoints: np.ndarray,
               keypoints_visible: np.ndarray | None = None,
               landmark_annotated: np.ndarray | None = None,
               tool_mask: np.ndarray | None = None,
               tool_actions: Sequence[str | None] | None = None) -> dict:
        """Landmarks and mask to target maps.

        Args:
            keypoints: See :meth:`LandmarkHeatmap.encode`.
            keypoints_visible: See :meth:`LandmarkHeatmap.encode`.
            landmark_annotated: See :meth:`LandmarkHeatmap.encode`.
            tool_mask: Bool (h, w) on the heatmap grid, the acting tools' masks joined.
            tool_actions: See :meth:`LandmarkHeatmap.encode`. With maps per action the plateau lies in those of the
                actions that are done in this frame.

        Returns:
            As :meth:`LandmarkHeatmap.encode`.
        """
        if tool_mask is None:
            raise UserError('direct mask supervision without masks', 'train_dataloader.dataset.pipeline',
                            "put dict(type='LoadToolMask') before GenerateTarget")
        encoded = super().encode(keypoints, keypoints_visible, landmark_annotated, tool_actions)
        gaussians = encoded['heatmaps']
        # Within the radius of the nearest point its Gaussian is at least alpha, and nowhere else.
        plateau = np.broadcast_to(np.where(tool_mask, np.float32(self.alpha), np.float32(0)), gaussians.shape)
        if self.actions:
            done = [action in (tool_actions or ()) for action in self.actions]
            plateau = plateau * np.tile(np.float32(done), len(self.landmarks))[:, None, None]
        encoded['heatmaps'] = np.where(gaussians >= self.alpha, gaussians, plateau)
        return encoded

    def decode(self, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`LandmarkHeatmap.decode`; a peak no higher than the plateau is none."""
        keypoints, scores = super().decode(encoded)
        on_plateau = scores <= self.alpha
        return np.where(on_plateau[..., None], np.float32(0), keypoints), np.where(on_plateau, np.float32(0), scores)
