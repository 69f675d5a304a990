"""A drawn scene that the tests of the priors share."""
import cv2
import numpy as np
import pytest


@pytest.fixture(scope='session')
def tools() -> list[np.ndarray]:
    """Masks (480, 640) of two tools: one from the left border, one from the right, 100 px apart."""
    masks = []
    for start, end in (((0, 300), (250, 200)), ((639, 150), (380, 330))):
        canvas = np.zeros((480, 640), np.uint8)
        cv2.line(canvas, start, end, 1, 26)
        masks.append(canvas.astype(bool))
    return masks


@pytest.fixture(scope='session')
def picture(tools: list[np.ndarray]) -> np.ndarray:
    """RGB (480, 640, 3): grey tools with a highlight on reddish ground that varies, under a headlight's falloff."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.uniform(0.8, 1.2, (12, 16, 1)), (640, 480), interpolation=cv2.INTER_CUBIC)[..., None]
    rgb = ground * np.array([170., 70., 60.])
    for mask in tools:
        rgb[mask] = (150, 152, 158)
        core = cv2.erode(mask.astype(np.uint8), np.ones((17, 17), np.uint8)).astype(bool)
        rgb[core] = (235, 236, 240)
    y, x = np.mgrid[:480, :640]
    falloff = 1.1 - 0.5 * np.hypot((x - 320) / 320, (y - 240) / 240)
    rgb = rgb * falloff[..., None] + rng.normal(0, 4, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8)
