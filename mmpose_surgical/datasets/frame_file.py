"""Where a frame lies: a picture file, or a place in a video file (no torch in here)."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmpose_surgical.pictures import check_size, read_picture


@dataclass(frozen=True, order=True)
class FrameFile:
    """A picture file; or, with ``number``, that picture of a video file, counted from 0 in the order of display."""
    path: Path
    number: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.number is None else f'{self.path}#{self.number}'

    def read(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Decode to BGR uint8 (H, W, 3).

        Args:
            size: Width and height that the annotation gives; ``None`` takes any.

        Raises:
            UserError: It cannot be read or decoded, or is of another size.
        """
        if self.number is None:
            return read_picture(self.path, size)
        from mmpose_surgical.datasets.video_file import open_video  # PyAV, which picture folders do not need
        picture = open_video(self.path).read(self.number)
        check_size(picture, size, self)
        return picture
