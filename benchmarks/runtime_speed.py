"""Milliseconds a frame of exported models: ONNX Runtime and OpenVINO against eager PyTorch, beside other networks.

    YOLO_PYTHON=/path/to/python python benchmarks/runtime_speed.py work_dirs/bench/bench/seed0

The networks alone, in float32, all at one input size and with two threads: no decoding of video, no resizing, no
drawing. Ours go as a stream, a pass of frame.onnx and one of window.onnx a frame. The runs give architectures and
weights of ours; the others are untrained, which takes the same time. YOLOv8n-pose is exported by ultralytics (AGPL-3.0)
in an environment of its own, and is left out without one. All runtimes take turns, ratios are medians over rounds, and
A/A is eager PyTorch against itself.
"""
import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine, short_commit
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmpose_surgical.plugin  # noqa: F401
from mmpose_surgical.apis.trained_run import TrainedRun, load_run
from mmpose_surgical.export.onnx_check import import_openvino
from mmpose_surgical.export.onnx_export import Pair, export_onnx, prepare_pair
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.pipeline.config import load_config
from mmpose_surgical.pipeline.stages import dumped_config

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
SIZE = (256, 192)
THREADS = 2
ROUNDS, FRAMES = 11, 4
_YOLO = """
import sys
from ultralytics import YOLO
print(YOLO('yolov8n-pose.yaml').export(format='onnx', imgsz=({height}, {width}), simplify=False), file=sys.stderr)
"""


def at_size(run: TrainedRun) -> TrainedRun:
    """A run whose networks see pictures of :data:`SIZE`."""
    folder = run.checkpoint.parent
    cfg = load_config(dumped_config(folder), {'codec.input_size': SIZE, 'codec.heatmap_size': (64, 48)}, folder)
    return replace(run, cfg=cfg, coarse=run.coarse and at_size(run.coarse))


def untrained(config: str, folder: Path, options: dict[str, Any]) -> TrainedRun:
    from mmpose.registry import MODELS
    cfg = load_config(ROOT / config, options)
    path = folder / f'{Path(config).stem}.pth'
    torch.save(dict(state_dict=MODELS.build(Config(dict(model=cfg.model)).model).state_dict()), path)
    return load_run(ROOT / config, path, options)


def example(pair: Pair) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A picture, and the inputs of the graph of the window."""
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, *SIZE[::-1]), np.uint8)
    with torch.inference_mode():
        seen = dict(zip(pair.frame_outputs, pair.frame(torch.from_numpy(picture))))
    maps = seen['map'][:, None].expand(-1, pair.network.num_frames, -1, -1, -1)
    inputs = dict(maps=maps.contiguous().numpy(), feature=seen['feature'].numpy() if 'feature' in seen else None)
    return picture, {name: inputs[name] for name in pair.window.input_names}


def by_torch(pair: Pair) -> Callable[[], Any]:
    picture, inputs = example(pair)
    # As the stream has it: pictures in the memory format that depthwise networks like.
    pixels = torch.from_numpy(picture).contiguous(memory_format=torch.channels_last)
    tensors = [torch.from_numpy(value) for value in inputs.values()]

    def run() -> None:
        with torch.inference_mode():
            pair.frame(pixels)
            pair.window(*tensors)
    return run


def by_onnxruntime(graphs: list[tuple[Path, dict[str, np.ndarray]]]) -> Callable[[], Any]:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    opened = [(onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider']), inputs)
              for path, inputs in graphs]
    return lambda: [session.run(None, inputs) for session, inputs in opened]


def by_openvino(graphs: list[tuple[Path, dict[str, np.ndarray]]]) -> Callable[[], Any]:
    openvino = import_openvino()
    options = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': THREADS, 'PERFORMANCE_HINT': 'LATENCY'}
    opened = [(openvino.Core().compile_model(str(path), 'CPU', options), inputs) for path, inputs in graphs]
    return lambda: [model(inputs) for model, inputs in opened]


def yolo_graph(folder: Path) -> Path | None:
    """YOLOv8n-pose at the same input size."""
    python = os.environ.get('YOLO_PYTHON')
    if not python:
        return None
    code = _YOLO.format(width=SIZE[0], height=SIZE[1])
    subprocess.run([python, '-c', code], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found, = folder.glob('*.onnx')
    return found


def timed(sides: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Milliseconds a frame of each side, in turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(ROUNDS + 1):
        for name in names[number % len(names):] + names[:number % len(names)]:
            began = time.perf_counter()
            for _ in range(FRAMES):
                sides[name]()
            if number:
                found[name].append(1000 * (time.perf_counter() - began) / FRAMES)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', type=Path, help='folder with bench_coarse and bench_refine_prior_aux_dropout')
    args = parser.parse_args()
    init_default_scope('mmpose')
    torch.set_num_threads(THREADS)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = {'codec.input_size': SIZE}
        runs = {
            'coarse, MobileNetV2, T = 3': at_size(load_run(args.runs / 'bench_coarse')),
            'full method, MobileNetV2, prior aux': at_size(load_run(args.runs / 'bench_refine_prior_aux_dropout')),
            'coarse, ResNet-50, T = 5': untrained('configs/surgical/coarse.py', folder,
                                                  size | {'codec.heatmap_size': (64, 48)}),
            'RTMPose-m': untrained('configs/surgical/baselines/rtmpose.py', folder, size)}
        for name, run in runs.items():
            pair = prepare_pair(run, None, 0.5)
            export_onnx(run, folder / 'export', None, 0.5)
            picture, inputs = example(pair)
            graphs = [(folder / 'export/frame.onnx', dict(picture=picture)), (folder / 'export/window.onnx', inputs)]
            rows.append(measure(name, dict(torch=by_torch(pair), again=by_torch(pair)), graphs))
        place = folder / 'yolo'
        place.mkdir()
        if (path := yolo_graph(place)) is not None:
            picture = np.random.default_rng(0).random((1, 3, *SIZE[::-1]), np.float32)
            rows.append(measure('YOLOv8n-pose', {}, [(path, dict(images=picture))]))
    write(rows)


def measure(name: str, sides: dict[str, Callable[[], Any]],
            graphs: list[tuple[Path, dict[str, np.ndarray]]]) -> dict[str, Any]:
    found = timed(sides | dict(onnxruntime=by_onnxruntime(graphs), openvino=by_openvino(graphs)))
    row: dict[str, Any] = dict(model=name, ms={key: statistics.median(values) for key, values in found.items()})
    if 'torch' in found:
        row['speedup'] = {key: statistics.median(a / b for a, b in zip(found['torch'], found[key]))
                          for key in found if key != 'torch'}
    print(row, flush=True)
    return row


def write(rows: list[dict[str, Any]]) -> None:
    import onnxruntime
    openvino = import_openvino()
    command, machine = 'python benchmarks/runtime_speed.py RUNS', describe_machine()
    machine |= dict(onnxruntime=onnxruntime.__version__, openvino=openvino.__version__)
    write_json(RESULTS / 'runtime_speed.json', dict(command=command, machine=machine, size=SIZE, threads=THREADS,
                                                    rows=rows))
    lines = ['# Milliseconds a frame of exported models', '',
             f'`{command}`, commit {short_commit(machine)}, {machine["processor"]}, {THREADS} threads, float32, '
             f'input {SIZE[0]}x{SIZE[1]}; torch {machine["torch"]}, onnxruntime {onnxruntime.__version__}, openvino '
             f'{openvino.__version__.split("-")[0]}. Networks alone; medians over {ROUNDS} rounds.', '',
             '| model | eager PyTorch | ONNX Runtime | OpenVINO | ONNX Runtime, speed-up | OpenVINO, speed-up | A/A |',
             '| --- | ---: | ---: | ---: | ---: | ---: | ---: |']
    for row in rows:
        ms, gain = row['ms'], row.get('speedup', {})
        cells = [f'{ms[key]:.1f}' if key in ms else '' for key in ('torch', 'onnxruntime', 'openvino')]
        cells += [f'{gain[key]:.2f}' if key in gain else '' for key in ('onnxruntime', 'openvino', 'again')]
        lines.append(f'| {row["model"]} | {" | ".join(cells)} |')
    text = '\n'.join([*lines, ''])
    write_text(RESULTS / 'runtime_speed.md', text)
    print(text)


if __name__ == '__main__':
    main()
