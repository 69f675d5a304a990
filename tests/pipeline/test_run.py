"""The main job, end to end."""
import json
import shutil

import pytest
from pipeline_runs import train

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
