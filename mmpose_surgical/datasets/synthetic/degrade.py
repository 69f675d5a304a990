"""What stands between the scene and the file: smoke, lens, sensor, compression."""
from functools import lru_cache

import cv2
import numpy as np

from mmpose_surgical.datasets.synthetic.scene import SIZE, ClipScene, VideoLook


@lru_cache(maxsize=8)
def _lens(vignette: float, radius: float | None, centre: tuple[float, float], gain: tuple[float, ...]) -> np.ndarray:
    """Gain (H, W, 3): bright centre, dark corners, the edge of a round field of view, white balance."""
    ys, xs = np.mgrid[:SIZE[1], :SIZE[0]].astype(np.float32)
    away = np.hypot(xs - centre[0], ys - centre[1])
    falloff = 1.12 / (1 + vignette * 1.6 * (away / (0.62 * SIZE[0]))**2.2)
    if radius is not None:
        falloff *= np.clip((radius - away) / 3.0 + 0.5, 0, 1)
    return (falloff[..., None] * np.array(gain)).astype(np.float32)


_GAMMA = (np.linspace(0, 1, 256)**(1 / 1.15) * 255 + 0.5).astype(np.uint8)


def smoke_field(rng: np.random.Generator, severity: float) -> np.ndarray | None:
    """Smoke density (H, W) in 0..1 for a clip, ``None`` for one without; frames look at it through a moving window."""
    # Drawn in any case, so that smoke changes nothing else in a clip.
    octaves = [rng.random((n, n)).astype(np.float32) for n in (4, 8, 14)]
    if severity <= 0:
        return None
    field = sum(cv2.resize(octave, (SIZE[0] + 120, SIZE[1] + 90), interpolation=cv2.INTER_CUBIC) / k
                for k, octave in enumerate(octaves, 1))
    return np.clip(field / 1.83, 0, 1)


def degrade(image: np.ndarray, scene: ClipScene, look: VideoLook, smoke: np.ndarray | None, number: int,
            rng: np.random.Generator) -> np.ndarray:
    """A clean render (H, W, 3) float to the picture that a recorder would store, BGR uint8."""
    severity = scene.conditions
    if smoke is not None:
        x, y = int(7 * number) % 120, int(4 * number) % 90
        density = np.float32(0.85 * severity['smoke']) * smoke[y:y + SIZE[1], x:x + SIZE[0]]
        image = image + density[..., None] * (np.array([0.66, 0.64, 0.62], np.float32) - image)
    gain = tuple(float(look.exposure * value) for value in look.tint)
    lens = _lens(look.vignette, look.round_radius, look.round_centre, gain)
    picture = cv2.LUT(cv2.multiply(image, lens, scale=255, dtype=cv2.CV_8U), _GAMMA)
    picture = cv2.GaussianBlur(picture, (0, 0), look.defocus + 2.6 * severity['blur'])
    if severity['blur'] > 0.35:
        picture = cv2.blur(picture, (1 + 2 * round(5 * severity['blur']), 1))
    grain = (rng.standard_normal((SIZE[1] // 2, SIZE[0] // 2)) * look.noise * 255).astype(np.float32)
    grain = cv2.resize(grain, SIZE, interpolation=cv2.INTER_LINEAR)
    return cv2.add(picture, cv2.cvtColor(grain, cv2.COLOR_GRAY2BGR), dtype=cv2.CV_8U)
