"""The versions that this package runs with. Torch-free: nothing is imported, metadata is read."""
from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

PYTHONS = ((3, 11), (3, 12))

# distribution -> (least version, first version that is too new). MMDetection 3.3 refuses mmcv 2.2.
VERSIONS: dict[str, tuple[str, str | None]] = {
    'torch': ('2.6', None),
    'torchvision': ('0.21', None),
    'numpy': ('1.26', '2.4'),
    'scipy': ('1.11', None),
    'opencv-python': ('4.9', None),
    'pycocotools': ('2.0.7', None),
    'rich': ('13', None),
    'mmengine': ('0.10.4', '0.11'),
    'mmcv': ('2.0.0', '2.2'),
    'mmdet': ('3.2', '3.4'),
    'mmpose': ('1.3', '1.4'),
    'jinja2': ('3.1', None),
    'plotly': ('6', None),
    'av': ('14.1', None),
    'pyyaml': ('6', None),
}


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, or None. ``mmcv`` is also answered by mmcv-lite."""
    names = ('mmcv', 'mmcv-lite') if distribution == 'mmcv' else (distribution,)
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def has_mmcv_ops() -> bool:
    """Whether the installed mmcv is the full one, with compiled ops."""
    try:
        importlib.metadata.version('mmcv')
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version without trailing zeros: ``'2.14.0+cu130'`` -> ``(2, 14)``."""
    numbers = [int(part) for part in re.match(r'\d+(?:\.\d+)*', version)[0].split('.')]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def needed(name: str) -> str:
    """The range of :data:`VERSIONS` as pip writes it: ``'>=1.3,<1.4'``."""
    least, limit = VERSIONS[name]
    return f'>={least}' + (f',<{limit}' if limit else '')


def version_problem(name: str, version: str | None) -> str | None:
    """What is wrong with the installed ``version`` of ``name`` (a key of :data:`VERSIONS`), or None."""
    if version is None:
        return f'{name} is not installed ({needed(name)} is needed)'
    least, limit = VERSIONS[name]
    found = version_tuple(version)
    if found < version_tuple(least) or (limit and found >= version_tuple(limit)):
        return f'{name} {version} is installed ({needed(name)} is needed)'
    return None


def version_problems() -> list[str]:
    """Every package that is missing or outside its range, one sentence each."""
    problems = []
    if sys.version_info[:2] < PYTHONS[0]:
        problems.append(f'Python {sys.version.split()[0]} runs (3.11 or 3.12 is needed)')
    problems += [version_problem(name, installed_version(name)) for name in VERSIONS]
    return [problem for problem in problems if problem]


def setup_command() -> str:
    """The command that brings the running environment to the tested set."""
    root = Path(__file__).resolve().parents[1]
    if not (root / 'Makefile').is_file():
        ranges = ' '.join(f"'{name}{needed(name)}'" for name in VERSIONS if name != 'mmcv')
        return f"{sys.executable} -m pip install {ranges} 'mmcv-lite{needed('mmcv')}'"
    if Path(sys.prefix) == root / '.venv':
        return f'make -C {root} setup'
    return f'make -C {root} setup PYTHON={sys.executable}'
