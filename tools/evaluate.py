"""Evaluate predicted landmarks, of any method, against a data set."""
import argparse
import importlib.util
import math
import sys
from pathlib import Path

if importlib.util.find_spec('mmpose_surgical') is None:
    # A checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpose_surgical.errors import UserError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--gt', required=True, metavar='FILE',
                        help='annotations.json, or the folder that holds it')
    parser.add_argument('--pred', required=True, metavar='FILE',
                        help='JSON list or CSV of image_id, landmark, x, y, score in original pixels')
    parser.add_argument('--tolerance', type=float, default=15.0, metavar='PX',
                        help='greatest distance of a match, inclusive (default: 15)')
    parser.add_argument('--canvas', type=canvas, default=(640, 480), metavar='WxH',
                        help='size that pictures are stretched to before matching, or "none" for original '
                        'pixels (default: 640x480)')
    parser.add_argument('--score-thr', metavar='THR', help='0.3, or tip=0.3,anchor=0.2, or a thresholds file '
                        '(default: none, all points count)')
    parser.add_argument('--split', metavar='NAME', help='evaluate this split of splits.json (train, val, '
                        'test, fold0, not-fold0, ...) instead of every annotated frame')
    parser.add_argument('--visible-only', action='store_true', help='ground truth with v = 2 only')
    parser.add_argument('--complete-frames', action='store_true',
                        help='count only frames with a tip and an anchor, all of them visible')
    parser.add_argument('--match', choices=('max_pairs', 'global'), default='max_pairs',
                        help='most pairs within the tolerance, then least distance; or least distance over '
                        'all pairs, the tolerance after (default: max_pairs)')
    parser.add_argument('--out', metavar='FILE', help='write the metrics as JSON')
    return parser.parse_args(argv)


def canvas(text: str) -> tuple[float, float] | None:
    """``640x480`` or ``none``."""
    if text.lower() == 'none':
        return None
    width, _, height = text.lower().partition('x')
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'"{text}" is neither WIDTHxHEIGHT nor none')
    return int(width), int(height)


def thresholds(text: str | None) -> tuple[float | dict | None, str | dict | None]:
    """The thresholds of ``--score-thr`` and where they come from."""
    if text is None:
        return None, None
    if text.endswith('.json'):
        from mmpose_surgical.evaluation.thresholds import read_thresholds, threshold_source
        values, meta = read_thresholds(text)
        return values, threshold_source(text, meta)
    parts = text.split(',') if '=' in text else [f'={text}']
    try:
        values = {name.strip(): float(value) for name, value in (part.split('=') for part in parts)}
    except ValueError:
        values = {'no': math.nan}
    named = set(values) <= {'tip', 'anchor'} or set(values) == {''}
    if not named or not all(map(math.isfinite, values.values())):
        raise UserError(f'"{text}" is no threshold', '--score-thr',
                        'give 0.3, or tip=0.3,anchor=0.2, or a .json file')
    return values.get('', values), 'command line'


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        run(args)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> None:
    # Imported here so that --help answers at once.
    from rich.console import Console

    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.datasets.splits import load_splits
    from mmpose_surgical.evaluation import summary
    from mmpose_surgical.evaluation.evaluator import evaluate
    from mmpose_surgical.evaluation.predictions import read_predictions

    if not 0 <= args.tolerance < float('inf'):
        raise UserError(f'{args.tolerance} is not a distance', '--tolerance', 'give pixels, 0 or more')
    score_thr, origin = thresholds(args.score_thr)
    annotations = load_annotations(args.gt)
    frames = annotations.frames
    if args.split is not None:
        videos = set(load_splits(annotations.root, annotations).videos(args.split))
        frames = [f for f in frames if f.video.name in videos]
    if not any(f.annotated for f in frames):
        raise UserError('no annotated frame to evaluate', annotations.path,
                        'check the annotations and --split')
    predictions = read_predictions(args.pred, known_images=annotations.by_id)
    metrics = evaluate(frames, predictions, tolerance=args.tolerance, canvas=args.canvas, score_thr=score_thr,
                       visible_only=args.visible_only, complete_only=args.complete_frames,
                       protocol=args.match, landmarks=annotations.landmarks, known_images=annotations.by_id)
    metrics = summary.with_meta(metrics, data=summary.describe_data(annotations), split=args.split,
                                predictions=Path(args.pred).name, threshold_from=origin,
                                git_commit=summary.git_commit())
    console = Console()
    console.print(summary.metrics_table(metrics))
    ignored = {name: n for name, n in metrics['meta']['ignored_predictions'].items() if n}
    if ignored:
        console.print('ignored predictions: ' + ', '.join(f'{n} ({name})' for name, n in ignored.items()))
    if args.out:
        summary.write_metrics(args.out, metrics)


if __name__ == '__main__':
    sys.exit(main())
