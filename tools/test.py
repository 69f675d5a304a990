#!/usr/bin/env python3
"""Evaluate trained weights on a split: priors are made where they are missing, thresholds come from training."""
import argparse
import os
import sys
from pathlib import Path

try:
    import mmpose_surgical  # noqa: F401
except ImportError:  # a checkout that was not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpose_surgical.cli import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config file, also the one that training left in its work directory')
    parser.add_argument('checkpoint', help='weights from tools/train.py; thresholds and coarse network lie beside them')
    parser.add_argument('--split', default='test', help='train, val, test, foldK or all; default test')
    parser.add_argument('--work-dir', help='folder for results; default <folder of the checkpoint>/test-<data>')
    parser.add_argument('--out', help='write the metrics here too (JSON)')
    parser.add_argument('--dump', help='write the predictions here too (JSON, or CSV by its name)')
    parser.add_argument('--show-dir', help='folder for the overlays; default <work dir>/overlays')
    parser.add_argument('--overlays', type=int, default=24, metavar='N', help='number of overlays; default 24')
    parser.add_argument('--heatmaps', action='store_true', help='also store the heatmaps, for the gallery of '
                        'tools/report.py')
    parser.add_argument('--score-thr', type=float, help='one threshold for all points, in place of the trained ones')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override config entries, e.g. data_root=DIR prior.backend=grabcut')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> int:
    args = parse_args()
    from mmpose_surgical.pipeline.testing import test_command  # only now: it imports MMEngine
    return test_command(args)


if __name__ == '__main__':
    run_tool(main)
