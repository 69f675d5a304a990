"""Reading pictures, one way for data set, priors and overlays (no torch in here)."""
import re
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.errors import UserError

PICTURE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
"""Of files that are pictures, in any case."""

MAX_SIDE = 65535
"""Pixels of the longer side of a picture, at most: what a JPEG can have."""


def read_picture(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a picture to BGR uint8 (H, W, 3); grey ones get three equal channels, 16 bits are scaled to 8.

    Args:
        path: The file.
        size: Width and height that its annotation gives; ``None`` takes any.

    Raises:
        UserError: The file cannot be read or decoded, is a JPEG that was cut off, or is of another size.
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise UserError(f'picture cannot be read: {error}', path, 'restore the file') from None
    if picture is None or _is_cut_off(content.tobytes()):
        raise UserError('picture cannot be decoded', path, 'restore the file, it is truncated or no picture')
    check_size(picture, size, path)
    return picture


def check_size(picture: np.ndarray, size: tuple[int, int] | None, where: object) -> None:
    """Refuse a picture (H, W, 3) that is not of the (width, height) that its annotation gives, if it gives one.

    Raises:
        UserError: It is of another size.
    """
    height, width = picture.shape[:2]
    if size is not None and size != (width, height):
        raise UserError(f'picture is {width}x{height}, the annotation says {size[0]}x{size[1]}', str(where),
                        'correct "width" and "height" of the image record')


# Not a stuffed byte, a fill byte, or a restart within a scan.
_MARKER = re.compile(rb'\xff([^\x00\xff\xd0-\xd7])')


def _is_cut_off(content: bytes) -> bool:
    """Whether a JPEG lacks its end mark. OpenCV fills what is missing with grey and only warns.

    Segments are walked over by their lengths: a thumbnail in the header has an end mark too, and anything may follow
    the picture's own.
    """
    if not content.startswith(b'\xff\xd8'):
        return False
    at = 2
    while marker := _MARKER.search(content, at):
        if marker[1] == b'\xd9':
            return False
        at = marker.end() + int.from_bytes(content[marker.end():marker.end() + 2], 'big')
    return True
