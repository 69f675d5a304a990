"""``kill -9`` at any moment, then the same command: it goes on where it was."""
import json
import shutil
from pathlib import Path

import pytest
from pipeline_runs import train
from tool_runs import SLOW_STORE, finish, kill_when, run, start, write_configs

from mmpose_surgical.compat import checkpoint_is_whole
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import remove_folder
from mmpose_surgical.pipeline import run as pipeline_run
from mmpose_surgical.pipeline.plan import build_plan
from mmpose_surgical.pipeline.stages import final_checkpoint
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


@pytest.fixture
def copied(refined, tmp_path) -> Path:
    """A finished run that a test may spoil."""
    return Path(shutil.copytree(refined, tmp_path / 'runs'))


def test_crash_while_priors_are_made(copied, toy_data, monkeypatch):
    priors = copied / 'demo_coarse/priors-simulated'
    shutil.rmtree(priors)
    link, linked = RecordStore.link, []

    def crash_at_the_fourth(store, image_id, *args):
        if len(linked) == 3:
            raise RuntimeError('power cut')
        linked.append(image_id)
        link(store, image_id, *args)

    monkeypatch.setattr(RecordStore, 'link', crash_at_the_fourth)
    with pytest.raises(RuntimeError, match='power cut'):
        train(CONFIG, toy_data, copied)
    assert not json.loads((priors / 'artifact.json').read_text())['done']
    monkeypatch.undo()

    stamp = (copied / 'demo_refine_prior_aux/metrics.json').stat().st_mtime_ns
    assert train(CONFIG, toy_data, copied) == 0
    summary = json.loads((priors / 'artifact.json').read_text())['facts']['summary']
    assert summary['done'] == 3 and summary['made'] == 0 and summary['total'] == 8  # no backend was called again
    assert (copied / 'demo_refine_prior_aux/metrics.json').stat().st_mtime_ns == stamp


def test_truncated_last_checkpoint_falls_back_to_the_one_before(copied, toy_data, monkeypatch):
    folder = copied / 'demo_refine_prior_aux'
    record = json.loads((folder / 'artifact.json').read_text())
    (folder / 'artifact.json').write_text(json.dumps(record | dict(done=False, facts={})))
    last = folder / 'epoch_2.pth'
    last.write_bytes(last.read_bytes()[:5000])
    monkeypatch.setattr('mmpose_surgical.pipeline.finish.finish_run', lambda cfg: {})  # training alone is of interest
    logs = set(folder.glob('*/*.log'))
    assert train(CONFIG, toy_data, copied) == 0
    text = ''.join(path.read_text() for path in set(folder.glob('*/*.log')) - logs)
    assert 'epoch_2.pth is cut off or damaged; trying the one before' in text and 'resumed epoch: 1' in text
    assert checkpoint_is_whole(last) and json.loads((folder / 'artifact.json').read_text())['done']


@pytest.mark.parametrize('pointer', [None, '', 'runs/gone/epoch_10.pth'])
def test_checkpoint_is_found_without_the_pointer(tmp_path, pointer):
    """MMEngine writes ``last_checkpoint`` after the checkpoint itself and in place."""
    for name in ('epoch_9.pth', 'epoch_10.pth', '.epoch_11.pth.tmp'):
        (tmp_path / name).touch()
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_text(pointer)
    assert final_checkpoint(tmp_path) == tmp_path / 'epoch_10.pth'


def test_rebuild_replaces_and_its_plan_makes_nothing(copied, toy_data, capsys):
    changed = ('coarse.overrides.optim_wrapper.optimizer.lr=0.5',)
    before = {path: path.stat().st_mtime_ns for path in copied.rglob('*') if path.is_file()}
    assert train(CONFIG, toy_data, copied, *changed, plan=True, rebuild=True) == 0
    out = capsys.readouterr().out
    assert out.count('is stale and is replaced') == 6 and out.count('  stale') == 5
    assert {path: path.stat().st_mtime_ns for path in copied.rglob('*') if path.is_file()} == before


def test_removal_that_was_cut_off_leaves_nothing_under_the_old_name(tmp_path, monkeypatch):
    folder = tmp_path / 'run'
    (folder / 'deep').mkdir(parents=True)
    (folder / 'deep/file').touch()
    monkeypatch.setattr(shutil, 'rmtree', lambda *args, **kwargs: None)
    remove_folder(folder)
    assert not folder.exists() and (tmp_path / '.run.removed/deep/file').exists()
    monkeypatch.undo()
    folder.mkdir()
    remove_folder(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_mixed_precision_walks_all_stages(plugin, toy_data, tmp_path):
    """bfloat16 on the CPU; the fingerprint tells such a run from one in full precision."""
    assert train(CONFIG, toy_data, tmp_path, amp=True) == 0
    for name in ('demo_coarse', 'demo_refine_prior_aux'):
        record = json.loads((tmp_path / name / 'artifact.json').read_text())
        assert record['done'] and record['content']['optim_wrapper']['type'] == 'ClipAmpOptimWrapper'
        assert record['content']['optim_wrapper']['optimizer']['lr'] == 0.004
        assert (tmp_path / name / 'metrics.json').exists()
    with pytest.raises(UserError, match='optim_wrapper.type: "ClipAmpOptimWrapper" -> "OptimWrapper"'):
        train(CONFIG, toy_data, tmp_path)


def test_flags_keep_overrides_of_the_prerequisite(plugin, toy_data, tmp_path, monkeypatch):
    plans = []
    monkeypatch.setattr(pipeline_run, 'build_plan', lambda *args: plans.append(build_plan(*args)) or plans[0])
    train(CONFIG, toy_data, tmp_path, 'coarse.overrides.optim_wrapper.optimizer.lr=0.5', amp=True, plan=True)
    wrapper = plans[0].stages[0].artifact.content['optim_wrapper']
    assert wrapper['type'] == 'ClipAmpOptimWrapper' and wrapper['optimizer']['lr'] == 0.5
