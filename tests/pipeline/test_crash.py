"""``kill -9`` at any moment, then the same command: it goes on where it was."""
import json
import shutil
from pathlib import Path

import pytest
from pipeline_runs import train
from tool_runs import SLOW_STORE, finish, kill_when, run, start, write_configs

from mmpose_surgical.priors.store import RecordStore

CONFIG = 'configs/demo/demo_refine_prior_aux.py'
STAGES = ('coarse', 'coarse/fold0', 'coarse/fold1', 'coarse/predictions', 'coarse/priors-simulated', 'refine')


def done(folder: Path) -> list[str]:
    """Which artifacts of a run say that they are complete."""
    records = {name: folder / name / 'artifact.json' for name in STAGES}
    return [name for name, path in records.items() if path.exists() and json.loads(path.read_text())['done']]


def store_has_records(folder: Path) -> bool:
    return any(path.stat().st_size > 0 for path in folder.glob('shard-*.bin'))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kill_9_in_every_stage(toy_data, tmp_path):
    config = write_configs(tmp_path / 'configs', toy_data, SLOW_STORE)
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    reference = start('tools/train.py', config, '--work-dir', whole / 'refine')
    command = ('tools/train.py', config, '--work-dir', cut / 'refine')

    kill_when(start(*command), (cut / 'coarse/epoch_1.pth').exists)
    assert done(cut) == []

    out = kill_when(start(*command), (cut / 'coarse/fold1/epoch_1.pth').exists)
    assert out.count('resumed epoch: 1') == 1 and done(cut) == list(STAGES[:2])
    kept = {path: path.stat().st_mtime_ns for path in cut.glob('coarse/**/epoch_*.pth')}

    out = kill_when(start(*command), lambda: store_has_records(cut / 'coarse/predictions'))
    assert out.count('resumed epoch: 1') == 1 and done(cut) == list(STAGES[:3])

    kill_when(start(*command), lambda: store_has_records(cut / 'coarse/priors-simulated'))
    assert done(cut) == list(STAGES[:4])

    out = kill_when(start(*command), (cut / 'refine/epoch_1.pth').exists)
    assert done(cut) == list(STAGES[:5]) and 'resumed epoch' not in out

    out = kill_when(start(*command), (cut / 'refine/val_predictions.json').exists)
    assert out.count('resumed epoch: 1') == 1 and done(cut) == list(STAGES[:5])
    last = (cut / 'refine/epoch_3.pth').stat().st_mtime_ns

    code, out, err = run(*command)
    assert code == 0, err
    assert done(cut) == list(STAGES)
    assert (cut / 'refine/epoch_3.pth').stat().st_mtime_ns == last  # nothing was left to train
    assert {path: path.stat().st_mtime_ns for path in kept if path.exists()}.items() <= kept.items()
    assert len(RecordStore(cut / 'coarse/predictions')) == len(RecordStore(cut / 'coarse/priors-simulated')) == 8

    code, _, err = finish(reference)
    assert code == 0, err
    for name in ('coarse', 'refine'):
        expected, found = (json.loads((folder / name / 'metrics.json').read_text()) for folder in (whole, cut))
        assert found['results'] == expected['results'] and found['meta']['threshold'] == expected['meta']['threshold']
        for split in ('val', 'test'):
            file = f'{name}/{split}_predictions.json'
            assert (cut / file).read_text() == (whole / file).read_text()
