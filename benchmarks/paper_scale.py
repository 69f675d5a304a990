#!/usr/bin/env python3
"""Do all stages of the full-size method run, and what do they need?

    python benchmarks/paper_scale.py

Walks configs/surgical/refine_prior_aux.py (ResNet-50, five frames, 512x288) through its five stages, limited to one
epoch on nine clips of the default synthetic set and to a batch that fits a small machine. It proves that the models,
sizes and stages go together; it trains nothing worth looking at. Writes benchmarks/results/paper_scale.json and .md.
"""
import dataclasses
import sys
import tempfile
from pathlib import Path

from fresh_clone import run_watched
from machine import describe_machine

from mmpose_surgical.datasets.synthetic.generate import SPECS, generate
from mmpose_surgical.files import read_json, write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
BATCH = 4


def limits() -> list[str]:
    """Options for the run and, below ``coarse.overrides``, for its prerequisite."""
    options = ['train_cfg.max_epochs=1']
    for loader in ('train', 'val', 'test'):
        options += [f'{loader}_dataloader.batch_size={BATCH}', f'{loader}_dataloader.num_workers=1']
    return [option for pair in ((o, f'coarse.overrides.{o}') for o in options) for option in pair]


def main() -> None:
    spec = dataclasses.replace(SPECS['default'], videos=9, clips_per_video=1, annotated_per_clip=1)
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / 'data', Path(folder) / 'run'
        generate(data, spec)
        command = [sys.executable, str(ROOT / 'tools/train.py'), str(ROOT / 'configs/surgical/refine_prior_aux.py'),
                   '--work-dir', str(run), '--cfg-options', *limits()]
        printed, figures = run_watched(command, folder, SURGICAL_DATA=str(data), PYTHONPATH=str(ROOT))
        print(printed)
        metrics = read_json(run / 'metrics.json', 'run again')
    record = dict(machine=describe_machine(), command='python benchmarks/paper_scale.py', options=limits(),
                  spec=dataclasses.asdict(spec), prior=metrics['meta']['prior'], **figures)
    write_json(RESULTS / 'paper_scale.json', record)
    machine = record['machine']
    lines = ['# Full-size method, all stages', '',
             f'{machine["cores"]} cores of {machine["processor"]}, commit {machine["git_commit"]}. '
             f'`configs/surgical/refine_prior_aux.py` on nine clips, one epoch, batch {BATCH} '
             f'(`{record["command"]}`): models and sizes as in the paper, training cut short. The configs\' own '
             'batch of 16 wants a GPU and was not run.', '',
             '| stage | seconds |', '|---|---|']
    lines += [f'| {name} | {seconds:.1f} |' for name, seconds in figures['stage_seconds'].items()]
    lines += [f'| in all | {figures["seconds"]:.1f} |', '',
              f'Peak memory of all processes {figures["peak_gib"]} GiB.', '']
    write_text(RESULTS / 'paper_scale.md', '\n'.join(lines))
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
