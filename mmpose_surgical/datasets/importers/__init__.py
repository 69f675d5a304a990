"""Foreign data to the one format. To add a format, write a reader and name it in :data:`FORMATS`."""
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from mmpose_surgical.datasets.importers.draft import Draft, ImportOptions

FORMATS = dict(
    native='per-clip layout: clips/<action>_<start>_<end>.mp4 and annotation/<same>.json',
    coco='COCO keypoints, from CVAT, Label Studio, FiftyOne, SLEAP or this package',
    csv='table of points: the one that export writes, or one by hand',
    yolo='layout of Ultralytics for pose: data.yaml, images/, labels/',
    robust_mips='ROBUST-MIPS: the folder RobustMIPS',
    endovis15='joints of EndoVis 2015 (Du et al.): a folder with their label files and the videos',
    surgpose='SurgPose: its folders 000000 and on')
"""What can be read: the reader of NAME is ``read_NAME`` in the module of that name."""


def reader_of(name: str) -> Callable[[Path, ImportOptions], Draft]:
    """Reader of a format of :data:`FORMATS`: source and options to a draft."""
    return getattr(import_module(f'{__name__}.{name}'), f'read_{name}')
