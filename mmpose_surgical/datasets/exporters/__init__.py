"""The one format to those of others. To add a format, write a writer and name it in :data:`FORMATS`."""
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from mmpose_surgical.datasets.account import Account
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.splits import Splits

FORMATS = dict(
    coco='a folder like this one: COCO keypoints with pictures, also of frames that lay in videos',
    csv='a table with a line for each point, and pictures',
    yolo='layout of Ultralytics: images/, labels/, data.yaml; acting tools alone',
    native='per-clip layout: clips/<action>_<start>_<end>.mp4 and annotation/<same>.json')
"""What can be written: the writer of NAME is ``write_NAME`` in the module of that name."""


def writer_of(name: str) -> Callable[[Annotations, Splits, Path, Account], None]:
    """Writer of a format of :data:`FORMATS`: records, their splits, empty folder and account."""
    return getattr(import_module(f'{__name__}.{name}'), f'write_{name}')
