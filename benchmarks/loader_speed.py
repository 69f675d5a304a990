#!/usr/bin/env python3
"""How fast do clips load, from pictures and from videos?

    python benchmarks/loader_speed.py

Two synthetic videos of 640x480 at 25 fps (260 frames each) are kept as JPEG frames of quality 95, and as
H.264 with a key picture every 12 and every 250 frames, B-frames included. From each, windows of T = 5 frames with
0.12 s between them are loaded in the same random order, as in training:

- by ``SurgicalClipDataset`` and ``LoadClip`` from JPEG frames, and from video files;
- by a plain loop over ``cv2.VideoCapture`` that seeks to every frame of a window (``CAP_PROP_POS_FRAMES``), with the
  capture held open;
- through the whole training pipeline (flip, shift, scale, rotation, colour), against five times MMPose's own pipeline
  for one picture (``LoadImage``, ``GetBBoxCenterScale``, ``RandomFlip``, ``RandomBBoxTransform``, ``TopdownAffine``,
  ``PhotometricDistortion``, ``PackPoseInputs``).

In this process, and in 1 and 2 data loader workers. Each round times all of them on the same clips and JPEG frames once
more: the A/A control. Ratios are medians over the rounds. Writes benchmarks/results/loader_speed.json and .md.
"""
import os

for _variable in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ[_variable] = '1'

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from machine import describe_machine
from mmpose.utils import register_all_modules

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.clip_dataset import SurgicalClipDataset
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.synthetic.generate import SPECS, generate
from mmpose_surgical.datasets.windows import window_files, window_numbers
from mmpose_surgical.datasets.writing import write_annotations
from mmpose_surgical.files import write_json, write_text

RESULTS = Path(__file__).resolve().parent / 'results'
T, SPACING, FPS, CLIPS, ROUNDS = 5, 0.12, 25, 10, 5
SLOW_CLIPS = 4
"""For seek loops, which take their time."""
GOPS = (12, 250)
SPEC = replace(SPECS['default'], videos=2, clips_per_video=2, clip_frames=(130, 131), annotated_per_clip=30)


def make_data(root: Path) -> dict[str, Path]:
    """The same data set three times: pictures, and videos with a key picture every so many frames."""
    generate(root / 'jpeg', SPEC)
    found = load_annotations(root / 'jpeg')
    places = dict(jpeg=root / 'jpeg')
    # Renumbered at 25 fps: what counts is which frames a window reaches for.
    write_annotations(root / 'jpeg/annotations.json', _at_rate(found, {}))
    for gop in GOPS:
        folder = places[f'video, key every {gop}'] = root / f'gop{gop}'
        folder.mkdir(exist_ok=True)
        for video in found.videos.values():
            _encode(root / 'jpeg' / Path(video.frame_pattern).parent, folder / f'{video.name}.mp4', gop)
        write_annotations(folder / 'annotations.json', _at_rate(
            found, {video.id: f'{video.name}.mp4' for video in found.videos.values()}))
    return places


def _at_rate(found: Annotations, files: dict[int, str]) -> Annotations:
    videos = {k: replace(video, fps=float(FPS), video_file=files.get(k),
                         frame_pattern=None if files else video.frame_pattern) for k, video in found.videos.items()}
    frames = [replace(frame, video=videos[frame.video.id], file_name=None if files else frame.file_name)
              for frame in found.frames]
    return replace(found, videos=videos, frames=frames)


def _encode(pictures: Path, target: Path, gop: int) -> None:
    files = sorted(pictures.glob('*.jpg'))
    with av.open(str(target), 'w') as container:
        stream = container.add_stream('libx264', rate=Fraction(FPS))
        stream.height, stream.width = cv2.imread(str(files[0])).shape[:2]
        stream.pix_fmt, stream.codec_context.gop_size = 'yuv420p', gop
        stream.options = {'crf': '20', 'bf': '2', 'sc_threshold': '0'}
        for file in files:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cv2.imread(str(file)), format='bgr24')))
        container.mux(stream.encode())


# -- the sides -------------------------------------------------------------------------------------------------
GEOMETRY = [dict(type='GetBBoxCenterScale', padding=1.0), dict(type='RandomFlip', direction='horizontal'),
            dict(type='RandomBBoxTransform', shift_factor=0.08, scale_factor=(0.85, 1.2), rotate_factor=30.0),
            dict(type='TopdownAffine', input_size=(512, 288))]


def clips(root: Path, *pipeline: dict, num_frames: int = T) -> SurgicalClipDataset:
    return SurgicalClipDataset(str(root), 'all', num_frames=num_frames, spacing=SPACING, pipeline=list(pipeline))


class SeekLoop:
    """What one writes first: seek to every frame of the window, and read it."""

    def __init__(self, root: Path) -> None:
        annotations = load_annotations(root)
        self.windows = [(str(root / frame.video.video_file), window_numbers(frame, root, T, SPACING))
                        for frame in annotations.annotated_frames()]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> list[np.ndarray]:
        path, numbers = self.windows[index]
        capture, frames = _capture(path, os.getpid()), []
        for number in numbers:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            good, frame = capture.read()
            assert good
            frames.append(frame)
        return frames


@cache
def _capture(path: str, process: int) -> cv2.VideoCapture:
    """A capture that a worker inherits at its fork would hang."""
    return cv2.VideoCapture(path)


class FiveTimesOne:
    """MMPose's pipeline for one picture, for every frame of a window."""

    def __init__(self, root: Path) -> None:
        self.inner = clips(root, num_frames=1)
        self.pipeline = self._pipeline()
        annotations = load_annotations(root)
        self.files = [[str(file) for file in window_files(frame, root, T, SPACING)[0]]
                      for frame in annotations.annotated_frames()]

    @staticmethod
    def _pipeline() -> Callable[[dict], dict]:
        from mmengine.dataset import Compose
        return Compose([dict(type='LoadImage'), *GEOMETRY, dict(type='PhotometricDistortion'),
                        dict(type='PackPoseInputs')])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> list[dict]:
        return [self.pipeline(dict(self.inner.get_data_info(index), img_path=path, keypoints=np.zeros((1, 3, 2)),
                                   keypoints_visible=np.zeros((1, 3)))) for path in self.files[index]]


def sides(places: dict[str, Path]) -> dict[str, Any]:
    """Everything that is timed, by name."""
    jpeg = places['jpeg']
    whole = [dict(type='LoadClip'), *GEOMETRY, dict(type='ClipPhotometricDistortion'), dict(type='PackClipInputs')]
    found: dict[str, Any] = {'jpeg': clips(jpeg, dict(type='LoadClip')),
                             'jpeg again': clips(jpeg, dict(type='LoadClip'))}
    for gop in GOPS:
        place = places[f'video, key every {gop}']
        found[f'video, key every {gop}'] = clips(place, dict(type='LoadClip'))
        found[f'seek loop, key every {gop}'] = SeekLoop(place)
    return found | {'clip, whole pipeline': clips(jpeg, *whole), 'five pictures, MMPose': FiveTimesOne(jpeg)}


# -- timing ----------------------------------------------------------------------------------------------------
def in_order(dataset: Any, order: list[int], workers: int) -> Iterator[Any]:
    """Samples in this order, in this process or in workers."""
    if not workers:
        yield from (dataset[index] for index in order)
        return
    from torch.utils.data import DataLoader
    yield from DataLoader(dataset, batch_size=4, sampler=order, num_workers=workers, collate_fn=list)


def seconds(dataset: Any, order: list[int], workers: int) -> float:
    """Time of a clip, in the mean over so many; the start of workers is not counted."""
    order = order[:SLOW_CLIPS] if isinstance(dataset, SeekLoop) else order
    samples = in_order(dataset, [order[0]] * 4 * workers + order if workers else order, workers)
    for _ in range(workers):
        next(samples)
    began = time.perf_counter()
    for _ in samples:
        pass
    return (time.perf_counter() - began) / len(order)


def measure(found: dict[str, Any], workers: int) -> dict[str, Any]:
    rng = np.random.default_rng(workers)
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(ROUNDS):
        order = rng.integers(0, len(found['jpeg']), CLIPS).tolist()
        for name in rng.permutation(list(found)):
            times[name].append(seconds(found[name], order, workers))

    def ratio(a: str, b: str) -> float:
        return round(statistics.median(y / x for x, y in zip(times[a], times[b])), 3)
    return dict(
        clips_per_second={name: round(1 / statistics.median(own), 1) for name, own in times.items()},
        ratios={'A/A: jpeg again to jpeg': ratio('jpeg', 'jpeg again'),
                **{f'{name} as fast as seek loop, key every {gop}': ratio(name, f'seek loop, key every {gop}')
                   for gop in GOPS for name in ('jpeg', f'video, key every {gop}')},
                'clip costs of five pictures': ratio('five pictures, MMPose', 'clip, whole pipeline')})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    import mmpose_surgical.plugin  # noqa: F401
    register_all_modules()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = sides(make_data(Path(folder)))
        results = {f'{workers} workers': measure(found, workers) for workers in (0, 1, 2)}
    record = dict(command='python benchmarks/loader_speed.py', machine=describe_machine(), frames=T, clips=CLIPS,
                  rounds=ROUNDS, picture='640x480', results=results)
    write_json(RESULTS / 'loader_speed.json', record)
    write_text(RESULTS / 'loader_speed.md', table(record))
    print(table(record))


def table(record: dict[str, Any]) -> str:
    results = record['results']
    lines = ['# Loading clips', '', f'`{record["command"]}`, commit {record["machine"]["git_commit"][:7]}, '
             f'{record["machine"]["processor"]}, {record["machine"]["cores"]} cores; T = {T}, 640x480, medians of '
             f'{record["rounds"]} rounds of {record["clips"]} clips.', '',
             f'| | {" | ".join(results)} |', '| --- |' + ' ---: |' * len(results)]
    for key, unit in (('clips_per_second', ' (clips/s)'), ('ratios', '')):
        lines += [f'| {name}{unit} | ' + ' | '.join(str(one[key][name]) for one in results.values()) + ' |'
                  for name in next(iter(results.values()))[key]]
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    main()
