"""``python -m mmpose_surgical.datasets.synthetic --out DIR``: make the synthetic data set, or look at it."""
import argparse
import dataclasses
from pathlib import Path

import cv2

from mmpose_surgical.cli import run_tool
from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.synthetic.generate import SPECS, generate


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m mmpose_surgical.datasets.synthetic', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder of the data set')
    parser.add_argument('--spec', choices=sorted(SPECS), default='demo')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--videos', type=int, help="number of videos, in place of the spec's")
    parser.add_argument('--clips', type=int, dest='clips_per_video', help="clips of each video, in place of the spec's")
    parser.add_argument('--ambiguity', type=float, help="in place of the spec's")
    parser.add_argument('--degradation', type=float, help='scale of the severities of smoke, blood and blur')
    parser.add_argument('--workers', type=int, help='processes; default one per core')
    parser.add_argument('--preview', type=Path, help='also write a sheet of frames with points and masks')
    args = parser.parse_args()
    keys = ('videos', 'clips_per_video', 'ambiguity', 'degradation')
    changes = {key: value for key in keys if (value := getattr(args, key)) is not None}
    spec = dataclasses.replace(SPECS[args.spec].with_seed(args.seed), **changes)
    from rich.progress import Progress
    with Progress(transient=True) as bar:
        task = bar.add_task('videos')
        generate(args.out, spec, args.workers, lambda done, total: bar.update(task, completed=done, total=total))
    if args.preview:
        _preview(args.out, args.preview)
    return 0


def _preview(folder: Path, path: Path) -> None:
    """A sheet of frames spread over the data set; acting tools are outlined in green, others in grey."""
    from mmpose_surgical.visualization.overlays import contact_sheet, draw_truth
    annotations = load_annotations(folder)
    step = max(1, len(annotations.frames) // 12)
    cv2.imwrite(str(path), contact_sheet([draw_truth(f.file(folder).read(), f)
                                          for f in annotations.frames[::step][:12]]))


if __name__ == '__main__':
    run_tool(main)
