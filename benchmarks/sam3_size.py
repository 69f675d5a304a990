#!/usr/bin/env python3
"""What does SAM 3 at full size cost as a mask prior? Random weights: time and memory do not depend on them.

    python benchmarks/sam3_size.py --real ../shared/real

Makes priors of three real frames with the full architecture of the SAM 3 tracker (HF side): seconds of encoder and
decoder, peak memory, and prompting one embedding 16 times against once. On a GPU also batch sizes and bfloat16.
Writes benchmarks/results/sam3_size_<cpu or gpu>.json and .md.
"""
import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine

import mmpose_surgical.plugin  # noqa: F401
from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.pictures import read_picture
from mmpose_surgical.priors.base import PriorFrame, build_backend

RESULTS = Path(__file__).resolve().parent / 'results'
PAIRS = 3
"""Rounds in which both sides of the ratio are measured in turn."""


def write_full_size(folder: Path) -> int:
    """Save a random tracker of full size; returns its number of weights."""
    from transformers import Sam3TrackerConfig, Sam3TrackerModel
    torch.manual_seed(0)
    model = Sam3TrackerModel(Sam3TrackerConfig())
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def real_frames(real: Path) -> list[tuple[PriorFrame, np.ndarray]]:
    """Three frames with their hand-placed points as prompts."""
    annotations = load_annotations(real)
    chosen = [f for f in annotations.annotated_frames() if f.active_tools and f.active_tools[0].points][::6][:3]
    return [(PriorFrame(np.ascontiguousarray(read_picture(f.path(real))[..., ::-1]), f.image_id),
             np.array([[p.x, p.y] for p in f.active_tools[0].points], np.float32)) for f in chosen]


def seconds(call: Any) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(folder: Path, frames: list[tuple[PriorFrame, np.ndarray]], dtype: str, batch: int) -> dict[str, Any]:
    """Seconds of encoder and decoder per picture, and once against 16 times prompted, in turn."""
    backend = build_backend(dict(backend='sam3', checkpoint=str(folder), dtype=dtype, batch_size=batch))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    loading = seconds(lambda: backend.model)
    pictures = [frames[i % len(frames)][0] for i in range(batch)]
    backend.embed_batch(pictures)  # warm-up
    encoder = [seconds(lambda: backend.embed_batch(pictures)) / batch for _ in range(3)]
    frame, points = frames[0]
    labels = np.ones(len(points), np.int64)
    embedding = backend.embed(frame)
    decoder = [seconds(lambda: backend.predict(embedding, points, labels)) for _ in range(5)]
    entry = dict(dtype=dtype, batch=batch, load_s=round(loading, 2), encoder_s=round(statistics.median(encoder), 4),
                 decoder_s=round(statistics.median(decoder), 4))
    if batch == 1:
        sets = [points + np.float32(k / 8) for k in range(16)]

        def prompted(count: int) -> None:
            one = backend.embed(frame)
            backend.predict_batch([one] * count, sets[:count], [labels] * count)

        pairs = [(seconds(lambda: prompted(1)), seconds(lambda: prompted(16)), seconds(lambda: prompted(1)))
                 for _ in range(PAIRS)]
        entry.update(ratio_16_to_1=round(statistics.median(b / a for a, b, _ in pairs), 3),
                     aa_ratio=round(statistics.median(c / a for a, _, c in pairs), 3))
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else \
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    priors = [backend.prior(f, p, np.ones(len(p), np.int64)) for f, p in frames]
    return dict(entry, peak_gib=round(peak / 2**30, 2), shapes=[list(prior.logits.shape) for prior in priors])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--real', type=Path, default=RESULTS.parents[2] / 'shared/real')
    args = parser.parse_args()
    frames = real_frames(args.real)
    settings = [(dtype, batch) for dtype in ('float32', 'bfloat16') for batch in (1, 2, 4, 8)] \
        if torch.cuda.is_available() else [('float32', 1)]
    with tempfile.TemporaryDirectory() as temporary:
        weights = write_full_size(Path(temporary))
        rows = [measure(Path(temporary), frames, *setting) for setting in settings]
    where = 'gpu' if torch.cuda.is_available() else 'cpu'
    record = dict(machine=describe_machine(), command='python benchmarks/sam3_size.py', weights=weights, rows=rows)
    write_json(RESULTS / f'sam3_size_{where}.json', record)
    machine = record['machine']
    lines = ['# SAM 3 at full size as mask prior', '',
             f'{machine["gpu"] or machine["processor"]}, {machine["cores"]} cores, torch {machine["torch"]}, commit '
             f'{machine["git_commit"]}. Random weights ({weights / 1e6:.0f} M, tracker alone), three real frames '
             f'(`{record["command"]}`). "16 : 1" is one embedding prompted 16 times against once, encoder '
             'included.', '', '| dtype | batch | encoder s / picture | decoder s | 16 : 1 | A/A | peak GiB |',
             '|---|---|---|---|---|---|---|']
    lines += [f'| {r["dtype"]} | {r["batch"]} | {r["encoder_s"]} | {r["decoder_s"]} | {r.get("ratio_16_to_1", "")} | '
              f'{r.get("aa_ratio", "")} | {r["peak_gib"]} |' for r in rows]
    write_text(RESULTS / f'sam3_size_{where}.md', '\n'.join([*lines, '']))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
