"""A stand-in for SAM 3 that needs no weights: OpenCV's GrabCut, seeded by positive points."""
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmpose.registry import TASK_UTILS

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPriorBackend, PriorFrame, signed_distance

_BLACK = 6
"""L (of 100) below which a pixel belongs to the dark surround of a round field of view: grey, but no tool."""


@dataclass(frozen=True)
class _Embedding:
    planes: np.ndarray
    size: tuple[int, int]


@TASK_UTILS.register_module(name='grabcut')
class GrabCutPrior(MaskPriorBackend):
    """Instrument mask by colour (Rother et al., GrabCut, SIGGRAPH 2004), on any picture (a stand-in).

    Works on chroma, redness and damped lightness (of Lab), because highlights and the headlight's falloff
    cross the outline of a tool, while steel and plastic stay grey and tissue red or yellow. Around the
    prompts lies sure foreground; grey pixels between them and along the tool's axis are probable foreground,
    other pixels of a wide region probable background, and all beyond it is sure background.

    Args:
        work_side: Longer side in px at which the cut is made: half size for 640x480.
        lightness: Factor on L before the cut.
        iterations: Rounds of GrabCut.
        softness: Distance from the outline, in px at ``work_side``, at which the logit reaches 1.
    """
    name = 'grabcut'
    stand_in = True

    def __init__(self, work_side: int = 320, lightness: float = 0.3, iterations: int = 5,
                 softness: float = 1., long_side: int = 192, max_share: float = 0.3) -> None:
        super().__init__(long_side, max_share)
        if work_side < 32 or iterations < 1 or softness <= 0 or not 0 <= lightness <= 1:
            raise UserError('an option of the grabcut prior is out of range',
                            fix='use work_side >= 32, iterations >= 1, softness > 0 and lightness in [0, 1]')
        self.work_side = work_side
        self.lightness = lightness
        self.iterations = iterations
        self.softness = softness

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {'work_side': self.work_side, 'lightness': self.lightness,
                                       'iterations': self.iterations, 'softness': self.softness}

    def embed(self, frame: PriorFrame) -> _Embedding:
        """Shrink, and turn colour into chroma, redness and damped lightness: uint8 (h, w, 3)."""
        scale = min(1., self.work_side / max(frame.size))
        small = (max(8, round(frame.size[0] * scale)), max(8, round(frame.size[1] * scale)))
        rgb = cv2.resize(frame.rgb, small, interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(cv2.medianBlur(rgb, 3).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        lightness, red, yellow = cv2.split(lab)
        planes = [np.hypot(red, yellow) * 4, red * 3 + 128,
                  np.where(lightness < _BLACK, 0, 1 + lightness * 2.55 * self.lightness)]
        return _Embedding(np.clip(np.rint(np.stack(planes, -1)), 0, 255).astype(np.uint8), frame.size)

    def segment(self, embedding: _Embedding, points_xy: np.ndarray,
                labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        height, width = embedding.planes.shape[:2]
        # From pixel centres of the original to pixel centres at work size.
        factor = np.array([width / embedding.size[0], height / embedding.size[1]])
        points = (points_xy.astype(np.float64) + 0.5) * factor - 0.5
        points = np.clip(points, 0, [width - 1, height - 1])
        positive = np.rint(points[labels == 1]).astype(int)
        trimap, picture = _trimap(embedding.planes, points[labels == 1], points[labels != 1])
        seed = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
        # k-means inside GrabCut draws from OpenCV's generator, whose state would depend on the calls before.
        cv2.setRNGSeed(0)
        if not seed.all() and seed.any():
            cv2.grabCut(picture, trimap, None, np.zeros((1, 65)), np.zeros((1, 65)), self.iterations,
                        cv2.GC_INIT_WITH_MASK)
        foreground = _under((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD), positive, 1)
        margin = _margin(picture, foreground, trimap)
        distance = np.clip(signed_distance(foreground), -20, 20)
        agreement = (foreground & seed).sum() / max(1, (foreground | seed).sum())
        return self.to_grid(distance / self.softness, embedding.size), float(agreement), margin


def _trimap(planes: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """GrabCut's four classes around the prompts (P, 2), which are in px at work size, and the picture to cut.

    The picture is ``planes`` with tissue in place of the dark surround and of what is grey far from the
    prompts: other tools would otherwise teach the background model the colour of the one that is looked for.
    """
    shape = planes.shape[:2]
    unit = max(shape) / 320
    chroma, black = planes[..., 0], planes[..., 2] == 0
    pixels = np.rint(positive).astype(int)
    joints, discs = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for index, point in enumerate(pixels):
        cv2.circle(discs, point.tolist(), round(4 * unit), 1, -1)
        for other in pixels[index:]:
            cv2.line(joints, point.tolist(), other.tolist(), 1, max(1, round(8 * unit)))
    region = (_region(shape, positive, unit) > 0) & ~black
    on_tool = (joints > 0) & ~black

    # Half of what lies between the prompts may be tissue (open jaws), hence a low quantile for the tool.
    grey = np.percentile(chroma[on_tool], 25) if on_tool.any() else 0.
    usual = np.median(chroma[region]) if region.any() else 0.
    neutral = (chroma < (grey + usual) / 2) & ~black
    trimap = np.where(region, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    trimap[_under(neutral & region, pixels, 4 * unit) | (discs > 0)] = cv2.GC_PR_FGD
    # A prompt is a few px off at times: only what is grey around it is sure.
    trimap[(discs > 0) & neutral] = cv2.GC_FGD
    trimap[pixels[:, 1], pixels[:, 0]] = cv2.GC_FGD
    for point in np.rint(negative).astype(int):
        cv2.circle(trimap, point.tolist(), round(4 * unit), cv2.GC_BGD, -1)

    picture = planes.copy()
    if (region & ~neutral).any():
        picture[(~region & neutral) | black] = np.median(planes[region & ~neutral], axis=0).astype(np.uint8)
    # On flat colour the cut has no unique minimum, and the search for one takes minutes: noise in the last bit.
    picture ^= np.random.default_rng(0).integers(0, 2, planes.shape, np.uint8)
    return trimap, picture


def _region(shape: tuple[int, int], positive: np.ndarray, unit: float) -> np.ndarray:
    """Where the tool may be: discs around the prompts, and wedges along their axis to the border."""
    region = np.zeros(shape, np.uint8)
    for point in np.rint(positive).astype(int):
        cv2.circle(region, point.tolist(), round((30 if len(positive) > 1 else 75) * unit), 1, -1)
    centre = positive.mean(0)
    spread = positive - centre
    values, axes = np.linalg.eigh(spread.T @ spread)
    if values[1] < (6 * unit) ** 2:
        return region
    axis, across = axes[:, 1], axes[:, 0]
    reach = 2. * max(shape)
    for side in (axis, -axis):
        far = centre + side * reach
        corners = [centre - 14 * unit * across, centre + 14 * unit * across,
                   far + 0.18 * reach * across, far - 0.18 * reach * across]
        cv2.fillConvexPoly(region, np.rint(corners).astype(np.int32), 1)
    return region


def _under(foreground: np.ndarray, pixels: np.ndarray, radius: float) -> np.ndarray:
    """The connected parts of the foreground within ``radius`` px of a prompt."""
    _, parts = cv2.connectedComponents(foreground.astype(np.uint8), connectivity=4)
    near = np.zeros(foreground.shape, np.uint8)
    for point in pixels:
        cv2.circle(near, point.tolist(), max(1, round(radius)), 1, -1)
    wanted = np.unique(parts[near > 0])
    return np.isin(parts, wanted[wanted > 0])


def _margin(picture: np.ndarray, foreground: np.ndarray, trimap: np.ndarray) -> float:
    """Mean log-likelihood ratio (nats) of the mask's colours: a Gaussian of their own against the others'."""
    others = ~foreground & (trimap != cv2.GC_BGD)
    if foreground.sum() < 8 or others.sum() < 8:
        return 0.
    pixels, rest = picture[foreground].astype(np.float64), picture[others].astype(np.float64)
    return float((_log_density(pixels, pixels) - _log_density(pixels, rest)).mean())


def _log_density(pixels: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Log density of (N, 3) colours under a Gaussian fitted to (M, 3), up to a constant."""
    covariance = np.cov(sample.T) + np.eye(3)
    centred = pixels - sample.mean(0)
    return -0.5 * ((centred @ np.linalg.inv(covariance) * centred).sum(1) + np.linalg.slogdet(covariance)[1])
