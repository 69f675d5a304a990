"""The main job, end to end."""
import json
import shutil

import pytest
from pipeline_runs import ROOT, evaluate, train

from mmpose_surgical.errors import UserError

CONFIG = 'configs/demo/demo_refine_prior_aux.py'


def metrics(folder, name='demo_refine_prior_aux'):
    return json.loads((folder / name / 'metrics.json').read_text())


def test_all_stages_leave_their_results(refined):
    for name in ('demo_coarse', 'demo_refine_prior_aux'):
        result = metrics(refined, name)
        assert set(result['results']['overall']) == {'tip', 'anchor'}
        assert result['meta']['threshold_from']['split'] == 'val' and result['meta']['split'] == 'test'
        assert len(list((refined / name / 'overlays').glob('*.jpg'))) == 3  # two test frames and the sheet
    assert metrics(refined)['meta']['prior'] == {
        'backend': 'simulated', 'stand_in': True, 'fingerprint': metrics(refined)['meta']['prior']['fingerprint']}
    assert metrics(refined, 'demo_coarse')['meta']['prior'] is None


def test_second_call_does_nothing(refined, toy_data, capsys):
    stamp = (refined / 'demo_refine_prior_aux/metrics.json').stat().st_mtime_ns
    assert train(CONFIG, toy_data, refined) == 0
    assert (refined / 'demo_refine_prior_aux/metrics.json').stat().st_mtime_ns == stamp
    out = capsys.readouterr().out
    assert out.count(' done') == 5 and 'prior: simulated (a stand-in' in out


def test_training_reads_out_of_fold_predictions(refined):
    from mmpose_surgical.priors.store import RecordStore
    store = RecordStore(refined / 'demo_coarse/predictions')
    made_by = {image_id: store.get(image_id)[1]['model'] for image_id in range(1, 9)}
    # Toy videos a (images 1, 2) and b (3, 4) are the folds; c (5, 6) is validation, d (7, 8) test.
    assert [made_by[i] for i in range(1, 9)] == ['fold0'] * 2 + ['fold1'] * 2 + ['demo_coarse'] * 4


def test_folder_of_another_config_is_refused(refined, toy_data):
    with pytest.raises(UserError, match=r'optim_wrapper.optimizer.lr: 0.004 -> 0.5.*--rebuild'):
        train(CONFIG, toy_data, refined, 'optim_wrapper.optimizer.lr=0.5')


def test_stale_prerequisite_is_made_anew_beside_the_old(refined, toy_data, tmp_path, capsys):
    folder = tmp_path / 'runs'
    shutil.copytree(refined, folder)
    shutil.rmtree(folder / 'demo_refine_prior_aux')
    assert train(CONFIG, toy_data, folder, 'coarse.overrides.optim_wrapper.optimizer.lr=0.5', plan=True) == 0
    out = capsys.readouterr().out
    assert 'demo_coarse is stale' in out and 'lr: 0.004 -> 0.5' in out and out.count('waiting') == 5
    assert (folder / 'demo_coarse/metrics.json').exists()


def test_foreign_folder_is_not_written_into(plugin, toy_data, tmp_path):
    (tmp_path / 'demo_coarse').mkdir()
    (tmp_path / 'demo_coarse/thesis.tex').write_text('years of work')
    with pytest.raises(UserError, match='not empty and was not made by this tool'):
        train('configs/demo/demo_coarse.py', toy_data, tmp_path)


def test_plan_makes_nothing(plugin, toy_data, tmp_path, capsys):
    assert train(CONFIG, toy_data, tmp_path, plan=True) == 0
    assert not list(tmp_path.iterdir())
    assert '[5/5] refine + prior + aux' in capsys.readouterr().out


def test_simulated_prior_never_meets_other_pictures(plugin, tmp_path):
    from toy_data import write_toy_data
    data = write_toy_data(tmp_path / 'data', synthetic=False)
    with pytest.raises(UserError, match='no prior backend.*SAM3_CHECKPOINT.*grabcut'):
        train(CONFIG, data, tmp_path / 'runs', plan=True)
    with pytest.raises(UserError, match='exists for synthetic data only'):
        train(CONFIG, data, tmp_path / 'runs', 'prior.backend=simulated', plan=True)


def test_missing_data_is_one_clear_line(plugin, tmp_path):
    with pytest.raises(UserError, match='annotation file not found'):
        train(CONFIG, tmp_path / 'nowhere', tmp_path / 'runs')


def test_refinement_without_a_prior_needs_no_backend(refined, tmp_path, capsys):
    """On data without weights too, and behind the same coarse network."""
    from toy_data import write_toy_data
    data = write_toy_data(tmp_path / 'data', synthetic=False)
    assert train('configs/demo/demo_refine.py', data, tmp_path / 'runs') == 0
    out = capsys.readouterr().out
    assert 'prior: none' in out and '[4/4] refine ' in out and 'mask priors' not in out
    assert metrics(tmp_path / 'runs', 'demo_refine')['meta']['prior'] is None
    assert not list((tmp_path / 'runs').rglob('priors-*'))
    from mmpose_surgical.doctor.audit import audit
    from mmpose_surgical.doctor.finding import failed
    assert not failed(audit(tmp_path / 'runs/demo_refine'))
    folder = tmp_path / 'runs/demo_refine'
    assert evaluate(folder / 'demo_refine.py', folder / 'epoch_2.pth', tmp_path / 'out') == 0
    assert metrics(tmp_path, 'out')['results'] == metrics(folder, '')['results']


def test_load_from_starts_a_run_and_never_takes_the_place_of_its_own_checkpoint(monkeypatch, tmp_path):
    from mmengine.config import Config

    from mmpose_surgical.pipeline import stages
    seen = []

    class Runner:
        def train(self):
            pass

    monkeypatch.setattr(stages, 'build_runner', lambda cfg: (seen.append((cfg.resume, cfg.load_from)), Runner())[1])
    stages.train(Config(dict(model={}, work_dir=str(tmp_path), load_from='start.pth')))
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')
    stages.train(Config(dict(model={}, work_dir=str(tmp_path), load_from='start.pth')))
    assert seen == [(False, 'start.pth'), (True, None)]


def test_weights_to_start_from_are_content(toy_data, tmp_path):
    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.pipeline.config import load_config
    from mmpose_surgical.pipeline.plan import train_content
    annotations, start = load_annotations(toy_data), tmp_path / 'start.pth'

    def content(**options):
        return train_content(load_config(ROOT / 'configs/demo/demo_coarse.py', options, tmp_path / 'run'), annotations)

    start.write_bytes(b'one')
    first = content(load_from=str(start))
    start.write_bytes(b'two')
    contents = [content(), first, content(load_from=str(start)), content(**{'test_evaluator.tolerance': 10}),
                content(**{'default_hooks.checkpoint.save_best': 'surgical/mean_F1'}),
                content(**{'auto_scale_lr.enable': True})]
    assert all(a != b for i, a in enumerate(contents) for b in contents[:i])


@pytest.mark.parametrize('name', ['coarse', 'refine', 'refine_prior', 'refine_prior_aux'])
def test_paper_scale_configs_plan_and_build(plugin, toy_data, tmp_path, name):
    """Every config of the paper gives a plan and a model; training one is for the slow lane."""
    from mmpose.registry import MODELS

    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.pipeline.config import load_config
    from mmpose_surgical.pipeline.run import plan_of
    cfg = load_config(ROOT / f'configs/surgical/{name}.py', dict(data_root=str(toy_data)), tmp_path / name)
    plan = plan_of(cfg, load_annotations(toy_data))
    assert len(plan.stages) == dict(coarse=1, refine=4).get(name, 5)
    assert isinstance(MODELS.build(cfg.model), MODELS.get(cfg.model.type))


def test_dumped_config_trains_again(refined, toy_data, capsys):
    """The config that a run left finds its prerequisite, and is the same run."""
    name = 'demo_refine_prior_aux'
    assert train(str(refined / name / f'{name}.py'), toy_data, refined) == 0
    assert capsys.readouterr().out.count(' done') == 5


def test_flags_that_cannot_be_honoured_are_refused(toy_data, tmp_path):
    with pytest.raises(UserError, match='--resume old.pth: .*last checkpoint of its work directory.*load_from=old.pth'):
        train(CONFIG, toy_data, tmp_path, resume='old.pth')


def test_no_validate_reaches_the_prerequisite_and_changes_no_content(refined, toy_data, capsys):
    assert train(CONFIG, toy_data, refined, no_validate=True) == 0
    assert capsys.readouterr().out.count(' done') == 5


def test_lost_results_are_made_again(refined, toy_data, tmp_path, capsys):
    folder = tmp_path / 'runs'
    shutil.copytree(refined, folder)
    before = metrics(folder)['results']
    (folder / 'demo_refine_prior_aux/metrics.json').unlink()
    for shard in (folder / 'demo_coarse/priors-simulated').glob('shard-*.bin'):
        shard.unlink()
    assert train(CONFIG, toy_data, folder) == 0
    out = capsys.readouterr().out
    assert out.count('resumes') == 2 and metrics(folder)['results'] == before


def test_prerequisite_prints_its_table(plugin, toy_data, tmp_path, capsys):
    assert train(CONFIG, toy_data, tmp_path) == 0
    assert capsys.readouterr().out.count('results: ') == 2  # of the coarse network and of the run itself


@pytest.mark.parametrize('options, message', [
    (['foo'], 'foo: not KEY=VALUE'),
    (['codec.input_size=5'], 'has it in another shape'),
    (['model.backbone=1'], 'has it in another shape'),
    (['synthetic.spec=foo', 'data_root=data/synthetic_demo'], 'there is no synthetic data set "foo"'),
    (['load_from=nowhere.pth'], 'weights to start from not found'),
    (['model.backbone.backbone.init_cfg.checkpoint=packaged://nope'], 'there are no weights packaged://nope'),
])
def test_bad_options_are_one_line(plugin, toy_data, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train('configs/demo/demo_coarse.py', toy_data, tmp_path, *options)


def test_config_that_fails_or_is_of_another_kind_is_one_line(toy_data, tmp_path):
    for text, message in (('x = 1 / 0', 'ZeroDivisionError'), ("model = dict(type='A')", 'lacks what this project')):
        (tmp_path / 'bad.py').write_text(text)
        with pytest.raises(UserError, match=message):
            train(str(tmp_path / 'bad.py'), toy_data, tmp_path)


def test_weights_that_start_a_run_count_by_content(toy_data, tmp_path):
    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.pipeline.config import load_config
    from mmpose_surgical.pipeline.plan import train_content
    annotations = load_annotations(toy_data)

    def content(name, data):
        (tmp_path / name).write_bytes(data)
        options = {'model.backbone.backbone.init_cfg': dict(type='Pretrained', checkpoint=str(tmp_path / name))}
        return train_content(load_config(ROOT / 'configs/demo/demo_coarse.py', options, tmp_path / 'run'), annotations)

    assert content('a.pth', b'1') == content('b.pth', b'1') != content('a.pth', b'2')


def test_every_rule_of_the_evaluator_counts():
    from mmengine.config import Config

    from mmpose_surgical.pipeline.finish import matching_rules
    rules = dict(tolerance=9, canvas=(320, 240), visible_only=True, protocol='global')
    assert matching_rules(Config(dict(test_evaluator=dict(type='LandmarkMatchingMetric', **rules)))) == rules
