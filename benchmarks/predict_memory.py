"""Peak memory of tools/predict.py over a video and over one that is ten times as long.

    python benchmarks/predict_memory.py

Untrained weights, which find points in most frames; tables, smoothing, heat and overlay are all on. The short video
goes twice: what differs there is noise.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from machine import describe_machine, short_commit
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmpose_surgical.plugin  # noqa: F401
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
CONFIG = ROOT / 'configs/demo/demo_coarse.py'
SHORT = 300


def write_weights(path: Path) -> None:
    from mmpose.registry import MODELS
    init_default_scope('mmpose')
    torch.manual_seed(0)
    model = MODELS.build(Config(dict(model=load_config(CONFIG).model)).model)
    torch.nn.init.normal_(model.head.final_layer.weight, std=0.1)
    torch.save(dict(state_dict=model.state_dict()), path)


def write_video(path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (1600, 1200), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, 'yuv420p'
        for number in range(count):
            x, y = (round(400 + 400 * f(number / 40)) for f in (np.cos, np.sin))
            picture = np.ascontiguousarray(ground[y * 3 // 4:y * 3 // 4 + 480, x:x + 640])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='bgr24')))
        container.mux(stream.encode())


def peak_mib(video: Path, weights: Path, out: Path) -> float:
    """Peak resident memory of a call."""
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', ROOT / 'tools/predict.py', video, '--model', CONFIG, '--weights', weights,
         '--out', out, '--score-thr', '0.001', '--smooth', '--heat', '--device', 'cpu'], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f'predict.py ended with {status}')
    return usage.ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_weights(folder / 'weights.pth')
        found = {}
        for name, count in (('short', SHORT), ('short again', SHORT), ('long', 10 * SHORT)):
            write_video(folder / f'{name}.mp4', count)
            found[name] = peak_mib(folder / f'{name}.mp4', folder / 'weights.pth', folder / name)
    command, machine = 'python benchmarks/predict_memory.py', describe_machine()
    ratios = {name: found[name] / found['short'] for name in ('short again', 'long')}
    write_json(RESULTS / 'predict_memory.json', dict(command=command, machine=machine, frames=[SHORT, 10 * SHORT],
                                                     peak_mib=found, of_short=ratios))
    text = '\n'.join([
        '# Peak memory of predict.py', '',
        f'`{command}`, commit {short_commit(machine)}, {machine["processor"]}; 640x480 at 25 frames/s, tables, '
        'smoothing, heat and overlay on.', '', '| video | peak, MiB | of the short one |', '| --- | ---: | ---: |',
        *(f'| {name}, {10 * SHORT if name == "long" else SHORT} frames | {found[name]:.0f} | '
          f'{ratios.get(name, 1):.3f} |' for name in found), ''])
    write_text(RESULTS / 'predict_memory.md', text)
    print(text)


if __name__ == '__main__':
    main()
