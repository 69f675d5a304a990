#!/usr/bin/env python3
"""Data sets: make them from your videos, check them, split them, look at them."""
import argparse
import importlib
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec('mmpose_surgical') is None:
    # A checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpose_surgical.cli import run_tool
from mmpose_surgical.data_tool import VERBS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    for name, module_name in VERBS.items():
        module = importlib.import_module(f'mmpose_surgical.data_tool.{module_name}')
        verb = verbs.add_parser(name, help=module.HELP, description=module.HELP, allow_abbrev=False)
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    args = parser.parse_args()
    return args.run(args)


if __name__ == '__main__':
    run_tool(main)
