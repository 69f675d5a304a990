#!/usr/bin/env python3
"""Export a trained model to ONNX: one graph for a frame, one for a window of frames, and a program that runs them."""
import argparse
import sys
from pathlib import Path

try:
    import mmpose_surgical  # noqa: F401
except ImportError:  # a checkout that was not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpose_surgical.cli import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('model', help='work directory of tools/train.py, or a config file with --weights')
    parser.add_argument('--out', required=True, help='folder for the export; an earlier export is replaced')
    parser.add_argument('--weights', help='checkpoint; by default the one that the work directory stands for')
    parser.add_argument('--format', choices=['onnx'], default='onnx')
    parser.add_argument('--prior', choices=['aux', 'none', 'input'],
                        help='mask prior of a refiner: its own mask branch, none, or masks that the program is given; '
                        'default aux of a model that was trained with mask dropout, else none')
    parser.add_argument('--score-thr', type=float, help='one threshold for all points, in place of the trained ones')
    parser.add_argument('--check-on', metavar='VIDEO_OR_FOLDER', help='check the graphs on its frames too')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config entries')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmpose_surgical.export.onnx_export import export_command  # only now: it imports PyTorch
    return export_command(args)


if __name__ == '__main__':
    run_tool(main)
