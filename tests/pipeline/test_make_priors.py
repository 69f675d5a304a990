"""``tools/make_priors.py``, and the whole job with SAM 3 from a local folder."""
import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
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
    parts = [groups['pictures', use] for use in ('training', 'held out')]
    assert [part['pictures'] for part in parts] == [4, 4]
    # Without that report, what training recorded says the same.
    recorded = json.loads((refined / 'demo_coarse/priors-simulated/artifact.json').read_text())['facts']['report']
    assert [recorded[use]['iou_sum'] for use in recorded] == [part['iou_sum'] for part in parts]


def test_parts_limit_and_completion(prompted, toy_data, capsys) -> None:
    """One split with a limit, then the rest: the store is done only when every picture has a prior."""
    runs = prompted
    store = runs / 'demo_coarse/priors-grabcut'
    assert make(toy_data, runs, backend='grabcut', split='train', dry_run=True) == 0
    assert '4 missing' in capsys.readouterr().out and not store.exists()
    assert make(toy_data, runs, backend='grabcut', split='train', limit=3) == 0
    assert 'made: 3 of 4 pictures' in capsys.readouterr().out and not done(store)
    assert make(toy_data, runs, backend='grabcut', split='train') == 0
    assert not done(store)
    assert make(toy_data, runs, backend='grabcut') == 0
    assert done(store)
    for name in ('random', 'worst'):
        assert cv2.imread(str(store / f'report/{name}.jpg')).shape[1] > 100


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


def test_jittered_prompts_of_a_picture_lie_near_its_own(prompted, toy_data) -> None:
    runs = prompted
    assert make(toy_data, runs, backend='grabcut', jitter=2) == 0
    found = [p for p in (runs / 'demo_coarse').glob('priors-grabcut*') if (p / 'store.json').exists()]
    assert len(found) == 1 and done(found[0])
    store = RecordStore(found[0])
    ids = [i for i in range(1, 20) if store.has(i)]
    with_points = [i for i in ids if len(store.get(i)[0]['points_xy'])]
    assert len(ids) == 8 and with_points
    jittered = [i for i in with_points if store.has(variant_id(i, 1))]
    assert jittered
    for image_id in jittered:
        points = [store.get(variant_id(image_id, k))[0]['points_xy'] for k in (0, 1, 2)]
        assert points[0].shape == points[1].shape and (points[0] != points[1]).any() and (points[1] != points[2]).any()
        assert abs(points[0] - points[1]).max() < 25


def test_a_damaged_record_of_a_finished_store_is_made_again(prompted, toy_data, monkeypatch) -> None:
    from mmpose_surgical.priors.grabcut import GrabCutPrior
    assert make(toy_data, prompted, backend='grabcut') == 0
    folder = prompted / 'demo_coarse/priors-grabcut'
    before = contents(folder)
    flip_a_byte(folder)
    assert len(contents(folder)) == len(before) - 1 and done(folder)
    calls = []
    segment = GrabCutPrior.segment
    monkeypatch.setattr(GrabCutPrior, 'segment', lambda *args: calls.append(1) or segment(*args))
    assert make(toy_data, prompted, backend='grabcut') == 0
    assert len(calls) == 1 and contents(folder) == before and done(folder)


def flip_a_byte(folder: Path) -> None:
    shard, offset, size = next(iter(RecordStore(folder)._values.values()))
    content = bytearray((folder / shard).read_bytes())
    content[offset + size // 2] ^= 1
    (folder / shard).write_bytes(content)


def test_training_makes_damaged_records_again(refined, toy_data, tmp_path, capsys) -> None:
    runs = tmp_path / 'runs'
    shutil.copytree(refined, runs)
    folders = [runs / 'demo_coarse' / name for name in ('predictions', 'priors-simulated')]
    before = [contents(folder) for folder in folders]
    for folder in folders:
        flip_a_byte(folder)
    assert [len(contents(folder)) for folder in folders] == [len(content) - 1 for content in before]
    assert train(f'configs/demo/{NAME}.py', toy_data, runs) == 0
    out = capsys.readouterr().out
    assert out.count('resumes') == 2 and '[3/5] done' in out and '[4/5] done' in out and '[5/5] done' not in out
    assert all(map(done, folders))
    for folder, content in zip(folders, before):
        after = contents(folder)
        assert after.keys() == content.keys()
        for image_id, (note, *arrays) in content.items():
            assert after[image_id][0] == note
            for array, again in zip(arrays, after[image_id][1:]):  # in a batch of another size the last bit may differ
                np.testing.assert_allclose(again, array, atol=1e-3)


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
def test_the_whole_job_with_sam_from_a_local_folder(backend, plugin, prompted, toy_data, tmp_path, capsys) -> None:
    """Behind a trained coarse net; every mask counts as valid, so that the random SAM's are seen by the refiner."""
    pytest.importorskip('transformers', reason='SAM needs the extra sam3 (transformers)')
    import sam_models
    weights = getattr(sam_models, f'write_tiny_{backend}')(tmp_path / 'weights')
    shutil.rmtree(prompted / NAME)
    assert train(f'configs/demo/{NAME}.py', toy_data, prompted, f'prior.backend={backend}',
                 f'prior.checkpoint={weights}', 'prior.max_share=1.0') == 0
    out = capsys.readouterr().out
    assert f'prior: {backend} {weights} (named in the config)' in out
    meta = json.loads((prompted / NAME / 'metrics.json').read_text())['meta']
    assert meta['prior']['backend'] == backend and not meta['prior']['stand_in']
    folder = prompted / f'demo_coarse/priors-{backend}'
    store = RecordStore(folder)
    made = [(arrays['logits'], scalars['valid']) for arrays, scalars in (store.get(i) for i in range(1, 20)
                                                                         if store.has(i))]
    assert done(folder) and len(made) == 8 and sum(valid for _, valid in made) > 4
    assert len({logits.tobytes() for logits, valid in made if valid}) > 4  # each picture has a mask of its own


@pytest.mark.slow
def test_the_whole_job_from_nothing_through_the_tool(plugin, toy_data, tmp_path) -> None:
    pytest.importorskip('transformers', reason='SAM needs the extra sam3 (transformers)')
    from sam_models import write_tiny_sam3
    from tool_runs import run
    weights = write_tiny_sam3(tmp_path / 'weights')
    options = tiny_options(toy_data, 'prior.backend=sam3', f'prior.checkpoint={weights}', 'prior.max_share=1.0')
    options += [f'coarse.overrides.{word}' for word in tiny_options(toy_data)[1:]]
    code, out, err = run('tools/train.py', f'configs/demo/{NAME}.py', '--work-dir', tmp_path / NAME, '--cfg-options',
                         *options)
    assert code == 0, err
    assert '[5/5] done' in out and f'prior: sam3 {weights}' in out
    assert done(tmp_path / 'demo_coarse/priors-sam3') and (tmp_path / NAME / 'metrics.json').is_file()


def test_weights_that_cannot_run_are_told_before_anything_is_trained(plugin, toy_data, tmp_path, monkeypatch) -> None:
    pytest.importorskip('transformers', reason='SAM needs the extra sam3 (transformers)')
    from sam_models import write_tiny_sam3
    weights = write_tiny_sam3(tmp_path / 'weights')
    file = weights / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:-9])
    meta = tmp_path / 'sam3.pt'
    meta.write_bytes(b'some text')
    for path, message in ((weights, 'the weights cannot be read'), (meta, 'package sam3|no checkpoint of PyTorch')):
        with pytest.raises(UserError, match=message):
            train(f'configs/demo/{NAME}.py', toy_data, tmp_path / 'runs', 'prior.backend=sam3',
                  f'prior.checkpoint={path}', plan=True)


def test_jitter_is_kept_and_extended_and_training_with_less_needs_nothing(prompted, toy_data, monkeypatch) -> None:
    from mmpose_surgical.priors.grabcut import GrabCutPrior
    calls = []
    segment = GrabCutPrior.segment
    monkeypatch.setattr(GrabCutPrior, 'segment', lambda *args: calls.append(1) or segment(*args))
    counts = []
    for jitter in (2, None, 1, 3):
        assert make(toy_data, prompted, backend='grabcut', jitter=jitter) == 0
        counts.append(len(calls))
        calls.clear()
    folders = list((prompted / 'demo_coarse').glob('priors-grabcut*'))
    store = RecordStore(folders[0])
    plain = sum(len(store.get(i)[0]['points_xy']) > 0 for i in range(1, 20) if store.has(i))
    jittered = sum(store.has(variant_id(i, 3)) for i in range(1, 20))
    assert len(folders) == 1 and 0 < jittered < plain  # of training pictures alone
    assert counts == [plain + 2 * jittered, 0, 0, jittered]


def test_pictures_of_another_size_are_refused(prompted, toy_data, tmp_path) -> None:
    data = tmp_path / 'data'
    shutil.copytree(toy_data, data)
    for path in data.rglob('*.png'):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), None, fx=0.5, fy=0.5))
    with pytest.raises(UserError, match=r'8 of 8 pictures have no prior: picture is .*, the annotation says'):
        make(data, prompted, backend='grabcut')


def test_dry_run_counts_and_estimates(refined, prompted, toy_data, tmp_path, capsys) -> None:
    assert make(toy_data, prompted, backend='grabcut', limit=2, dry_run=True) == 0
    out = capsys.readouterr().out
    assert '8 missing; this call would segment 2' in out and 'with grabcut, measured on 2: 0 min ' in out
    assert make(toy_data, tmp_path / 'nothing', backend='grabcut', dry_run=True) == 0
    out = capsys.readouterr().out
    assert '3 stage(s) come first' in out and 'then 8 pictures' in out and 'measured on 4' in out
    assert not (tmp_path / 'nothing').exists()


def test_the_worst_come_first() -> None:
    from types import SimpleNamespace

    from mmpose_surgical.pipeline.priors import _badness
    from mmpose_surgical.priors.base import MaskPrior
    from mmpose_surgical.priors.maker import PriorReport

    def prior(iou: float) -> MaskPrior:
        return MaskPrior(np.zeros((2, 2), np.int8), iou, 0., True, np.ones((1, 2), np.float32), np.ones(1, np.int64))

    told = {1: 0.9, 2: 0.8, 3: 0.95, 4: 0.1}
    store = SimpleNamespace(get=lambda image_id: prior(told[image_id]).to_record())
    reports = {1: PriorReport(1), 2: PriorReport(1, failed=1), 3: PriorReport(1, with_truth=1, iou_sum=0.5),
               4: PriorReport(1)}
    order = sorted(reports, key=lambda i: _badness(SimpleNamespace(image_id=i), reports[i], store))
    assert order == [2, 4, 3, 1]
