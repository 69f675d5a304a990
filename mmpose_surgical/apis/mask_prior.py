"""A mask prior for one picture at hand: the backend of the stores, live."""
from collections.abc import Mapping
from typing import Any

import numpy as np

import mmpose_surgical.plugin  # noqa: F401  (registers the backends)
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import LANDMARKS
from mmpose_surgical.priors.base import MaskPrior, PriorFrame, build_backend
from mmpose_surgical.priors.prompts import PromptRule, prompts_from_points


class LiveMaskPrior:
    """M^c of single pictures (paper, section 2.2): what a store of the same backend holds for them.

    On the same kind of device, and at ``batch_size=1`` there, equal to the bit.

    Args:
        prior: As in a config: ``dict(backend='sam3', checkpoint=PATH, ...)``.
        thresholds: Least score of a prompt for ``tip`` and ``anchor`` (``prompt_thresholds.json`` of a run).

    Raises:
        UserError: There is no such backend, it lacks weights, a threshold is missing, or its prompts are to come from
            ground truth.
    """

    def __init__(self, prior: Mapping[str, Any], thresholds: Mapping[str, float]) -> None:
        rule = PromptRule.of(prior)
        if rule.oracle:
            raise UserError('a picture at hand has no ground-truth points for oracle prompts', 'prior.points',
                            'use coarse')
        self.landmarks = rule.landmarks
        self.backend = build_backend(prior)
        if missing := [name for name in LANDMARKS if name not in thresholds]:
            raise UserError(f'no prompt threshold for {", ".join(missing)}', fix='give one for each landmark, as in '
                            'prompt_thresholds.json of a run')
        self.thresholds = dict(thresholds)

    @property
    def name(self) -> str:
        """Of the backend."""
        return self.backend.name

    def prompts(self, keypoints: np.ndarray, scores: np.ndarray,
                size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The prompts that coarse points give in a picture of (width, height); see :func:`prompts_from_points`."""
        return prompts_from_points(keypoints, scores, self.thresholds, size, self.landmarks)

    def __call__(self, picture: np.ndarray, keypoints: np.ndarray, scores: np.ndarray,
                 image_id: int | None = None) -> MaskPrior:
        """Segment the tool under coarse points.

        Args:
            picture: BGR uint8 (H, W, 3).
            keypoints: (3, 2) in the slots tip1, tip2, anchor; pixels of the picture.
            scores: (3,).
            image_id: Its id, where it has one.

        Returns:
            The prior; not valid where no point is sure enough.

        Raises:
            UserError: The picture is of another kind.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise UserError(f'the picture is {picture.dtype} of shape {picture.shape}, not uint8 (height, width, 3)',
                            fix='convert it, e.g. with cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)')
        frame = PriorFrame(np.ascontiguousarray(picture[..., ::-1]), image_id)
        return self.backend.prior(frame, *self.prompts(keypoints, scores, frame.size))
