"""Exported graphs against PyTorch, on noise and on frames of a video."""
from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from mmpose_surgical.apis.sources import open_source
from mmpose_surgical.apis.streaming import StreamedNetwork
from mmpose_surgical.errors import UserError
from mmpose_surgical.export.onnx_graphs import FrameGraph, WindowGraph

TOLERANCE = 1e-4
"""Largest error of an output that passes, relative to the largest value of that output."""

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""A graph: from inputs to outputs, by name."""


def noise_windows(size: tuple[int, int], num_frames: int, count: int = 2) -> Iterator[np.ndarray]:
    """Windows of uint8 (T, 3, H, W) of noise, the same every time."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (num_frames, 3, *size[::-1]), dtype=np.uint8)


def frame_windows(source: str | Path, network: StreamedNetwork, count: int = 8) -> Iterator[np.ndarray]:
    """Windows of uint8 (T, 3, H, W) of neighbouring frames of a video or folder, as they enter a network.

    Raises:
        UserError: The source has too few frames that can be read.
    """
    pictures = (frame.picture for frame in open_source(source).frames() if frame.picture is not None)
    pixels = [network.prepare(picture).pixels for picture in islice(pictures, network.num_frames + count - 1)]
    if len(pixels) < network.num_frames:
        raise UserError(f'{len(pixels)} frames can be read, and a window has {network.num_frames}', source,
                        'check on a longer video')
    for first in range(len(pixels) - network.num_frames + 1):
        yield np.stack(pixels[first:first + network.num_frames])


def installed_runtimes() -> dict[str, Callable[[Path], Run]]:
    """What can open a graph, by name and version."""
    import onnxruntime
    runtimes = {f'onnxruntime {onnxruntime.__version__}': _by_onnxruntime}
    if importlib.util.find_spec('openvino'):
        runtimes[f'openvino {import_openvino().__version__.split("-")[0]}'] = _by_openvino
    return runtimes


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry: its import tells a server of its own, unasked, where that package is found."""
    sys.modules.setdefault('openvino_telemetry', None)
    return importlib.import_module('openvino')


def _by_onnxruntime(path: Path) -> Run:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [one.name for one in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs)))


def _by_openvino(path: Path) -> Run:
    # Where the processor has bfloat16 OpenVINO would use it.
    model = import_openvino().Core().compile_model(str(path), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    # An output may have further names, those of values that the compiler found to be the same.
    return lambda inputs: {name: value.copy() for one, value in model(inputs).items() for name in one.get_names()}


def by_torch(module: FrameGraph | WindowGraph, input_names: Iterable[str], output_names: Iterable[str]) -> Run:
    """The module itself, as the others are called."""
    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(inputs[name]) for name in input_names))
        return {name: value.numpy() for name, value in zip(output_names, outputs)}
    return run


def largest_errors(frame: tuple[Run, Run], window: tuple[Run, Run], windows: Iterable[np.ndarray], target: int,
                   more: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Pass windows through both graphs of a pair, once by PyTorch and once by another runtime.

    Args:
        frame: The graph of a frame, PyTorch's first.
        window: The graph of a window, PyTorch's first. Each is given what the frame graph of its own side makes.
        windows: Pictures uint8 (T, 3, H, W).
        target: Position of the target in a window.
        more: Other inputs of the graph of a window.

    Returns:
        For every output the largest absolute difference over the largest absolute value of PyTorch.
    """
    difference: dict[str, float] = {}
    scale: dict[str, float] = {}
    for pictures in windows:
        outputs: list[dict[str, Any]] = []
        for see_frame, see_window in zip(frame, window):
            seen = see_frame(dict(picture=pictures))
            inputs = dict(maps=seen['map'][None], **more)
            if 'feature' in seen:
                inputs['feature'] = seen['feature'][target:target + 1]
            outputs.append(seen | see_window(inputs))
        for name, expected in outputs[0].items():
            difference[name] = max(difference.get(name, 0.), float(np.abs(outputs[1][name] - expected).max()))
            scale[name] = max(scale.get(name, 0.), float(np.abs(expected).max()))
    return {name: value / scale[name] if scale[name] else value for name, value in difference.items()}
