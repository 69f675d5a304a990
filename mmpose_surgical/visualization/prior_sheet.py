"""Mask priors as pictures: prompts, outline, and the acting tool where the data knows it."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.files import write_atomically
from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.visualization.overlays import PRIOR_COLOUR, caption_bar, contact_sheet, write_picture

PROMPT_COLOUR = (255, 0, 255)
TRUTH_COLOUR = (80, 220, 80)


def draw_prior(picture: np.ndarray, prior: MaskPrior, truth: np.ndarray | None, caption: str,
               backend: str) -> np.ndarray:
    """Draw one prior.

    Args:
        picture: (H, W, 3) BGR uint8.
        prior: A failed one has no outline, as its mask counts for nothing.
        truth: Bool (H, W) mask of the acting tool, or ``None``.
        caption: First line below the picture.
        backend: What made the prior, and from which prompts if not the usual ones, for the line below that.

    Returns:
        (H + caption, W, 3) BGR uint8.
    """
    canvas = picture.copy()
    height, width = canvas.shape[:2]
    unit = max(width / 640, 0.5)
    thick = max(1, round(1.5 * unit))
    mask = cv2.resize(prior.probability(), (width, height)) > 0.5
    for region, colour in ((truth, TRUTH_COLOUR), (mask, PRIOR_COLOUR)):
        if region is not None:
            outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(canvas, outlines, -1, colour, thick, cv2.LINE_AA)
    for x, y in prior.points_xy:
        for radius, colour in ((6, (0, 0, 0)), (4, PROMPT_COLOUR)):
            cv2.circle(canvas, (round(float(x)), round(float(y))), round(radius * unit), colour, -1, cv2.LINE_AA)
    legend = f'white: prior by {backend}   green: acting tool   dot: prompt'
    return np.vstack([canvas, caption_bar(width, unit, [caption, legend])])


def write_sheet(path: Path, pictures: Sequence[np.ndarray]) -> None:
    """Write drawn priors side by side as one JPEG."""
    sheet = contact_sheet(pictures)
    write_atomically(path, lambda temporary: write_picture(temporary, sheet))
