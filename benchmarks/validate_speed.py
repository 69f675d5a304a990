#!/usr/bin/env python3
"""How long does ``tools/data.py validate`` take on a data set of the paper's size, and how much memory?

    python benchmarks/validate_speed.py

60 videos, 8,000 clips of 9 frames with 3 annotated ones each, as in the synthetic data set, whose frames are links to a
few hundred real files, so that making them costs little; reading them costs what it costs. Without decoding; and with
it, for 1,000 and for 8,000 clips, beside plain ``cv2.imread`` of the same pictures on as many threads: the decoder's
speed. Peak memory is that of the process, which must not grow with the pictures. Writes
benchmarks/results/validate_speed.json and .md.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
from machine import describe_machine

from mmpose_surgical.datasets.synthetic.generate import SPECS, generate
from mmpose_surgical.files import write_json, write_text

RESULTS = Path(__file__).resolve().parent / 'results'
VIDEOS, CLIPS, FRAMES = 60, 8000, 9


def make_data(root: Path, clips: int) -> Path:
    """A data set with so many clips, whose frames are hard links to those of a small one."""
    small = generate(root / 'small', replace(SPECS['default'], videos=6, clips_per_video=6))
    pictures = sorted(small.glob('frames/*/*.jpg'))
    data: dict[str, Any] = dict(info={}, videos=[], clips=[], images=[], annotations=[], categories=[
        dict(id=1, name='grasper', keypoints=['tip1', 'tip2', 'anchor'])])
    out = root / f'clips{clips}'
    for video in range(1, VIDEOS + 1):
        (out / f'frames/{video:02d}').mkdir(parents=True)
        data['videos'].append(dict(id=video, name=f'case{video:02d}', source='bench', fps=25 / 3,
                                   frame_pattern=f'frames/{video:02d}/{{frame_id:06d}}.jpg'))
    for clip in range(clips):
        video, first = clip % VIDEOS + 1, clip // VIDEOS * FRAMES
        data['clips'].append(dict(id=clip + 1, video_id=video, start_frame=first, end_frame=first + FRAMES - 1,
                                  action='grasp'))
        for k in range(FRAMES):
            name = f'frames/{video:02d}/{first + k:06d}.jpg'
            os.link(pictures[(clip * FRAMES + k) % len(pictures)], out / name)
            if k in (2, 4, 6):
                number = len(data['images']) + 1
                data['images'].append(dict(id=number, file_name=name, width=640, height=480, video_id=video,
                                           frame_id=first + k, clip_id=clip + 1))
                data['annotations'].append(dict(
                    id=number, image_id=number, category_id=1, keypoints=[100, 100, 2, 0, 0, 0, 200, 150, 2],
                    attributes=dict(action='grasp')))
    (out / 'annotations.json').write_text(json.dumps(data))
    # All in one split: the pictures repeat, and would be found as leaks.
    write_json(out / 'splits.json', dict(train=[video['name'] for video in data['videos']], val=[], test=[]))
    return out


def validate_apart(root: Path, decode: bool) -> dict[str, Any]:
    """Validate in a process of its own: seconds, and peak memory in MiB beyond that of its imports."""
    code = ('import sys, time, resource; from mmpose_surgical.datasets.validation import validate; '
            'began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; '
            f'found = validate(sys.argv[1], decode={decode}); '
            'print(time.perf_counter() - began, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, '
            'found.pictures, len(found.problems))')
    seconds, before, peak, pictures, problems = map(float, subprocess.run(
        [sys.executable, '-c', code, str(root)], check=True, capture_output=True, text=True).stdout.split())
    assert not problems
    return dict(seconds=round(seconds, 2), pictures=int(pictures), peak_mib=round(peak / 1024),
                grown_mib=round((peak - before) / 1024))


def plain_decoding(root: Path) -> float:
    """Seconds of cv2.imread alone, on as many threads."""
    files = [str(path) for path in sorted(root.glob('frames/*/*.jpg'))]
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda file: cv2.imread(file) is None, files, chunksize=16):
            pass
    return round(time.perf_counter() - began, 2)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        few, many = (make_data(Path(folder), clips) for clips in (1000, CLIPS))
        results = {
            'records and files, 8,000 clips': validate_apart(many, False),
            'with decoding, 1,000 clips': validate_apart(few, True) | dict(plain_decoding=plain_decoding(few)),
            'with decoding, 8,000 clips': validate_apart(many, True) | dict(plain_decoding=plain_decoding(many))}
    record = dict(command='python benchmarks/validate_speed.py', machine=describe_machine(), videos=VIDEOS,
                  results=results)
    write_json(RESULTS / 'validate_speed.json', record)
    text = '\n'.join([
        "# Validating a data set of the paper's size", '', f'`{record["command"]}`, commit '
        f'{record["machine"]["git_commit"][:7]}, {record["machine"]["processor"]}, {record["machine"]["cores"]} cores; '
        '640x480.', '', '| | pictures | seconds | plain cv2.imread, same threads | peak MiB | of it grown |',
        '| --- | ---: | ---: | ---: | ---: | ---: |',
        *(f'| {name} | {one["pictures"]} | {one["seconds"]} | {one.get("plain_decoding", "-")} | {one["peak_mib"]} | '
          f'{one["grown_mib"]} |' for name, one in results.items()), ''])
    write_text(RESULTS / 'validate_speed.md', text)
    print(text)


if __name__ == '__main__':
    main()
