#!/usr/bin/env python3
"""What do SAM 3 and SAM 2.1 cost at full size as mask priors? Random weights: time and memory do not depend on them.

    python benchmarks/sam_size.py --real ../shared/real

Makes the priors of three real frames with the full architectures (SAM 3 tracker and SAM 2.1 large, through
transformers), each setting in a process of its own: seconds of encoder and decoder for each frame, peak memory of the
process, and one embedding prompted 16 times against once, encoder included, both in turn. On a GPU also batch sizes.
Writes benchmarks/results/sam_size_<cpu or gpu>.json and .md.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine

import mmpose_surgical.plugin  # noqa: F401
from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.priors.base import PriorFrame, build_backend

RESULTS = Path(__file__).resolve().parent / 'results'
LIMIT = 1.3
PAIRS = 3
"""Rounds in which both sides of the ratio are measured in turn."""


def write_full_size(backend: str, folder: Path) -> int:
    """Save a random model of full size; returns its number of weights."""
    from transformers import Sam2Config, Sam2Model, Sam3TrackerConfig, Sam3TrackerModel
    torch.manual_seed(0)
    if backend == 'sam3':
        model = Sam3TrackerModel(Sam3TrackerConfig())
    else:  # sam2.1-hiera-large
        hiera = dict(model_type='sam2_hiera_det_model', hidden_size=144, num_attention_heads=2,
                     blocks_per_stage=[2, 6, 36, 4], embed_dim_per_stage=[144, 288, 576, 1152],
                     num_attention_heads_per_stage=[2, 4, 8, 16], window_size_per_stage=[8, 4, 16, 8],
                     global_attention_blocks=[23, 33, 43], window_positional_embedding_background_size=[7, 7])
        model = Sam2Model(Sam2Config(vision_config=dict(
            backbone_config=hiera, backbone_channel_list=[1152, 576, 288, 144])))
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def real_frames(real: Path) -> list[tuple[PriorFrame, np.ndarray]]:
    """Three frames with their hand-placed points as prompts."""
    annotations = load_annotations(real)
    chosen = [f for f in annotations.annotated_frames() if f.active_tools and f.active_tools[0].points][::6][:3]
    return [(PriorFrame(np.ascontiguousarray(f.file(real).read()[..., ::-1]), f.image_id),
             np.array([[p.x, p.y] for p in f.active_tools[0].points], np.float32)) for f in chosen]


def timed(call: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    start = time.perf_counter()
    result = call(*args)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def measure(backend_name: str, folder: str, real: Path, dtype: str, batch: int, ratio: bool) -> dict[str, Any]:
    """One setting, in this process."""
    frames = real_frames(real)
    backend = build_backend(dict(backend=backend_name, checkpoint=folder, dtype=dtype, batch_size=batch))
    loading = timed(lambda: backend.model)[1]
    rows = []
    for frame, points in frames:
        labels = np.ones(len(points), np.int64)
        embeddings, encoder = timed(backend.embed_batch, [frame] * batch)
        prior, decoder = timed(backend.predict, embeddings[0], points, labels)
        rows.append(dict(size=list(frame.size), prompts=len(points), encoder_s=round(encoder / batch, 4),
                         decoder_s=round(decoder, 4), grid=list(prior.logits.shape)))
    # The first frame also pays for what is set up once.
    entry = dict(backend=backend_name, dtype=dtype, batch=batch, load_s=round(loading, 2), frames=rows)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else \
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    entry['peak_gib'] = round(peak / 2**30, 2)
    if ratio:
        frame, points = frames[0]
        sets, labels = [points + np.float32(k / 8) for k in range(16)], np.ones(len(points), np.int64)

        def prompted(count: int) -> None:
            backend.predict_batch([backend.embed(frame)] * count, sets[:count], [labels] * count)

        rounds = [[timed(prompted, count)[1] for count in (1, 16, 1)] for _ in range(PAIRS)]
        entry.update(rounds=[[round(value, 3) for value in row] for row in rounds],
                     # Against the mean of both neighbours: a machine that slows down meets all three.
                     ratio_16_to_1=round(statistics.median(2 * b / (a + c) for a, b, c in rounds), 3),
                     aa_ratio=round(statistics.median(c / a for a, _, c in rounds), 3))
    return entry


def in_own_process(*words: Any) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, '--measure', json.dumps(words)], stdout=subprocess.PIPE, text=True,
                          check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--real', type=Path, default=RESULTS.parents[2] / 'shared/real')
    parser.add_argument('--measure', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        backend, folder, real, *setting = json.loads(args.measure)
        print(json.dumps(measure(backend, folder, Path(real), *setting)))
        return
    gpu = torch.cuda.is_available()
    weights, rows = {}, []
    for backend in ('sam3', 'sam2'):
        with tempfile.TemporaryDirectory() as folder:
            weights[backend] = write_full_size(backend, Path(folder))
            rows += [in_own_process(backend, folder, str(args.real), dtype, batch, batch == 1 and dtype == 'float32')
                     for dtype in ('float32', 'bfloat16') for batch in ((1, 2, 4, 8) if gpu else (1,))]
    machine = describe_machine()
    name = f'sam_size_{"gpu" if gpu else "cpu"}'
    write_json(RESULTS / f'{name}.json', dict(machine=machine, command='python benchmarks/sam_size.py',
                                              weights=weights, rows=rows))
    sizes = ', '.join(f'{backend} {count / 1e6:.0f} M' for backend, count in weights.items())
    lines = ['# SAM 3 and SAM 2.1 at full size as mask priors', '',
             f'{machine["gpu"] or machine["processor"]}, {machine["cores"]} cores, torch {machine["torch"]}, commit '
             f'{machine["git_commit"]} (`python benchmarks/sam_size.py`). Random weights ({sizes}), three real frames, '
             'median of the three. "16 : 1" is one embedding prompted 16 times against once, encoder included, median '
             f'of {PAIRS} rounds in turn.', '',
             '| backend | dtype | batch | encoder, s / picture | decoder, s | peak GiB | 16 : 1 | A/A |',
             '|---|---|---|---|---|---|---|---|']
    for row in rows:
        encoder, decoder = (statistics.median(frame[key] for frame in row['frames']) for key in (
            'encoder_s', 'decoder_s'))
        lines.append(f'| {row["backend"]} | {row["dtype"]} | {row["batch"]} | {encoder:.3g} | {decoder:.3g} | '
                     f'{row["peak_gib"]} | {row.get("ratio_16_to_1", "")} | {row.get("aa_ratio", "")} |')
    write_text(RESULTS / f'{name}.md', '\n'.join([*lines, '']))
    print('\n'.join(lines))
    if any(row.get('ratio_16_to_1', 0) > LIMIT for row in rows):
        sys.exit(f'prompting 16 times costs more than {LIMIT} of prompting once')


if __name__ == '__main__':
    main()
