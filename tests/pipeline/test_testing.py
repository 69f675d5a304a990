"""``tools/test.py``: a trained model on its own test split and on other data."""
import json
import shutil
from pathlib import Path

import pytest
from pipeline_runs import evaluate, train
from toy_data import write_toy_data

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.files import file_digest
from mmpose_surgical.pipeline import testing
from mmpose_surgical.priors.store import RecordStore
from mmpose_surgical.visualization.report.runs import HEATMAPS

NAME = 'demo_refine_prior_aux'


def parts(runs: Path) -> tuple[Path, Path]:
    """The config that training left, and its last checkpoint."""
    return runs / NAME / f'{NAME}.py', runs / NAME / 'epoch_2.pth'


def metrics(folder: Path) -> dict:
    return json.loads((folder / 'metrics.json').read_text())


def test_own_test_split_gives_the_metrics_of_training(refined, tmp_path):
    assert evaluate(*parts(refined), tmp_path / 'out') == 0
    trained, tested = metrics(refined / NAME), metrics(tmp_path / 'out')
    assert tested['results'] == trained['results']
    for key in ('threshold', 'threshold_from', 'checkpoint', 'prior', 'data', 'split'):
        assert tested['meta'][key] == trained['meta'][key]


def test_heatmaps_are_stored_for_the_report(refined, toy_data, tmp_path):
    folder = tmp_path / 'out'
    RecordStore(folder / HEATMAPS, dict(coarse='of an earlier call'), mode='a').close()
    assert evaluate(*parts(refined), folder, heatmaps=True) == 0
    frames = frames_of_split(load_annotations(toy_data), 'test')
    store = RecordStore(folder / HEATMAPS)
    assert not store.missing(frame.image_id for frame in frames) and len(store) == len(frames)
    heatmaps = store.get(frames[0].image_id)[0]['heatmaps']
    assert heatmaps.shape == (2, 12, 16)
    # They are the refiner's own, not the coarse ones that it read.
    coarse = RecordStore(refined / 'demo_coarse' / 'predictions').get(frames[0].image_id)[0]['heatmaps']
    assert not (heatmaps == coarse).all()


def test_heatmaps_of_a_simcc_head_are_those_of_its_slots(plugin, toy_data, tmp_path):
    from mmpose_surgical.visualization.report.gallery import heatmap_folder
    from mmpose_surgical.visualization.report.runs import read_runs
    assert train('configs/demo/demo_rtmpose.py', toy_data, tmp_path, 'model.backbone.init_cfg.checkpoint=none') == 0
    folder = tmp_path / 'demo_rtmpose'
    assert evaluate(folder / 'demo_rtmpose.py', folder / 'epoch_2.pth', None, f'data_root={toy_data}',
                    heatmaps=True) == 0
    # The report finds them where tools/test.py leaves them by default.
    where = heatmap_folder(read_runs([folder])[0])
    assert where == folder / f'test-{toy_data.name}-test' / HEATMAPS
    image_id = frames_of_split(load_annotations(toy_data), 'test')[0].image_id
    assert RecordStore(where).get(image_id)[0]['heatmaps'].shape == (3, 12, 16)


def test_the_folder_of_a_training_is_refused(refined):
    before = (refined / NAME / 'metrics.json').read_bytes()
    for folder in (refined / NAME, refined / 'demo_coarse'):
        with pytest.raises(UserError, match='this folder is of a training'):
            evaluate(*parts(refined), folder)
    assert (refined / NAME / 'metrics.json').read_bytes() == before


def test_other_pictures_need_a_named_prior(refined, tmp_path, capsys):
    data = write_toy_data(tmp_path / 'real', synthetic=False, seed=1)
    with pytest.raises(UserError, match=r'exists for synthetic data only.*Fix: .*prior.backend=grabcut'):
        evaluate(*parts(refined), tmp_path / 'out', f'data_root={data}')
    assert not (tmp_path / 'out').exists()

    assert evaluate(*parts(refined), tmp_path / 'out', f'data_root={data}', 'prior.backend=grabcut') == 0
    meta = metrics(tmp_path / 'out')['meta']
    assert meta['prior']['backend'] == 'grabcut' and meta['prior']['stand_in']
    assert meta['data'] | {'sha256': ''} == dict(name='real', sha256='', synthetic=False)
    # The thresholds stay those of the validation split of the training data.
    assert meta['threshold_from']['data'] == metrics(refined / NAME)['meta']['data']
    assert 'prior: grabcut' in capsys.readouterr().out


def test_threshold_csv_and_all_videos(refined, tmp_path):
    csv = tmp_path / 'points.csv'
    assert evaluate(*parts(refined), tmp_path / 'out', split='all', score_thr=0.5, dump=str(csv),
                    out=str(tmp_path / 'metrics.json')) == 0
    meta = metrics(tmp_path / 'out')['meta']
    assert meta['threshold'] == 0.5 and meta['threshold_from'] == 'command line'
    assert meta['split'] == 'all' and meta['frames'] == 8
    assert metrics(tmp_path) == metrics(tmp_path / 'out')
    assert csv.read_text().startswith('image_id,landmark,x,y,score\n')
    assert read_predictions(csv).records() == read_predictions(tmp_path / 'out/all_predictions.json').records()


def test_priors_of_other_data_are_not_reused(refined, tmp_path, monkeypatch):
    for name in ('predict_split', 'write_results', 'show_results'):  # what comes after the priors
        monkeypatch.setattr(testing, name, lambda *args, **kwargs: tmp_path)
    for seed in (1, 2):
        data = write_toy_data(tmp_path / 'data', seed=seed)
        assert evaluate(*parts(refined), tmp_path / 'out', f'data_root={data}') == 0
        record = json.loads((tmp_path / 'out/predictions/artifact.json').read_text())
        assert record['done'] and record['content']['data'] == file_digest(data / 'annotations.json')
        shutil.rmtree(tmp_path / 'data')


def test_what_is_missing_is_named(refined, tmp_path):
    config, checkpoint = parts(refined)
    with pytest.raises(UserError, match=r'checkpoint not found \(.*nothing.pth\). Fix: train one'):
        evaluate(config, tmp_path / 'nothing.pth', tmp_path / 'out')
    shutil.copytree(refined / NAME, tmp_path / 'alone' / NAME)
    with pytest.raises(UserError, match='coarse network of this model is not there.*move both folders together'):
        evaluate(*parts(tmp_path / 'alone'), tmp_path / 'out')
    shutil.copy(checkpoint, tmp_path / 'copy.pth')
    with pytest.raises(UserError, match=r'file not found \(.*artifact.json\). Fix: give a checkpoint in the folder'):
        evaluate(config, tmp_path / 'copy.pth', tmp_path / 'out')
    with pytest.raises(UserError, match='there is no split "tset"'):
        evaluate(config, checkpoint, tmp_path / 'out', split='tset')


def test_unfinished_training_has_no_thresholds_to_test_with(refined, tmp_path):
    shutil.copytree(refined, tmp_path / 'runs')
    path = tmp_path / 'runs' / NAME / 'artifact.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'done': False, 'facts': {}}))
    with pytest.raises(UserError, match='is not finished .* Fix: finish it with tools/train.py'):
        evaluate(*parts(tmp_path / 'runs'), tmp_path / 'out')


def test_weights_of_another_model_are_refused(refined, tmp_path):
    """MMEngine itself would warn and evaluate a network that is partly random."""
    with pytest.raises(UserError, match='do not fit the model of the config'):
        evaluate(refined / 'demo_coarse/demo_coarse.py', parts(refined)[1], tmp_path / 'out')


def test_dumped_config_is_the_one_of_the_training(refined):
    from mmengine.config import Config
    cfg = Config.fromfile(parts(refined)[0], import_custom_modules=False)
    assert cfg.train_dataloader.dataset.split == 'train' and cfg.load_from is None


def test_config_of_a_refiner_with_a_coarse_checkpoint(refined, tmp_path):
    with pytest.raises(UserError, match='the checkpoint is not of a refiner, the config is'):
        evaluate(parts(refined)[0], refined / 'demo_coarse/epoch_2.pth', tmp_path / 'out')


@pytest.mark.parametrize('options, variable, expected', [
    ({}, '', dict(checkpoint='/training/sam3.pt', dtype='bfloat16', device='')),
    ({}, '/here/sam3.pt', dict(checkpoint='/here/sam3.pt', dtype='bfloat16', device='')),
    ({'prior.checkpoint': '/mine.pt', 'prior.dtype': 'float32', 'prior.device': 'cpu'}, '/here/sam3.pt',
     dict(checkpoint='/mine.pt', dtype='float32', device='cpu')),
])
def test_what_a_machine_names_goes_before_what_the_training_machine_had(monkeypatch, options, variable, expected):
    from mmengine.config import Config
    trained = dict(backend='sam3', checkpoint='/training/sam3.pt', dtype='bfloat16', device='cuda:3', jitter=4)
    monkeypatch.setattr(testing, 'facts_of', lambda folder: dict(prior_config=trained))
    monkeypatch.setenv('SAM3_CHECKPOINT', variable)
    cfg = Config(dict(prior=dict(backend='auto', checkpoint='')))
    cfg.merge_from_dict(options)
    assert testing.trained_prior(cfg, options, Path('refine/epoch_2.pth')) == dict(expected, backend='sam3')
    # The config that training left names what there was on that machine.
    dumped = Config(dict(prior=trained))
    dumped.merge_from_dict(options)
    assert testing.trained_prior(dumped, options, Path('refine/epoch_2.pth'))['checkpoint'] == expected['checkpoint']


def test_priors_of_other_weights_are_told(refined, tmp_path, capsys):
    assert evaluate(*parts(refined), tmp_path / 'same') == 0
    assert 'note: the model was trained with priors of' not in capsys.readouterr().out
    assert evaluate(*parts(refined), tmp_path / 'other', 'prior.max_share=0.2') == 0
    assert 'note: the model was trained with priors of simulated-' in capsys.readouterr().out
