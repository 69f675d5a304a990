"""Tissue: one textured, shaded height field per clip, larger than the picture so that the camera can move over it."""
import cv2
import numpy as np

from mmpose_surgical.datasets.synthetic.scene import SIZE, TISSUE_DEPTH, VideoLook

MARGIN = 48
"""Pixels of tissue beyond each side of the picture."""

_SCALE = 2  # tissue is soft: half the resolution shows nothing less, and costs a quarter
_CANVAS = ((SIZE[0] + 2 * MARGIN) // _SCALE, (SIZE[1] + 2 * MARGIN) // _SCALE)


def fractal(rng: np.random.Generator, cells: int, octaves: int, gain: float = 0.5) -> np.ndarray:
    """Smooth noise of about unit range, float32 (h, w) of the canvas; ``cells`` across in the first octave."""
    width, height = _CANVAS
    total, amplitude, norm = np.zeros((height, width), np.float32), 1.0, 0.0
    for octave in range(octaves):
        n = cells * 2**octave
        field = rng.standard_normal((max(3, n * height // width + 3), n + 3)).astype(np.float32)
        total += np.float32(amplitude) * cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
        norm += amplitude**2
        amplitude *= gain
    return total / np.float32(1.6 * np.sqrt(norm))


def _smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _planes(*bgr: float) -> np.ndarray:
    """One colour as (3, 1, 1), for pictures kept by planes."""
    return np.array(bgr, np.float32)[:, None, None]


def make_tissue(seed: int, look: VideoLook, blood: float,
                fold: tuple[float, float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Colour and depth of the tissue of a clip.

    Args:
        seed: Of this clip's texture.
        look: Appearance of the video.
        blood: Severity 0 to 1.
        fold: Place (x, y) in pixels and radius of a lobe that bulges towards the camera and can hide a tip.

    Returns:
        Shaded BGR float32 (H, W, 3) in 0..1.4 and depth float32 (H, W) in cm, both with ``MARGIN`` on each side.
    """
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:_CANVAS[1], :_CANVAS[0]].astype(np.float32)
    warp_x, warp_y = 38 * fractal(rng, 3, 3), 38 * fractal(rng, 3, 3)

    def warped(field: np.ndarray, share: float = 1.0) -> np.ndarray:
        return cv2.remap(field, xs + share * warp_x, ys + share * warp_y, cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REFLECT)

    lobes, region = warped(fractal(rng, 2, 2, 0.4)), warped(fractal(rng, 2, 2, 0.4))
    lumps, fine = warped(fractal(rng, 14, 3, 0.55), 0.5), fractal(rng, 70, 2, 0.6)
    colour, crease, height = _materials(rng, look, region)
    colour *= 1 - 0.22 * crease
    colour *= 1 + 0.09 * lumps + 0.05 * fine + 0.10 * lobes
    vessel = np.exp(-(warped(fractal(rng, 7, 3)) / 0.030)**2) * _smoothstep(warped(fractal(rng, 4, 1)), 0.0, 0.7)
    colour += 0.40 * vessel * (_planes(0.12, 0.08, 0.50) - colour)
    if blood > 0:
        pool = _smoothstep(warped(fractal(rng, 4, 3)), 0.75 - 0.9 * blood, 0.95 - 0.9 * blood)
        colour += 0.85 * pool * (_planes(0.05, 0.03, 0.34) - colour)

    depth = TISSUE_DEPTH - 0.9 * lobes - 0.08 * lumps - 0.45 * height
    if fold is not None:
        away = np.hypot(xs * _SCALE - MARGIN - fold[0], 1.3 * (ys * _SCALE - MARGIN - fold[1])) / fold[2]
        depth -= 1.9 * np.exp(-away**4)
    # Bumps of millimetres decide the highlights although they hardly change the depth.
    surface = (-depth * 28 + 1.6 * lumps + 0.30 * fine).astype(np.float32)
    gx, gy = (cv2.Sobel(surface, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    nz = 1 / np.sqrt(1 + gx * gx + gy * gy)
    # The light sits beside the lens, so the half vector nearly is the view.
    facing = np.clip((1 + 0.30 * gx + 0.40 * gy) * nz, 0, 1.15)
    colour *= (TISSUE_DEPTH / depth)**2 * (0.22 + 0.78 * facing)
    moist = _smoothstep(warped(fractal(rng, 5, 2)), -0.1, 0.7) * _smoothstep(fine + lumps, 0.2, 1.1)
    wet = cv2.GaussianBlur(np.clip(facing * nz, 0, 1)**60 * moist, (0, 0), 0.7)
    colour += 1.3 * wet * rng.uniform(0.4, 1.0)
    full = (_CANVAS[0] * _SCALE, _CANVAS[1] * _SCALE)
    colour = cv2.resize(cv2.merge(np.clip(colour, 0, 1.4)), full, interpolation=cv2.INTER_CUBIC)
    depth = cv2.resize(depth.astype(np.float32), full, interpolation=cv2.INTER_LINEAR)
    return np.clip(colour, 0, 1.4, out=colour), depth


def _materials(rng: np.random.Generator, look: VideoLook,
               region: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two to four kinds of tissue side by side.

    Returns:
        Colour (3, h, w), BGR; how near (h, w) a border is, 0 to 1; how far (h, w) the upper kinds stand out, in steps.
    """
    palette = look.palette.astype(np.float32)
    order = rng.permutation(len(palette))[:int(rng.choice([2, 3, 4], p=[0.35, 0.45, 0.2]))]
    lows = np.sort(rng.uniform(-0.7, 0.6, len(order) - 1))
    colour = np.broadcast_to(_planes(*palette[order[0]]), (3, *region.shape)).copy()
    crease, height = np.zeros_like(region), np.zeros_like(region)
    for low, material in zip(lows, order[1:]):
        weight = _smoothstep(region, low, low + rng.uniform(0.10, 0.4))
        colour += weight * (_planes(*palette[material]) - colour)
        crease = np.maximum(crease, 4 * weight * (1 - weight))
        height += weight
    return colour, crease, height
