#!/usr/bin/env python
"""Say what is installed, what is missing and the command that mends it; or audit what a run left."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

# The doctor is also called where the package is not installed, so it looks beside itself as well.
sys.path.append(str(Path(__file__).resolve().parents[1]))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--audit', type=Path, metavar='WORK_DIR',
                        help='check a work directory for leaks between splits, folds, priors and thresholds')
    parser.add_argument('--json', action='store_true', help='print JSON')
    return parser.parse_args()


def main() -> int:
    """Print the findings; 1 if a required thing is missing or wrong, or a leak was found."""
    args = parse_args()
    from mmpose_surgical.doctor.finding import failed, print_findings, to_json

    if args.audit:
        from mmpose_surgical.doctor.audit import audit
        findings, title = audit(args.audit), f'Audit of {args.audit}'
    else:
        from mmpose_surgical.doctor.environment import check_environment
        findings, title = check_environment(), 'Environment'
    if args.json:
        print(to_json(findings))
    else:
        print_findings(findings, title)
    return int(failed(findings))


if __name__ == '__main__':
    from mmpose_surgical.cli import run_tool

    run_tool(main)
