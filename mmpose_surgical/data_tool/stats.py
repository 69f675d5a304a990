"""``tools/data.py stats``: what a data set holds."""
import argparse
from pathlib import Path
from typing import Any

HELP = "count clips, points and splits (the paper's Table 1), and draw where the landmarks lie"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dir', type=Path, metavar='DIR', help='folder of the data set')
    parser.add_argument('--out', type=Path, metavar='FILE', help='also write the tables as Markdown')
    parser.add_argument('--picture', type=Path, metavar='FILE',
                        help='also draw where the landmarks lie (PNG, PDF, SVG)')


def run(args: argparse.Namespace) -> int:
    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.datasets.splits import load_splits
    from mmpose_surgical.datasets.statistics import tables
    from mmpose_surgical.errors import UserError
    from mmpose_surgical.files import write_text
    if args.picture and args.picture.suffix.lower() not in ('.png', '.pdf', '.svg'):
        raise UserError('a picture ends in .png, .pdf or .svg', args.picture, 'give it such an ending')
    annotations = load_annotations(args.dir)
    name = annotations.root.resolve().name
    text = '\n'.join([f'# {name}' + (' (synthetic)' if annotations.synthetic else ''), '', *(
        line for table in tables(annotations, load_splits(annotations.root, annotations))
        for line in (*table.markdown(), ''))])
    print(text)
    if args.out:
        write_text(args.out, text)
    if args.picture and not annotations.landmarks:
        print('look: no category lists a landmark, so there is nothing to draw')
    elif args.picture:
        _draw(annotations, args.picture)
        print(f'picture: {args.picture}')
    return 0


def _draw(annotations: Any, path: Path) -> None:
    """Heat maps of landmark positions, a row for each landmark and a column for each action."""
    import matplotlib
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from mmpose_surgical.datasets.statistics import positions
    from mmpose_surgical.files import write_atomically
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    frames = annotations.annotated_frames()
    found = {landmark: positions(frames, landmark) for landmark in annotations.landmarks}
    actions = sorted({action for by_action in found.values() for action in by_action}) or ['no points']
    figure, axes = plt.subplots(len(found), len(actions), squeeze=False, layout='constrained',
                                figsize=(3.2 * len(actions), 2.7 * len(found)))
    for row, (landmark, by_action) in zip(axes, found.items()):
        for axis, action in zip(row, actions):
            xy = by_action.get(action, np.zeros((0, 2)))
            counts, _, _ = np.histogram2d(xy[:, 1], xy[:, 0], bins=(48, 64), range=[[0, 1], [0, 1]])
            axis.imshow(gaussian_filter(counts, 1.5), extent=(0, 1, 0.75, 0), cmap='magma', interpolation='bilinear')
            axis.set(title=f'{landmark}, {action} ({len(xy)})', xticks=[], yticks=[])
    figure.suptitle('Where landmarks of acting tools lie in the picture')
    try:
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))
    finally:
        plt.close(figure)
