"""``tools/doctor.py --audit``: a clean run passes, and each planted leak is named."""
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmpose_surgical.doctor.audit import audit
from mmpose_surgical.doctor.finding import Finding, failed
from mmpose_surgical.doctor.run_folder import read_dumped_config
from mmpose_surgical.errors import UserError
from mmpose_surgical.pipeline.artifacts import digest_of
from mmpose_surgical.priors.store import RecordStore

NAME = 'demo_refine_prior_aux'


@pytest.fixture
def spoiled(refined, toy_data, tmp_path) -> Path:
    """A copy of a finished run and of its data, to be spoiled."""
    runs = Path(shutil.copytree(refined, tmp_path / 'runs'))
    data = shutil.copytree(toy_data, tmp_path / toy_data.name)
    for config in runs.rglob('*.py'):
        config.write_text(config.read_text().replace(str(toy_data), str(data)))
    return runs


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def wrong(runs: Path) -> dict[str, Finding]:
    """What the audit finds wrong, by name."""
    return {finding.name: finding for finding in audit(runs / NAME) if finding.ok is False}


def test_clean_run_passes(spoiled):
    findings = audit(spoiled / NAME)
    assert not failed(findings) and len(findings) == 18
    by_name = {finding.name: finding for finding in findings}
    # Outside a checkout there is no commit to record; everything else was checked.
    assert {name for name, finding in by_name.items() if finding.ok is None} <= {'git commit', 'coarse: git commit'}
    assert by_name['prior backend'].detail.endswith('(a stand-in)')
    assert not failed(audit(spoiled / 'demo_coarse')) and len(audit(spoiled / 'demo_coarse')) == 7


def test_without_the_data_it_says_what_was_not_checked(spoiled):
    shutil.rmtree(next(spoiled.parent.glob('toy*')))
    findings = audit(spoiled / NAME)
    assert not failed(findings)
    unknown = {finding.name for finding in findings if finding.ok is None}
    assert unknown >= {'data', 'splits', 'coarse predictions', 'mask priors', 'thresholds, chosen again'}


def test_video_in_two_splits(spoiled):
    splits = next(spoiled.parent.glob('toy*')) / 'splits.json'
    edit(splits, lambda s: s['test'].append('a'))
    assert 'video "a" is in two splits' in wrong(spoiled)['data'].detail


def test_other_splits_than_those_of_the_training(spoiled):
    splits = next(spoiled.parent.glob('toy*')) / 'splits.json'
    edit(splits, lambda s: s.update(test=s['val'], val=s['test']))
    assert 'splits.json is not the file that the run was made from' in wrong(spoiled)['data'].detail


def test_picture_in_two_splits_under_another_video_name(refined, toy_data, tmp_path, monkeypatch):
    """The same file in two splits is a leak even though the names of the videos differ."""
    from mmpose_surgical.doctor import audit as module
    data, _ = module.open_data(module.RunFolder(refined / NAME))
    train, test = (next(f for f in data.annotations.frames if f.video.name == name) for name in 'ad')
    monkeypatch.setattr(test, 'file_name', train.file_name)
    problems = module.shared_files(data.annotations, data.splits)
    assert len(problems) == 1 and problems[0].endswith('is in train and in test')


def test_in_sample_prediction(spoiled):
    """Image 1 belongs to video a; fold1 was trained on it."""
    folder = spoiled / 'demo_coarse/predictions'
    with RecordStore(folder, RecordStore(folder).fingerprint, mode='a') as store:
        arrays, scalars = store.get(1)
        store.put('planted', arrays, scalars | dict(model='fold1'))
        store.link(1, 'planted')
    found = wrong(spoiled)
    assert set(found) == {'coarse predictions'}
    assert found['coarse predictions'].detail == (
        '1 pictures of video "a" were predicted by fold1, which was trained on it (not-fold1)')


def test_fold_that_was_trained_on_everything(spoiled):
    path = spoiled / 'demo_coarse/fold0/artifact.json'

    def change(record):
        record['content']['train_dataloader']['dataset']['split'] = 'train'
        record['fingerprint'] = digest_of(record['content'])

    edit(path, change)
    found = wrong(spoiled)
    assert 'pictures of video "a" were predicted by fold0, which was trained on it (train)' in \
        found['coarse predictions'].detail
    assert 'the training behind the predictions of fold0 differs' in found['chain'].detail


def test_altered_record(spoiled):
    edit(spoiled / NAME / 'artifact.json', lambda record: record['content'].update(seed=7))
    assert 'its fingerprint is not that of its content' in wrong(spoiled)['trained on'].detail


def test_prior_from_another_prompt(spoiled):
    folder = spoiled / 'demo_coarse/priors-simulated'
    with RecordStore(folder, RecordStore(folder).fingerprint, mode='a') as store:
        store.link(1, store._links[2][1], 'prompts of a ground truth')
    assert wrong(spoiled)['mask priors'].detail == '1 priors were prompted by something else, e.g. of images [1]'


def test_prompt_thresholds_from_in_sample_predictions(spoiled):
    edit(spoiled / 'demo_coarse/predictions/artifact.json', lambda r: r['facts'].update(chosen_on='train, in-sample'))
    assert wrong(spoiled)['prompt thresholds'].detail == 'they were chosen on "train, in-sample"'


@pytest.mark.parametrize('name', [NAME, 'demo_coarse'])
def test_threshold_of_the_test_split(spoiled, name):
    edit(spoiled / name / 'thresholds.json', lambda content: content['meta'].update(split='test'))
    edit(spoiled / name / 'metrics.json', lambda content: content['meta']['threshold_from'].update(split='test'))
    found = wrong(spoiled)
    prefix = '' if name == NAME else 'coarse: '
    assert set(found) == {prefix + 'thresholds'}
    assert found[prefix + 'thresholds'].detail == (
        'thresholds.json was chosen on "test", not on val; metrics.json applies thresholds from "test", not from val')


def test_threshold_that_validation_does_not_give(spoiled):
    for file, change in (('thresholds.json', lambda c: c.update(tip=0.25)),
                         ('metrics.json', lambda c: c['meta']['threshold'].update(tip=0.25))):
        edit(spoiled / NAME / file, change)
    found = wrong(spoiled)
    assert set(found) == {'thresholds, chosen again'}
    assert 'tip: 0.25 is recorded' in found['thresholds, chosen again'].detail


@pytest.mark.parametrize('folder, names', [
    (NAME, {'weights'}), ('demo_coarse', {'coarse: weights', 'chain'}), ('demo_coarse/fold1', {'chain'})])
def test_swapped_checkpoint(spoiled, folder, names):
    shutil.copy(spoiled / folder / 'epoch_1.pth', spoiled / folder / 'epoch_2.pth')
    found = wrong(spoiled)
    assert set(found) == names and all('SHA-256 of the weights' in finding.detail for finding in found.values())


def test_metrics_of_other_data(spoiled):
    edit(spoiled / NAME / 'metrics.json', lambda m: m['meta']['data'].update(sha256='0' * 64))
    assert 'the SHA-256 of the annotations differs' in wrong(spoiled)['trained on'].detail


def test_stand_in_on_pictures_that_are_not_synthetic(spoiled):
    edit(spoiled / NAME / 'metrics.json', lambda m: m['meta']['data'].update(synthetic=False))
    assert '"simulated" priors on pictures that are not synthetic' in wrong(spoiled)['prior backend'].detail


def test_other_backend_than_reported(spoiled):
    edit(spoiled / NAME / 'metrics.json', lambda m: m['meta']['prior'].update(backend='sam3', fingerprint='sam3-0123'))
    assert 'the fingerprint of the backend differs' in wrong(spoiled)['prior backend'].detail


def test_missing_files_are_findings(spoiled):
    (spoiled / NAME / 'val_predictions.json').unlink()
    (spoiled / 'demo_coarse/thresholds.json').unlink()
    found = wrong(spoiled)
    assert 'predictions file not found' in found['thresholds, chosen again'].detail
    assert 'file not found' in found['coarse: thresholds'].detail


def test_unfinished_run_and_foreign_folder(spoiled, tmp_path):
    edit(spoiled / NAME / 'artifact.json', lambda r: r.update(done=False))
    assert [(f.name, f.ok) for f in audit(spoiled / NAME)] == [('run', False)]
    with pytest.raises(UserError, match='name a work directory of tools/train.py'):
        audit(tmp_path)


def test_dumped_config_is_read_without_running_it(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("a = dict(b=[1, (2, 3)], c=dict(d=None))\ne = {'f-g': dict(h=-1.5)}\n"
                    f'i = open({str(tmp_path / "made")!r}, "w")\n')
    assert read_dumped_config(path) == dict(a=dict(b=[1, [2, 3]], c=dict(d=None)), e={'f-g': dict(h=-1.5)}, i=None)
    assert not (tmp_path / 'made').exists()


def test_tool_needs_no_torch(spoiled, root):
    code = ('import runpy, sys; sys.argv = ["doctor.py", "--audit", sys.argv[1]]\n'
            'try: runpy.run_path("tools/doctor.py", run_name="__main__")\n'
            'except SystemExit as e: print("exit", e.code, "torch" in sys.modules, "mmengine" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code, str(spoiled / NAME)], cwd=root, capture_output=True, text=True)
    assert 'exit 0 False False' in done.stdout, done.stdout + done.stderr
    edit(spoiled / NAME / 'thresholds.json', lambda c: c['meta'].update(split='test'))
    done = subprocess.run([sys.executable, 'tools/doctor.py', '--audit', str(spoiled / NAME)], cwd=root,
                          capture_output=True, text=True)
    assert done.returncode == 1 and 'chosen on "test"' in ' '.join(done.stdout.split())


def test_checkpoint_that_was_chosen_on_test(spoiled):
    path = spoiled / NAME / 'artifact.json'

    def change(record):
        record['content']['best'] = dict(by='surgical/mean_F1', val_dataloader=dict(dataset=dict(split='test')))
        record['fingerprint'] = digest_of(record['content'])

    edit(path, change)
    assert 'the checkpoint was chosen on "test", not on val' in wrong(spoiled)['trained on'].detail


def test_fold_that_starts_from_the_coarse_network(spoiled):
    made = json.loads((spoiled / 'demo_coarse/predictions/artifact.json').read_text())
    sha256 = made['facts']['models']['val']['sha256']
    path = spoiled / 'demo_coarse/fold1/artifact.json'

    def change(record):
        record['content']['start_weights'] = dict(load_from=sha256)
        record['fingerprint'] = digest_of(record['content'])

    edit(path, change)
    assert 'starts from epoch_2.pth of this chain (load_from)' in wrong(spoiled)['chain'].detail
