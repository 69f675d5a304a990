"""Reading pictures, one way for data set, priors and overlays (no torch in here)."""
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.errors import UserError


def read_picture(path: str | Path) -> np.ndarray:
    """Decode a picture to BGR uint8 (H, W, 3).

    Raises:
        UserError: The file cannot be read or decoded.
    """
    try:
        picture = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise UserError(f'picture cannot be read: {error}', path, 'restore the file') from None
    if picture is None:
        raise UserError('picture cannot be decoded', path, 'restore the file, it is truncated or no picture')
    return picture
