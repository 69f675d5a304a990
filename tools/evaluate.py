"""Evaluate predicted landmarks, of any method, against a data set."""
import argparse
import importlib.util
import math
import re
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

if importlib.util.find_spec('mmpose_surgical') is None:
    # A checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpose_surgical.errors import UserError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--gt', required=True, metavar='FILE',
                        help='annotations.json, or the folder that holds it')
    parser.add_argument('--pred', required=True, nargs='+', metavar='FILE',
                        help='JSON list or CSV of image_id, landmark, x, y, score in original pixels; several files '
                        'are training seeds of one method, whose counts are summed')
    parser.add_argument('--compare', nargs='+', metavar='FILE', default=[],
                        help='predictions of another method on the same pictures, one file a seed: differences of F1 '
                        'with interval and p')
    parser.add_argument('--tolerance', type=float, default=15.0, metavar='PX',
                        help='greatest distance of a match, inclusive (default: 15)')
    parser.add_argument('--canvas', type=canvas, default=(640, 480), metavar='WxH',
                        help='size that pictures are stretched to before matching, or "none" for original '
                        'pixels (default: 640x480)')
    threshold = parser.add_mutually_exclusive_group()
    threshold.add_argument('--score-thr', metavar='THR', help='0.3, or tip=0.3,anchor=0.2, or a thresholds file, or '
                           '"best", which is chosen on this very --split, for use on others (default: none, all '
                           'points count)')
    threshold.add_argument('--score-thr-from', nargs='+', metavar='FILE', default=[],
                           help='thresholds.json, or metrics.json of a validation split, one for all --pred or one '
                           'each; refused where it was chosen on videos that are reported here')
    parser.add_argument('--compare-score-thr-from', nargs='+', metavar='FILE', default=[],
                        help='the same for --compare')
    parser.add_argument('--paired-seeds', action='store_true', help='with --compare: the n-th files of both belong '
                        'together, as refiners behind one coarse network do')
    parser.add_argument('--margin', type=float, metavar='POINTS',
                        help='with --compare: also test that the two differ by less than so many points of 100 (two '
                        'one-sided tests), e.g. 3')
    parser.add_argument('--split', metavar='NAME', help='evaluate this split of splits.json (train, val, '
                        'test, fold0, not-fold0, ...) instead of every annotated frame')
    parser.add_argument('--visible-only', action='store_true', help='ground truth with v = 2 only')
    parser.add_argument('--complete-frames', action='store_true',
                        help='count only frames with a tip and an anchor, all of them visible')
    parser.add_argument('--match', choices=('max_pairs', 'global'), default='max_pairs',
                        help='most pairs within the tolerance, then least distance; or least distance over '
                        'all pairs, the tolerance after (default: max_pairs)')
    parser.add_argument('--by', nargs='+', metavar='NAME',
                        help='picture attributes, or source, to break down by (default: all with few values)')
    parser.add_argument('--no-bootstrap', action='store_true', help='no intervals, and no p')
    parser.add_argument('--out', metavar='FILE', help='write the metrics as JSON')
    return parser.parse_args(argv)


def canvas(text: str) -> tuple[float, float] | None:
    """``640x480`` or ``none``."""
    if text.lower() == 'none':
        return None
    width, _, height = text.lower().partition('x')
    if not all(re.fullmatch('0*[1-9][0-9]{0,5}', side) for side in (width, height)):
        raise argparse.ArgumentTypeError(f'"{text}" is neither WIDTHxHEIGHT nor none')
    return int(width), int(height)


def thresholds(text: str | None) -> tuple[float | dict | None, str | None]:
    """The thresholds that ``--score-thr`` spells out and where they come from."""
    if text is None:
        return None, None
    parts = text.split(',') if '=' in text else [f'={text}']
    try:
        values = {name.strip(): float(value) for name, value in (part.split('=') for part in parts)}
    except ValueError:
        values = {'no': math.nan}
    named = set(values) <= {'tip', 'anchor'} or set(values) == {''}
    if not named or len(values) < len(parts) or not all(map(math.isfinite, values.values())):
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
    from mmpose_surgical.evaluation.bootstrap import RESAMPLES
    from mmpose_surgical.evaluation.comparison import compare
    from mmpose_surgical.evaluation.evaluator import Rules, match_runs
    from mmpose_surgical.evaluation.full import evaluate_in_full
    from mmpose_surgical.evaluation.predictions import FARTHEST

    if not 0 <= args.tolerance <= FARTHEST:
        raise UserError(f'{args.tolerance} is not a distance', '--tolerance', f'give pixels, 0 to {FARTHEST:.0f}')
    if args.compare and args.no_bootstrap:
        raise UserError('a comparison stands on the bootstrap', '--no-bootstrap', 'leave it out')
    if args.margin is not None and not (args.compare and 0 < args.margin < 100):
        raise UserError('a margin is a number of points between 0 and 100, and tests a difference', '--margin',
                        'give it with --compare, e.g. --margin 3')
    if args.paired_seeds and not 1 < len(args.pred) == len(args.compare):
        raise UserError(f'{len(args.pred)} and {len(args.compare)} predictions are no pairs', '--paired-seeds',
                        'give --pred and --compare equally many files, in the same order')
    if bool(args.score_thr_from) != bool(args.compare_score_thr_from) and args.compare:
        raise UserError('each method has a threshold of its own', '--compare',
                        'name both: --score-thr-from and --compare-score-thr-from')
    if args.compare_score_thr_from and not args.compare:
        raise UserError('there is no second method', '--compare-score-thr-from', 'give its --compare, or leave it out')
    annotations = load_annotations(args.gt)
    if args.out is not None:
        check_out(args.out, [annotations.path, annotations.root / 'splits.json', *args.pred, *args.compare,
                             *args.score_thr_from, *args.compare_score_thr_from,
                             *([args.score_thr] if args.score_thr else [])])
    frames = annotations.frames
    if args.split is not None:
        videos = set(load_splits(annotations.root, annotations).videos(args.split))
        frames = [f for f in frames if f.video.name in videos]
    if not any(f.annotated for f in frames):
        raise UserError('no annotated frame to evaluate', annotations.path,
                        'check the annotations and --split')
    rules = Rules(args.tolerance, args.canvas, args.visible_only, args.complete_frames, args.match,
                  annotations.landmarks, annotations.by_id)
    resamples = 0 if args.no_bootstrap else RESAMPLES
    runs, values, origins = method(args.pred, args.score_thr, args.score_thr_from, annotations, frames, rules,
                                   args.split)
    metrics = summary.with_meta(evaluate_in_full(frames, runs, values, rules, by=args.by, resamples=resamples),
                                data=summary.describe_data(annotations), split=args.split,
                                predictions=single(names(args.pred)), threshold_from=single(origins),
                                git_commit=summary.git_commit())
    console = Console()
    console.print(summary.metrics_table(metrics))
    ignored = {name: n for name, n in metrics['meta']['ignored_predictions'].items() if n}
    if ignored:
        console.print('ignored predictions: ' + ', '.join(f'{n} ({name})' for name, n in ignored.items()))
    if args.compare:
        others, other_values, other_origins = method(args.compare, args.score_thr, args.compare_score_thr_from,
                                                     annotations, frames, rules, args.split)
        found = compare(match_runs(frames, runs, values, rules), match_runs(frames, others, other_values, rules),
                        margin=None if args.margin is None else args.margin / 100,
                        paired_seeds=args.paired_seeds, resamples=resamples)
        metrics['comparison'] = {'of': names(args.pred), 'with': names(args.compare),
                                 'threshold': single(other_values), 'threshold_from': single(other_origins),
                                 'paired_seeds': args.paired_seeds, **found}
        console.print(summary.comparison_table(metrics))
    if args.out:
        summary.write_metrics(args.out, metrics)


def check_out(out: str, given: list[str | Path]) -> None:
    """Refuse to write the metrics over what they are made of."""
    if not Path(out).name or Path(out).is_dir():
        raise UserError(f'"{out}" is no name of a file', '--out', 'name one, or leave it out')
    if Path(out).resolve() in {Path(file).resolve() for file in given}:
        raise UserError('the metrics would take the place of what they are made of', out, 'name another file')


def method(files: list[str], score_thr: str | None, score_thr_from: list[str], annotations: Any, frames: list[Any],
           rules: Any, split: str | None) -> tuple[list, list, list]:
    """Predictions, thresholds and where those come from, of each seed of a method."""
    import numpy as np

    from mmpose_surgical.evaluation.predictions import COLUMNS, read_predictions
    from mmpose_surgical.evaluation.thresholds import (
        THIS_DATA,
        choose_thresholds,
        read_thresholds,
        refuse_seen_videos,
        threshold_source,
    )
    runs = [read_predictions(file, known_images=annotations.by_id) for file in files]
    for (file, run), (other, its) in combinations(zip(files, runs), 2):
        if len(run) and all(np.array_equal(getattr(run, name), getattr(its, name)) for name in COLUMNS):
            raise UserError(f'the same points as in {file}, which would count as another seed', other,
                            'give each seed once')
    if score_thr is not None and score_thr.endswith('.json'):
        score_thr_from = [score_thr]
    if score_thr_from:
        if len(score_thr_from) not in (1, len(files)):
            raise UserError(f'{len(score_thr_from)} threshold files for {len(files)} predictions', '--score-thr-from',
                            'give one for all, or one each')
        read = [read_thresholds(file) for file in score_thr_from]
        for file, (_, meta) in zip(score_thr_from, read):
            refuse_seen_videos(file, meta, annotations, frames)
        found = [(values, threshold_source(file, meta)) for file, (values, meta) in zip(score_thr_from, read)]
    elif score_thr == 'best':
        from mmpose_surgical.datasets.splits import load_splits
        # Without that file nothing is held out here, and what the file of thresholds is used for is checked by name.
        named = (annotations.root / 'splits.json').exists()
        test = load_splits(annotations.root, annotations).test if named else ()
        if named and split is None or any(frame.video.name in test for frame in frames):
            raise UserError('no threshold is chosen on the test split', '--score-thr best', 'choose it on validation '
                            '(--split val --score-thr best --out FILE), and name that file with --score-thr-from')
        chosen = [choose_thresholds(frames, run, **vars(rules)) for run in runs]
        found = [({name: values[name] for name in rules.landmarks}, THIS_DATA) for values in chosen]
    else:
        found = [thresholds(score_thr)]
    for file, (values, _) in zip(score_thr_from or ['--score-thr'], found):
        left = [name for name in annotations.landmarks if isinstance(values, dict) and name not in values]
        if left:
            raise UserError(f'no threshold for {", ".join(left)}', file, 'give one; null in a file: all points count')
    values, origins = zip(*(found * len(runs) if len(found) == 1 else found))
    return runs, list(values), list(origins)


def names(files: list[str]) -> list[str]:
    """The names without folders, so that no path leaks."""
    return [Path(file).name for file in files]


def single(values: list) -> Any:
    """The value itself where there is one seed only."""
    return values[0] if len(values) == 1 else values


if __name__ == '__main__':
    sys.exit(main())
