"""How far exported graphs are from PyTorch: the largest error of any output, of its largest value.

    python benchmarks/export_errors.py work_dirs/bench/bench/seed0 --real CLIP

What tools/export.py checks, for each kind of model: on noise and on the frames of a real clip, in float32.
"""
import argparse
import tempfile
from pathlib import Path
from typing import Any

from machine import describe_machine, short_commit

import mmpose_surgical.plugin  # noqa: F401  (mends what MMPose imports)
from mmpose_surgical.apis.trained_run import load_run
from mmpose_surgical.export.onnx_check import TOLERANCE
from mmpose_surgical.export.onnx_export import export_onnx
from mmpose_surgical.files import write_json, write_text

RESULTS = Path(__file__).resolve().parents[1] / 'benchmarks/results'
ROWS = [('bench_coarse', None), ('bench_direct_mask', None), ('bench_simplebaseline', None), ('bench_rtmpose', None),
        *(('bench_refine_prior_aux_dropout', prior) for prior in ('aux', 'none', 'input'))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', type=Path)
    parser.add_argument('--real', type=Path, required=True, help='a video or a folder of pictures')
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for model, prior in ROWS:
            metadata = export_onnx(load_run(args.runs / model), Path(place) / 'export', prior, check_on=args.real)
            rows.append(dict(model=model, prior=metadata['prior']['kind'], checked=metadata['checked']))
    command, machine = 'python benchmarks/export_errors.py RUNS --real CLIP', describe_machine()
    write_json(RESULTS / 'export_errors.json', dict(command=command, machine=machine, rows=rows))
    names = [f'{check["runtime"]}, {check["on"]}' for check in rows[0]['checked']]
    text = '\n'.join([
        '# Exported graphs against PyTorch', '',
        f'`{command}`, commit {short_commit(machine)}, {machine["processor"]}, torch {machine["torch"]}: the largest '
        f'error of any output over its largest value; {TOLERANCE:.0e} is allowed.', '',
        f'| model | prior | {" | ".join(names)} |', f'| --- | --- |{" ---: |" * len(names)}',
        *(f'| {row["model"]} | {row["prior"]} | ' + ' | '.join(
            f'{max(check["errors"].values()):.1e}' for check in row['checked']) + ' |' for row in rows), ''])
    write_text(RESULTS / 'export_errors.md', text)
    print(text)


if __name__ == '__main__':
    main()
