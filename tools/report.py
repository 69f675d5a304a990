#!/usr/bin/env python3
"""Put finished runs side by side: one page that works offline, and its tables as Markdown and LaTeX."""
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
    parser.add_argument('work_dirs', nargs='+', type=Path, metavar='WORK_DIR',
                        help='finished runs, as tools/train.py or tools/test.py leave them; seeds are joined')
    parser.add_argument('--out', type=Path, default=Path('report.html'), metavar='FILE',
                        help='the page; default report.html')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='default: beside the page, .md')
    parser.add_argument('--latex', type=Path, metavar='FILE', help='default: beside the page, .tex')
    parser.add_argument('--data', type=Path, metavar='DIR',
                        help='the data set, for the gallery; default: where the configs of the runs say')
    parser.add_argument('--gallery', type=int, default=6, metavar='N',
                        help='best, worst and disputed frames, N of each; 0 for none; default 6')
    parser.add_argument('--frames', type=int, nargs='+', default=[], metavar='ID', help='show these pictures besides')
    parser.add_argument('--separate', action='store_true',
                        help='put runs on different data, splits, canvas or tolerance apart instead of refusing them')
    args = parser.parse_args()
    if args.gallery < 0 or args.frames and not args.gallery:
        parser.error('--gallery: a number of frames, 0 for no gallery; --frames stand in it')
    return args


def main() -> None:
    args = parse_args()
    from mmpose_surgical.visualization.report.page import write_report  # only now: it imports Plotly and OpenCV
    parts = write_report(args.work_dirs, args.out, markdown_out=args.markdown, latex_out=args.latex, data=args.data,
                         frames=args.frames, count=args.gallery, separate=args.separate)
    for part in parts:
        print(f'{part.title}: methods {len(part.comparison.methods)}, runs {len(part.comparison.runs)}')
        if part.gallery is None:
            print(f'  no gallery: {part.no_gallery}')
        elif part.gallery.left_out:
            print(f'  {part.gallery.left_out} frames of the gallery left out, for the size of the page')
    print(f'report: {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)')


if __name__ == '__main__':
    run_tool(main)
