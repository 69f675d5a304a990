#!/usr/bin/env python3
"""How many bits of the hash differ between pictures that are the same, neighbours, or of different operations?

    python benchmarks/near_duplicates.py

What ``NEAR_BITS`` of ``tools/data.py validate`` stands on: real frames (../shared/real, where there is one; skipped
otherwise) at lags of 1 to 50 frames, the same ones scaled to 480 px, brightened and compressed to JPEG of quality 50,
and single frames of seven operations against each other; and synthetic frames of different videos. Writes
benchmarks/results/near_duplicates.json and .md.
"""
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import describe_machine

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.synthetic.generate import SPECS, generate
from mmpose_surgical.datasets.validation import NEAR_BITS, difference_hash
from mmpose_surgical.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
REAL, RESULTS = ROOT.parent / 'shared/real', ROOT / 'benchmarks/results'


def hash_of(path: Path) -> np.ndarray:
    return difference_hash(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def encoded_again(path: Path) -> np.ndarray:
    small = cv2.resize(cv2.imread(str(path)), (480, 270), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, 50])
    grey = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
    return difference_hash(np.clip(grey * 1.1 + 8, 0, 255).astype(np.uint8))


def bits(a: np.ndarray, b: np.ndarray) -> int:
    return int((a != b).sum())


def summary(differences: list[int]) -> dict[str, Any]:
    least, middle, most = np.percentile(differences, [0, 50, 100])
    return dict(pairs=len(differences), least=int(least), median=float(middle), most=int(most),
                found=sum(n <= NEAR_BITS for n in differences))


def across(hashes: dict[Path, np.ndarray], case: dict[Path, str]) -> dict[str, Any]:
    return summary([bits(hashes[a], hashes[b]) for a, b in combinations(hashes, 2) if case[a] != case[b]])


def main() -> None:
    results: dict[str, Any] = {}
    if REAL.is_dir():
        files = sorted((REAL / 'cholecseg8k_561_632/frames').glob('*.jpg'))
        own = [hash_of(file) for file in files]
        results['the same frame, scaled, brightened, compressed'] = summary(
            [bits(a, encoded_again(file)) for a, file in zip(own, files)])
        for lag in (1, 10, 50):
            results[f'real frames, {lag} apart at 25 fps'] = summary([bits(a, b) for a, b in zip(own, own[lag:])])
        singles = {file: hash_of(file) for file in sorted((REAL / 'm2cai16_boxes').rglob('*.jpg'))}
        results['real frames of different operations'] = across(
            singles, {file: re.match(r'v\d+', file.stem)[0] for file in singles})
    demo = load_annotations(generate(ROOT / 'data/synthetic_demo', SPECS['demo']))
    case = {frame.file(demo.root).path: frame.video.name for frame in demo.frames[::2]}
    results['synthetic frames of different videos'] = across({file: hash_of(file) for file in case}, case)
    record = dict(command='python benchmarks/near_duplicates.py', machine=describe_machine(), near_bits=NEAR_BITS,
                  results=results)
    write_json(RESULTS / 'near_duplicates.json', record)
    text = '\n'.join([
        '# Bits of 256 in which the hashes of two pictures differ', '',
        f'`{record["command"]}`, commit {record["machine"]["git_commit"][:7]}. Up to {NEAR_BITS} bits count as nearly '
        'the same picture.', '', '| pairs of | number | least | median | most | found |',
        '| --- | ---: | ---: | ---: | ---: | ---: |',
        *(f'| {name} | {one["pairs"]} | {one["least"]} | {one["median"]:g} | {one["most"]} | {one["found"]} |'
          for name, one in results.items()), ''])
    write_text(RESULTS / 'near_duplicates.md', text)
    print(text)


if __name__ == '__main__':
    main()
