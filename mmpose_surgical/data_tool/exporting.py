"""``tools/data.py export``: a data set in another format."""
import argparse
from pathlib import Path

from mmpose_surgical.datasets.exporters import FORMATS

HELP = 'write a data set in another format'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dir', type=Path, metavar='DIR', help='folder of the data set')
    parser.add_argument('--format', required=True, choices=FORMATS, metavar='FORMAT',
                        help='; '.join(f'{name}: {what}' for name, what in FORMATS.items()))
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder to write')
    parser.add_argument('--split', metavar='NAME', help='the videos of this split alone')


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from mmpose_surgical.datasets.account import Account
    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.datasets.exporters import writer_of
    from mmpose_surgical.datasets.splits import load_splits
    from mmpose_surgical.errors import UserError
    from mmpose_surgical.files import remove_folder
    annotations = load_annotations(args.dir)
    splits = load_splits(annotations.root, annotations)
    if args.split:
        names = splits.videos(args.split)
        splits = splits.of(names)
        annotations = replace(
            annotations, frames=[frame for frame in annotations.frames if frame.video.name in names],
            videos={k: video for k, video in annotations.videos.items() if video.name in names},
            clips={k: clip for k, clip in annotations.clips.items() if annotations.videos[clip.video_id].name in names})
    if not annotations.frames:
        raise UserError('there is no picture to export' + (f' in split "{args.split}"' if args.split else ''), args.dir,
                        'choose another split, or none')
    if args.out.exists() and (args.out.is_file() or any(args.out.iterdir())):
        raise UserError('the folder is not empty', args.out, 'choose an empty or a new one')
    # Put in place as a whole, so that half an export is never taken for one.
    out = args.out.resolve()
    making = out.with_name(f'.{out.name}.making')
    remove_folder(making)
    account = Account()
    try:
        writer_of(args.format)(annotations, splits, making, account)
        if not making.is_dir():
            print('\n'.join(account.lines()))
            raise UserError(f'nothing of this data set has a place in {args.format}', args.dir, 'choose another format')
        if out.is_dir():
            out.rmdir()
        making.replace(out)
    except OSError as error:
        raise UserError(f'the folder cannot be written: {error.strerror}', out, 'choose another place') from None
    finally:
        remove_folder(making)
    print('\n'.join(account.lines()))
    print(f'{args.format}: {args.out}')
    return 0
