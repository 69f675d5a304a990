#!/usr/bin/env python3
"""Make or complete the mask priors of a config, and look at how good they are."""
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
    parser.add_argument('config', help='config of a refiner, e.g. configs/surgical/refine_prior_aux.py')
    parser.add_argument('--split', default='train,val,test', help='comma-separated; default train,val,test')
    parser.add_argument('--backend', help="sam3, sam2, grabcut or simulated, in place of the config's")
    parser.add_argument('--jitter', type=int, metavar='J', help='also J priors of jittered prompts a picture; training '
                        'with prior.jitter=J draws among them')
    parser.add_argument('--limit', type=int, metavar='N', help='make at most N pictures in this call')
    parser.add_argument('--dry-run', action='store_true', help='count, estimate time and disk, and make nothing')
    parser.add_argument('--work-dir', help='folder of the run that the priors are for; default work_dirs/<config name>')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override config entries, e.g. data_root=DIR prior.checkpoint=PATH')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> int:
    args = parse_args()
    from mmpose_surgical.pipeline.priors import priors_command  # only now: it imports MMEngine
    return priors_command(args)


if __name__ == '__main__':
    run_tool(main)
