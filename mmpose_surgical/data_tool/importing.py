"""``tools/data.py import``: foreign data to a data set folder."""
import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmpose_surgical.cli import progress_bar
from mmpose_surgical.datasets.importers import FORMATS

HELP = 'make a data set of annotated videos or pictures in another format'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('format', choices=FORMATS, metavar='FORMAT',
                        help='; '.join(f'{name}: {what}' for name, what in FORMATS.items()))
    parser.add_argument('src', type=Path, metavar='SRC', help='its folder, or its annotation file')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the data set to make')
    parser.add_argument('--frames', choices=('extract', 'video'), default='extract',
                        help='pictures are extracted from videos once, or decoded whenever they are needed, which '
                        'takes less disk and more time; videos of a COCO file stay videos (default: extract)')
    parser.add_argument('--quality', type=int, default=95, metavar='Q',
                        help='of extracted JPEG, 1 to 100 (default: 95)')
    parser.add_argument('--short-side', type=int, metavar='PX',
                        help='make larger pictures this small, and their points and masks with them')
    parser.add_argument('--landmark', nargs='+', default=[], metavar='NAME=tip|anchor|skip',
                        help='what the keypoints of the source are; names such as tool_tip are known')
    parser.add_argument('--action', nargs='+', default=[], metavar='NAME=ACTION|skip',
                        help='rename actions of the source, or leave one out')
    parser.add_argument('--tool', nargs='+', default=[], metavar='NAME=TOOL',
                        help='rename tools; where the source knows none, ACTION=TOOL')
    parser.add_argument('--source', metavar='NAME', help='where the videos are from, e.g. Cholec80: a column of stats')
    parser.add_argument('--video-from', metavar='REGEX',
                        help='coco: tells from a picture\'s path which video it is of, e.g. "(video[0-9]+)"')


def run(args: argparse.Namespace) -> int:
    from mmpose_surgical.datasets.importers import reader_of
    from mmpose_surgical.datasets.importers.draft import ImportOptions
    from mmpose_surgical.errors import UserError
    from mmpose_surgical.files import write_json
    if not args.src.exists():
        raise UserError('there is nothing to import', args.src, 'name an existing folder or file')
    if not 1 <= args.quality <= 100 or (args.short_side is not None and args.short_side < 32):
        raise UserError('--quality is 1 to 100, and --short-side at least 32', None, 'give such a number')
    if args.short_side is not None and args.frames == 'video':
        raise UserError('--short-side scales pictures, and --frames video makes none', None, 'leave one of them out')
    try:
        video_from = None if args.video_from is None else re.compile(args.video_from)
    except re.error as error:
        raise UserError(f'no regular expression: {error}', f'--video-from {args.video_from}', 'mend it') from None
    options = ImportOptions(_pairs(args.landmark, '--landmark'), _pairs(args.action, '--action'),
                            _pairs(args.tool, '--tool'), args.source, video_from, args.frames, args.short_side)
    told = {name: value for name, value in vars(args).items() if name not in ('run', 'verb', 'out', 'src')}
    out = args.out.resolve()
    told['src'] = str(args.src.resolve())
    with _claimed(out, told):
        draft = reader_of(args.format)(args.src, options)
        if not draft.frames:
            print('\n'.join(draft.lines()))
            raise UserError('no annotated picture was found', args.src, 'see above for what was left out and why')
        write_json(out / 'import.json', dict(told=told))
        _make(draft, args, out)
        lines = draft.lines()
        write_json(out / 'import.json', dict(told=told, account=lines))
    print('\n'.join(lines))
    print(f'data set: {args.out}\nnext: python tools/data.py validate {args.out}')
    return 0


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    from mmpose_surgical.errors import UserError
    pairs = {}
    for text in texts:
        name, equals, value = text.rpartition('=')
        if not (name and equals and value):
            raise UserError(f'"{text}" is no NAME=VALUE', option, f'write {option} NAME=VALUE')
        pairs[name] = value
    return pairs


def _make(draft: Any, args: argparse.Namespace, out: Path) -> None:
    """Pictures first; the annotation file comes last, and makes the data set whole."""
    from mmpose_surgical.datasets.annotations import check_records
    from mmpose_surgical.datasets.importers.placing import place
    from mmpose_surgical.datasets.writing import to_coco, write_annotations
    from mmpose_surgical.errors import UserError, list_problems
    path = out / 'annotations.json'
    if problems := check_records(path, to_coco(draft.finish(path))):
        raise UserError(f'{len(problems)} imported record(s) are no good: '
                        f'{list_problems([f"{p.record}: {p.what}" for p in problems])}', args.src, 'correct the source')
    with progress_bar('pictures') as progress:
        place(draft, out, quality=args.quality, short_side=args.short_side,
              progress=progress)
    if not draft.frames:
        print('\n'.join(draft.lines()))
        raise UserError('none of the pictures could be read', args.src, 'see above why')
    write_annotations(path, draft.finish(path))


@contextmanager
def _claimed(out: Path, told: dict[str, Any]) -> Iterator[None]:
    """The folder of the data set while it is being made: one process at a time, and one import for ever.

    ``import.json`` says what is made of what, so that the same command goes on where it was cut off and another one is
    refused.
    """
    from mmpose_surgical.errors import UserError
    from mmpose_surgical.files import claim, is_temporary, read_json
    record, lock_file = out / 'import.json', out / '.lock'
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in out.iterdir() if not is_temporary(path)]
    except OSError as error:
        raise UserError(f'the folder cannot be written: {error.strerror}', out, 'choose another place') from None
    if record.exists():
        if read_json(record, 'remove the folder').get('told') != told:
            raise UserError('the folder holds another import', out, 'choose another folder, or remove it')
        if 'annotations.json' in names:
            raise UserError('this import is done', out, 'remove the folder to make it again')
    elif set(names) - {lock_file.name}:
        raise UserError('the folder is not empty', out, 'choose an empty or a new one')
    lock = claim(lock_file)
    if lock is None:
        raise UserError('another process is making this data set', out, 'wait until it ends')
    with lock:
        try:
            yield
        finally:
            lock_file.unlink(missing_ok=True)
            if not any(out.iterdir()):
                out.rmdir()  # nothing was made
