"""Heatmaps in the record of a frame, in 8 bits (no torch in here)."""
import base64
import zlib
from typing import Any

import numpy as np


def pack_heat(maps: np.ndarray) -> dict[str, Any]:
    """Maps (L, h, w) in [0, 1] as JSON values."""
    levels = np.rint(255 * np.clip(maps, 0, 1)).astype(np.uint8)
    return dict(shape=list(levels.shape), data=base64.b64encode(zlib.compress(levels.tobytes())).decode())


def unpack_heat(packed: dict[str, Any]) -> np.ndarray:
    """The inverse: uint8 (L, h, w), of which 255 is 1."""
    return np.frombuffer(zlib.decompress(base64.b64decode(packed['data'])), np.uint8).reshape(packed['shape'])
