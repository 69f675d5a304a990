"""``tools/data.py synthesize``: the embedded data set at any size."""
import argparse
from pathlib import Path

from mmpose_surgical.cli import progress_bar
from mmpose_surgical.datasets.synthetic import SPEC_NAMES

HELP = 'make the synthetic data set, at any size and from any seed'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the data set to make')
    parser.add_argument('--spec', choices=SPEC_NAMES, default='demo', help='what to begin with (default: demo)')
    parser.add_argument('--seed', type=int, default=0, metavar='S', help='another seed, another data set (default: 0)')
    parser.add_argument('--videos', type=int, metavar='N', help="number of videos, in place of the spec's")
    parser.add_argument('--clips', type=int, metavar='N', dest='clips_per_video',
                        help="clips of each video, in place of the spec's")
    parser.add_argument('--ambiguity', type=float, metavar='P',
                        help='share of the clips in which motion alone tells which tool acts')
    parser.add_argument('--degradation', type=float, metavar='X', help='scale of smoke, blood and blur; 0: none')
    parser.add_argument('--workers', type=int, metavar='N', help='processes (default: one per core)')
    parser.add_argument('--preview', type=Path, metavar='FILE',
                        help='also write a sheet of frames with points and masks')


def run(args: argparse.Namespace) -> int:
    import dataclasses

    from mmpose_surgical.datasets.synthetic.generate import SPECS, generate
    from mmpose_surgical.errors import UserError
    if any(value is not None and value < 1 for value in (args.videos, args.clips_per_video, args.workers)):
        raise UserError('--videos, --clips and --workers are at least 1', None, 'give such a number')
    if args.preview and args.preview.suffix.lower() not in ('.jpg', '.png'):
        raise UserError('a preview ends in .jpg or .png', args.preview, 'give it such an ending')
    keys = ('videos', 'clips_per_video', 'ambiguity', 'degradation')
    changes = {key: value for key in keys if (value := getattr(args, key)) is not None}
    spec = dataclasses.replace(SPECS[args.spec].with_seed(args.seed), **changes)
    with progress_bar('videos') as progress:
        generate(args.out, spec, args.workers, progress)
    print(f'data set: {args.out} (synthetic)')
    if args.preview:
        _preview(args.out, args.preview)
        print(f'preview: {args.preview}')
    return 0


def _preview(folder: Path, path: Path) -> None:
    """A sheet of frames spread over the data set; acting tools are outlined in green, others in grey."""
    import cv2

    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.files import write_atomically
    from mmpose_surgical.visualization.overlays import contact_sheet, draw_truth
    annotations = load_annotations(folder)
    step = max(1, len(annotations.frames) // 12)
    sheet = contact_sheet([draw_truth(frame.file(folder).read(), frame) for frame in annotations.frames[::step][:12]])

    def write(temporary: Path) -> None:
        if not cv2.imwrite(str(temporary), sheet):
            raise OSError('it could not be encoded')
    write_atomically(path, write)
