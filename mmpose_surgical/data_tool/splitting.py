"""``tools/data.py split``: splits of whole videos."""
import argparse
from pathlib import Path

HELP = 'split by video, with alike shares of every action and source, and write splits.json'

UNSURE_POINTS = 10.0
"""A validation split whose F1 is known no better than this is too small to choose a threshold on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dir', type=Path, metavar='DIR', help='folder of the data set')
    parser.add_argument('--val', type=float, default=0.15, metavar='N',
                        help='share of the videos for validation, or their number (default: 0.15)')
    parser.add_argument('--test', type=float, default=0.25, metavar='N',
                        help='share of the videos for testing, or their number (default: 0.25)')
    parser.add_argument('--folds', type=int, metavar='K',
                        help='folds of the training videos for out-of-fold priors; 0: none (default: 5, or as many as '
                        'there are training videos)')
    parser.add_argument('--seed', type=int, default=0, metavar='S', help='another seed, another split (default: 0)')
    parser.add_argument('--test-videos', nargs='+', default=[], metavar='NAME',
                        help='test on these, whatever --test says; or @FILE with a name in each line')
    parser.add_argument('--force', action='store_true', help='replace a splits.json that is there')


def run(args: argparse.Namespace) -> int:
    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.datasets.splitting import make_splits, threshold_uncertainty, write_splits
    from mmpose_surgical.datasets.statistics import clips_of, split_table
    from mmpose_surgical.errors import UserError
    annotations = load_annotations(args.dir)
    path = annotations.root / 'splits.json'
    if path.exists() and not args.force:
        raise UserError('there is a split already', path, 'replace it with --force')
    videos = {frame.video.name for frame in annotations.annotated_frames()}
    test = _names(args.test_videos)
    splits = make_splits(annotations, val=args.val, test=args.test, seed=args.seed, test_videos=test,
                         folds=_possible_folds(args, len(videos), len(test)))
    write_splits(annotations.root, splits)
    print('\n'.join(split_table(annotations, splits).markdown()))
    if idle := sorted({video.name for video in annotations.videos.values()} - videos):
        print(f'in no split, since nothing is annotated: {", ".join(idle[:10])}')
    clips = len(clips_of(annotations.annotated_frames(splits.val)))
    unsure = threshold_uncertainty(clips)
    if splits.val and unsure > UNSURE_POINTS:
        print(f'look: {clips} clips for validation are few: an F1 of 70 % is known to within {unsure:.0f} points, and '
              'so is which threshold is best; take more with --val')
    if not splits.val:
        print('look: tools/train.py needs validation videos: it chooses the score threshold on them')
    if len(splits.folds) < 2:
        print('look: without folds no refiner can be trained, whose priors are out-of-fold; take more training videos')
    print(f'splits: {path}\nnext: python tools/data.py validate {args.dir}   (finds pictures that two splits share)')
    return 0


def _possible_folds(args: argparse.Namespace, videos: int, named: int) -> int:
    """The folds that are asked for, or by default no more than there are training videos."""
    from mmpose_surgical.datasets.splitting import number_of
    if args.folds is not None:
        return args.folds
    left = videos - number_of(args.val, videos, '--val') - (named or number_of(args.test, videos, '--test'))
    return min(left, 5) if left >= 2 else 0


def _names(texts: list[str]) -> list[str]:
    from mmpose_surgical.errors import UserError
    names = []
    for text in texts:
        if text.startswith('@'):
            try:
                names += [line.strip() for line in Path(text[1:]).read_text().splitlines() if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f'the list of test videos cannot be read: {error}', text[1:],
                                'name a text file with a video in each line') from None
        else:
            names.append(text)
    return names
