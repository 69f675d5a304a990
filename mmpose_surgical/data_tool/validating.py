"""``tools/data.py validate``: every problem of a data set at once."""
import argparse
import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmpose_surgical.cli import progress_bar

if TYPE_CHECKING:
    from mmpose_surgical.datasets.problems import Problem

HELP = 'find every problem of a data set; the exit code is 1 if there is one that matters'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dir', type=Path, metavar='DIR', help='folder of the data set')
    parser.add_argument('--no-decode', action='store_true', help='do not open pictures: files and records alone')
    parser.add_argument('--num-frames', type=int, default=5, metavar='T', help='windows to look for (default: 5)')
    parser.add_argument('--spacing', type=float, default=0.12, metavar='S',
                        help='seconds between their frames (default: 0.12)')
    parser.add_argument('--actions', nargs='+', metavar='NAME', help='words for actions (default: clip grasp dissect)')
    parser.add_argument('--show', type=int, default=5, metavar='N', help='of each kind (default: 5; 0: all)')
    parser.add_argument('--json', metavar='FILE',
                        help='write all of them as JSON; - for the terminal, in place of text')


def run(args: argparse.Namespace) -> int:
    from mmpose_surgical.datasets.problems import KINDS
    from mmpose_surgical.datasets.validation import validate
    from mmpose_surgical.errors import UserError
    from mmpose_surgical.files import write_text
    from mmpose_surgical.landmarks import ACTIONS
    if args.num_frames < 1 or not 0 < args.spacing < math.inf:
        raise UserError('--num-frames is at least 1, and --spacing a time above 0', None, 'give such a number')
    with progress_bar('pictures', visible=not args.no_decode) as progress:
        result = validate(args.dir, decode=not args.no_decode, num_frames=args.num_frames, spacing=args.spacing,
                          actions=args.actions or ACTIONS,
                          progress=progress)
    if args.json:
        text = json.dumps(dict(passed=result.passed, pictures=result.pictures, problems=[
            dataclasses.asdict(problem) | dict(fix=KINDS[problem.kind].fix, harmless=problem.harmless)
            for problem in result.problems]), indent=1) + '\n'
        if args.json == '-':
            print(text, end='')
        else:
            write_text(args.json, text)
    if args.json != '-':
        print('\n'.join(_lines(result.problems, args.show)))
        looked = 'there' if args.no_decode else 'decoded'
        grave = sum(not problem.harmless for problem in result.problems)
        print(f'{args.dir}: {result.pictures} pictures {looked}, {grave} problem(s), '
              f'{len(result.problems) - grave} remark(s)')
    return 0 if result.passed else 1


def _lines(problems: Sequence['Problem'], show: int) -> Iterator[str]:
    """Problems in groups, those that matter first."""
    from mmpose_surgical.datasets.problems import KINDS
    groups = defaultdict(list)
    for problem in problems:
        groups[problem.kind].append(problem)
    for name in sorted(groups, key=lambda name: (KINDS[name].harmless, list(KINDS).index(name))):
        kind, own = KINDS[name], groups[name]
        yield f'{"remark" if kind.harmless else "PROBLEM"}: {len(own)} x {kind.title}. Fix: {kind.fix}.'
        for problem in own[:show or None]:
            yield f'  {problem.file}' + (f': {problem.record}' if problem.record else '') + f': {problem.what}'
        if show and len(own) > show:
            yield f'  and {len(own) - show} more (--show 0, or --json FILE)'
