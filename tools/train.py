#!/usr/bin/env python3
"""Train a config: make what it needs first, go on where an earlier call was cut off, evaluate at the end."""
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
    parser.add_argument('config', help='config file, e.g. configs/surgical/refine_prior_aux.py')
    parser.add_argument('--work-dir', help='folder for checkpoints and results; default work_dirs/<config name>')
    parser.add_argument('--plan', action='store_true', help='print what would be made, and make nothing')
    parser.add_argument('--rebuild', action='store_true',
                        help='replace what was made from another config or other data, instead of keeping it beside')
    parser.add_argument('--resume', nargs='?', const='auto',
                        help='accepted as in MMPose; going on where a run was cut off is the default here')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (bfloat16 on CPU)')
    parser.add_argument('--no-validate', action='store_true', help='do not validate during training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--show-dir', help='folder for the overlays; default <work dir>/overlays')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override config entries, e.g. data_root=DIR prior.backend=grabcut '
                             'coarse.overrides.train_cfg.max_epochs=2')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> int:
    args = parse_args()
    from mmpose_surgical.pipeline.run import train_command  # only now: it imports MMEngine
    return train_command(args)


if __name__ == '__main__':
    run_tool(main)
