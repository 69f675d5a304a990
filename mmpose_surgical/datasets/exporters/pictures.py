"""Pictures of a data set to another folder."""
import shutil
from pathlib import Path

import cv2

from mmpose_surgical.datasets.frame_file import FrameFile
from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.files import write_atomically


def ending_of(file: FrameFile) -> str:
    """Ending of the picture file that a frame becomes: its own, or PNG for one of a video, which loses nothing."""
    return file.path.suffix if file.number is None else '.png'


def put_picture(frame: Frame, root: Path, target: Path) -> None:
    """Copy the picture of a frame, or write that of a video.

    Raises:
        UserError: It cannot be read, or is of another size than its record says.
    """
    file = frame.file(root)
    picture = file.read((frame.width, frame.height))
    if file.number is None:
        write_atomically(target, lambda temporary: shutil.copyfile(file.path, temporary))
    else:
        write_atomically(target, lambda temporary: cv2.imwrite(str(temporary), picture))
