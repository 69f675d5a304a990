"""``tools/make_priors.py``, and the whole job with SAM 3 from a local folder."""
import argparse
import json
import shutil
from pathlib import Path

import cv2
import pytest
from pipeline_runs import ROOT, tiny_options, train

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.maker import variant_id
from mmpose_surgical.priors.store import RecordStore

NAME = 'demo_refine_prior_aux'


def make(data: Path, folder: Path, *options: str, config: str = f'configs/demo/{NAME}.py', **flags) -> int:
    from mmpose_surgical.pipeline.priors import priors_command
    words = tiny_options(data, *options)
    if 'refine' in config:
        words += [f'coarse.overrides.{word}' for word in tiny_options(data)[1:]]
    args = dict(config=str(ROOT / config), split='train,val,test', backend=None, jitter=None, limit=None, dry_run=False,
                work_dir=str(folder / NAME), cfg_options=words, launcher='none', local_rank=0)
    return priors_command(argparse.Namespace(**args | flags))


def done(folder: Path) -> bool:
    return json.loads((folder / 'artifact.json').read_text())['done']


def test_a_finished_store_is_reported_and_nothing_is_made(refined, toy_data, capsys, monkeypatch) -> None:
    from mmpose_surgical.priors.simulated import SimulatedPrior
    monkeypatch.setattr(SimulatedPrior, 'segment', lambda *args: pytest.fail('the backend was called'))
    assert make(toy_data, refined) == 0
    out = capsys.readouterr().out
    assert 'straddle %' in out and 'prior: simulated' in out
    report = json.loads((refined / 'demo_coarse/priors-simulated/report/report.json').read_text())
    assert (report['frames'], report['made']) == (8, 8)
    groups = {(group['by'], group['name']): group for group in report['groups']}
    assert groups['all', '']['pictures'] == 8 and groups['action', 'nothing acts']['pictures'] > 0
    assert sum(g['pictures'] for (by, _), g in groups.items() if by == 'action') == 8


def test_parts_limit_and_completion(refined, toy_data, tmp_path, capsys) -> None:
    """One split with a limit, then the rest: the store is done only when every picture has a prior."""
    runs = tmp_path / 'runs'
    shutil.copytree(refined, runs)
    store = runs / 'demo_coarse/priors-grabcut'
    assert make(toy_data, runs, backend='grabcut', split='train', dry_run=True) == 0
    assert '4 missing' in capsys.readouterr().out and not store.exists()
    assert make(toy_data, runs, backend='grabcut', split='train', limit=3) == 0
    assert 'made: 3 of 4 pictures' in capsys.readouterr().out and not done(store)
    assert make(toy_data, runs, backend='grabcut', split='train') == 0
    assert not done(store)
    assert make(toy_data, runs, backend='grabcut') == 0
    assert done(store)
    sheet = cv2.imread(str(store / 'report/random.jpg')) if (store / 'report/random.jpg').exists() else None
    prompted = json.loads((store / 'report/report.json').read_text())['groups'][0]
    assert (sheet is not None) == (prompted['pictures'] > prompted['unprompted'])


@pytest.fixture
def prompted(refined, tmp_path) -> Path:
    """A copy of the finished run in which every point prompts (an untrained net may leave none), and its priors."""
    runs = tmp_path / 'runs'
    shutil.copytree(refined, runs)
    (runs / 'demo_coarse/predictions/prompt_thresholds.json').write_text(json.dumps(dict(tip=0.0, anchor=0.0)))
    return runs


def contents(folder: Path) -> dict[int, tuple]:
    store = RecordStore(folder)
    return {i: (store.note(i), *(v.tolist() for v in store.get(i)[0].values())) for i in range(1, 20) if store.has(i)}


def test_jitter_stores_more_priors_and_training_draws_among_them(prompted, toy_data) -> None:
    runs = prompted
    assert make(toy_data, runs, backend='grabcut', jitter=2) == 0
    found = [p for p in (runs / 'demo_coarse').glob('priors-grabcut*') if (p / 'store.json').exists()]
    assert len(found) == 1 and done(found[0])
    store = RecordStore(found[0])
    ids = [i for i in range(1, 20) if store.has(i)]
    with_points = [i for i in ids if len(store.get(i)[0]['points_xy'])]
    assert len(ids) == 8 and with_points
    for image_id in with_points:
        points = [store.get(variant_id(image_id, k))[0]['points_xy'] for k in (0, 1, 2)]
        assert points[0].shape == points[1].shape and (points[0] != points[1]).any() and (points[1] != points[2]).any()
        assert abs(points[0] - points[1]).max() < 25


def test_a_damaged_record_of_a_finished_store_is_made_again(prompted, toy_data, monkeypatch) -> None:
    from mmpose_surgical.priors.grabcut import GrabCutPrior
    assert make(toy_data, prompted, backend='grabcut') == 0
    folder = prompted / 'demo_coarse/priors-grabcut'
    before = contents(folder)
    shard, offset, size = RecordStore(folder)._values[next(iter(RecordStore(folder)._values))]
    content = bytearray((folder / shard).read_bytes())
    content[offset + size // 2] ^= 1
    (folder / shard).write_bytes(content)
    assert len(contents(folder)) == len(before) - 1 and done(folder)
    calls = []
    segment = GrabCutPrior.segment
    monkeypatch.setattr(GrabCutPrior, 'segment', lambda *args: calls.append(1) or segment(*args))
    assert make(toy_data, prompted, backend='grabcut') == 0
    assert len(calls) == 1 and contents(folder) == before and done(folder)


def test_a_kill_behind_the_last_record_leaves_nothing_to_make(prompted, toy_data, monkeypatch) -> None:
    from mmpose_surgical.priors.grabcut import GrabCutPrior
    assert make(toy_data, prompted, backend='grabcut') == 0
    folder = prompted / 'demo_coarse/priors-grabcut'
    record = json.loads((folder / 'artifact.json').read_text())
    (folder / 'artifact.json').write_text(json.dumps(record | dict(done=False, outputs={}, facts={})))
    monkeypatch.setattr(GrabCutPrior, 'segment', lambda *args: pytest.fail('the backend was called'))
    assert make(toy_data, prompted, backend='grabcut') == 0
    assert done(folder)
    facts = json.loads((folder / 'artifact.json').read_text())['facts']
    assert facts['line'] == record['facts']['line'] and facts['summary']['done'] == 8


def test_pictures_that_cannot_be_read_are_told_together(prompted, toy_data, tmp_path) -> None:
    data = tmp_path / 'data'
    shutil.copytree(toy_data, data)
    annotations = json.loads((data / 'annotations.json').read_text())
    names = sorted(image['file_name'] for image in annotations['images'] if image.get('annotated', True))[1:3]
    whole = {name: (data / name).read_bytes() for name in names}
    for name in names:
        (data / name).write_bytes(whole[name][:60])
    with pytest.raises(UserError, match='2 of 8 pictures have no prior: .*; .*restore them') as caught:
        make(data, prompted, backend='grabcut')
    assert all(name in str(caught.value) for name in names)
    folder = prompted / 'demo_coarse/priors-grabcut'
    assert len(contents(folder)) == 6 and not done(folder)
    for name in names:
        (data / name).write_bytes(whole[name])
    assert make(data, prompted, backend='grabcut') == 0
    assert len(contents(folder)) == 8 and done(folder)


@pytest.mark.parametrize('flags, message', [
    (dict(limit=-1), 'a limit below 0'), (dict(jitter=-1), 'prior.jitter is -1'),
    (dict(options=['prior.jitter=some']), 'prior.jitter is some'),
    (dict(options=['prior.jitter=2', 'prior.jitter_px=0']), 'prior.jitter_px is 0')])
def test_numbers_out_of_range(refined, toy_data, flags, message) -> None:
    with pytest.raises(UserError, match=message):
        make(toy_data, refined, *flags.pop('options', ()), **flags)


def test_a_config_without_prior_is_refused(refined, toy_data) -> None:
    with pytest.raises(UserError, match='takes no mask prior'):
        make(toy_data, refined, config='configs/demo/demo_coarse.py', work_dir=str(refined / 'demo_coarse'))
    with pytest.raises(UserError, match='no annotated frame|no split'):
        make(toy_data, refined, split='nowhere')


@pytest.mark.parametrize('backend', ['sam3', 'sam2'])
def test_the_whole_job_with_sam_from_a_local_folder(backend, plugin, refined, toy_data, tmp_path, capsys) -> None:
    pytest.importorskip('transformers', reason='SAM needs the extra sam3 (transformers)')
    import sam_models
    weights = getattr(sam_models, f'write_tiny_{backend}')(tmp_path / 'weights')
    runs = tmp_path / 'runs'
    shutil.copytree(refined / 'demo_coarse', runs / 'demo_coarse')
    assert train(f'configs/demo/{NAME}.py', toy_data, runs, f'prior.backend={backend}',
                 f'prior.checkpoint={weights}') == 0
    out = capsys.readouterr().out
    assert f'prior: {backend} {weights} (named in the config)' in out
    meta = json.loads((runs / NAME / 'metrics.json').read_text())['meta']
    assert meta['prior']['backend'] == backend and not meta['prior']['stand_in']
    assert done(runs / f'demo_coarse/priors-{backend}')
