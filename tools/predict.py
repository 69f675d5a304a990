#!/usr/bin/env python3
"""Points of the acting instrument in a new video: a table, and the video with what was found drawn into it."""
import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec('mmpose_surgical') is None:
    # A checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpose_surgical.cli import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('source', help='a video file, or a folder of pictures in the order of the numbers in their '
                        'names')
    parser.add_argument('--model', required=True, metavar='WORK_DIR', help='work directory of tools/train.py, or a '
                        'config with --weights')
    parser.add_argument('--weights', metavar='FILE', help='checkpoint; default: the one that training stands for')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for predictions.csv, predictions.json and '
                        'overlay.mp4; the same command goes on where it was cut off')
    parser.add_argument('--prior', metavar='NAME', help='of a refiner: sam3, sam2, grabcut, aux (its own mask branch) '
                        'or none; default: the one that it was trained with')
    parser.add_argument('--prior-every', type=int, default=1, metavar='N', help='segment every N-th frame, and let the '
                        'others take its mask (default: 1)')
    parser.add_argument('--score-thr', type=float, help='one threshold for all points, in place of the trained ones')
    parser.add_argument('--fps', type=float, help='frames per second of a folder; a video knows its own')
    parser.add_argument('--smooth', nargs='*', type=float, metavar='HZ BETA', help='also give smoothed places '
                        '(One-Euro filter, by default 1 Hz and 0.02); the raw ones stay')
    parser.add_argument('--trail', type=float, default=1., metavar='SECONDS', help='how long places stay visible in '
                        'the overlay (default: 1)')
    parser.add_argument('--heat', action='store_true', help='show the heatmaps in the overlay')
    parser.add_argument('--no-overlay', action='store_true', help='tables alone')
    parser.add_argument('--batch-size', type=int, default=8, metavar='N', help='frames that pass the networks together '
                        '(default: 8)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1; default: a GPU if there is one')
    parser.add_argument('--rebuild', action='store_true', help='replace other predictions in the folder')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override config entries, e.g. prior.checkpoint=PATH')
    args = parser.parse_args()
    if args.smooth is not None and len(args.smooth) > 2:
        parser.error('argument --smooth: give at most a cutoff in Hz and beta')
    return args


def main() -> int:
    args = parse_args()
    from mmpose_surgical.prediction.command import predict_command  # only now: it imports torch
    return predict_command(args)


if __name__ == '__main__':
    run_tool(main)
