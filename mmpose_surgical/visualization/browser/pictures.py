"""Pictures and outlines of masks as a page embeds them."""
from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.datasets.frame_file import FrameFile
from mmpose_surgical.datasets.records import Frame, Tool
from mmpose_surgical.errors import UserError
from mmpose_surgical.visualization.browser.clips import Place

_QUALITY = 80
_TOLERANCE = 1 / 800
"""Share of a picture's width by which an outline may differ from its mask: less than is seen."""


class Pictures:
    """JPEG pictures of a page, each of them once.

    Args:
        root: Folder of the data set.
        width: Pixels; smaller pictures keep their size.
    """

    def __init__(self, root: Path, width: int) -> None:
        self.root, self.width = root, width
        self.addresses: list[str] = []
        self._known: dict[FrameFile, tuple[int, tuple[int, int]]] = {}

    def add(self, neighbour: Frame, place: Place) -> tuple[int, tuple[int, int]]:
        """Embed a picture.

        Args:
            neighbour: A listed picture of the same clip, which knows where frames lie.
            place: Which picture.

        Returns:
            Its index, and its own width and height in pixels.

        Raises:
            UserError: It cannot be located, read or decoded.
        """
        file = place.frame.file(self.root) if place.frame else neighbour.file(self.root, place.number)
        if file not in self._known:
            picture = file.read()
            self._known[file] = len(self.addresses), picture.shape[1::-1]
            self.addresses.append(_address(picture, self.width))
        return self._known[file]

    def forget(self, count: int) -> None:
        """Drop all pictures but the first ``count``."""
        del self.addresses[count:]
        self._known = {file: known for file, known in self._known.items() if known[0] < count}


def _address(picture: np.ndarray, width: int) -> str:
    """A picture (H, W, 3) BGR as an address that needs no file."""
    own_height, own_width = picture.shape[:2]
    if own_width > width:
        picture = cv2.resize(picture, (width, max(1, round(own_height * width / own_width))),
                             interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return 'data:image/jpeg;base64,' + base64.b64encode(jpeg).decode()


def outline(tool: Tool, frame: Frame) -> str:
    """The mask of a tool as an SVG path in pixels of the picture, holes by the even-odd rule; ``''`` without a mask.

    Raises:
        UserError: The mask cannot be decoded.
    """
    mask = tool.mask(frame.height, frame.width)
    if mask is None:
        return ''
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [cv2.approxPolyDP(ring, frame.width * _TOLERANCE, closed=True)[:, 0] for ring in rings]
    return ''.join('M' + 'L'.join(f'{x} {y}' for x, y in ring) + 'Z' for ring in rings if len(ring) > 2)


def words_of(error: UserError, root: Path) -> str:
    """An error without the place of the data set on this machine, which a page that is passed on need not tell."""
    return without_root(' '.join(str(error).split()), root)


def without_root(text: str, root: Path) -> str:
    return text.replace(f'{root}/', '') if root != Path('.') else text
