#!/usr/bin/env python3
"""Do Meta's code and transformers give the same masks from the same weights, at full size?

    python benchmarks/sam3_parity.py        # needs the extra sam3

Random weights in Meta's tracker, saved as sam3.pt and, renamed, as a Hugging Face folder; both read by the backend
`sam3`. Writes benchmarks/results/sam3_parity.json and .md.
"""
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from machine import describe_machine

import mmpose_surgical.plugin  # noqa: F401
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.priors.base import PriorFrame, build_backend
from mmpose_surgical.priors.meta_sam3 import build_tracker

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
sys.path.insert(0, str(ROOT / 'tests'))
from sam_models import to_huggingface, write_meta_checkpoint


def main() -> None:
    from transformers import Sam3TrackerConfig, Sam3TrackerModel
    frame = PriorFrame(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))
    points = [np.array([[160, 240], [440, 96]], np.float32), np.array([[600, 400], [30, 50]], np.float32)]
    labels = [np.ones(2, np.int64)] * 2
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        tracker = build_tracker(Path(temporary))
        file = write_meta_checkpoint(tracker, Path(temporary) / 'sam3.pt')
        model = Sam3TrackerModel(Sam3TrackerConfig())
        model.load_state_dict(to_huggingface(tracker.state_dict()), strict=True)
        model.save_pretrained(Path(temporary) / 'hf')
        weights = sum(parameter.numel() for parameter in model.parameters())
        del tracker, model
        for path in (file, Path(temporary) / 'hf'):
            backend = build_backend(dict(backend='sam3', checkpoint=str(path), device='cpu'))
            found.append(backend.segment_batch([backend.embed(frame)] * 2, points, labels))
    rows = [dict(max_error_of_scale=float(np.abs(a - b).max() / a.std()),
                 sign_agreement=float(((a > 0) == (b > 0)).mean()), positive=float((a > 0).mean()),
                 # Random weights may put nearly all logits on one side of 0; half of them are above their median.
                 median_agreement=float(((a > np.median(a)) == (b > np.median(a))).mean()),
                 iou=[iou_a, iou_b], object_score=[score_a, score_b])
            for (a, iou_a, score_a), (b, iou_b, score_b) in zip(*found, strict=True)]
    record = dict(machine=describe_machine(), command='python benchmarks/sam3_parity.py', weights=weights,
                  versions={name: version(name) for name in ('sam3', 'transformers')}, rows=rows)
    write_json(RESULTS / 'sam3_parity.json', record)
    lines = ["# SAM 3: Meta's code and transformers on the same weights", '',
             f'Full size, {weights / 1e6:.0f} M random weights, float32 on the CPU; sam3 {record["versions"]["sam3"]}, '
             f'transformers {record["versions"]["transformers"]}, commit {record["machine"]["git_commit"]} '
             f'(`{record["command"]}`).', '',
             '| prompts | largest error / standard deviation of the logits | sign agreement | share positive | '
             'agreement about the median logit |', '|---|---|---|---|---|']
    lines += [f'| {n} | {r["max_error_of_scale"]:.1e} | {r["sign_agreement"]:.4%} | {r["positive"]:.1%} | '
              f'{r["median_agreement"]:.4%} |'
              for n, r in enumerate(rows, 1)]
    write_text(RESULTS / 'sam3_parity.md', '\n'.join([*lines, '']))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
