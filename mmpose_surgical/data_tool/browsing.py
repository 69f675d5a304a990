"""``tools/data.py browse``: a page to look through a data set with."""
import argparse
import math
import os
from pathlib import Path

from mmpose_surgical.cli import progress_bar

HELP = 'write one page of the clips with their points, masks, windows and problems, to open in any browser, offline'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dir', type=Path, metavar='DIR', help='folder of the data set')
    parser.add_argument('--out', type=Path, metavar='FILE',
                        help='the page (default: DIR/browse.html, or ./browse.html where DIR cannot be written)')
    parser.add_argument('--split', nargs='+', default=[], metavar='NAME', help='only these: train, val, test, fold0')
    parser.add_argument('--videos', nargs='+', default=[], metavar='NAME', help='only these')
    parser.add_argument('--clips', type=int, default=60, metavar='N',
                        help='at most so many, spread over videos and actions, half of them with problems if there are '
                        'so many (default: 60)')
    parser.add_argument('--width', type=int, default=320, metavar='PX', help='of the pictures (default: 320)')
    parser.add_argument('--max-mb', type=float, default=20, metavar='MB', help='of the page (default: 20)')
    parser.add_argument('--num-frames', type=int, default=5, metavar='T', help='windows to mark (default: 5)')
    parser.add_argument('--spacing', type=float, default=0.12, metavar='S',
                        help='seconds between their frames (default: 0.12)')
    parser.add_argument('--no-validate', action='store_true', help='do not look for problems')


def run(args: argparse.Namespace) -> int:
    from mmpose_surgical.errors import UserError
    from mmpose_surgical.visualization.browser.page import Options, write_browser
    if min(args.clips, args.num_frames) < 1 or args.width < 32 or not (args.max_mb > 0 and 0 < args.spacing < math.inf):
        raise UserError('--clips and --num-frames are at least 1, --width at least 32, --max-mb and --spacing above 0',
                        None, 'give such a number')
    options = Options(tuple(args.split), tuple(args.videos), args.clips, args.width, args.max_mb * 1e6,
                      args.num_frames, args.spacing, not args.no_validate)
    root = args.dir if args.dir.is_dir() else args.dir.parent
    out = args.out or (root if os.access(root, os.W_OK) else Path()) / 'browse.html'
    with progress_bar('clips') as progress:
        written = write_browser(args.dir, out, options,
                                progress)
    for note in written.notes:
        print(f'look: {note}')
    print(f'page: {out} ({written.clips} of {written.total} clips, {written.pictures} pictures, '
          f'{written.bytes / 1e6:.1f} MB)')
    return 0
