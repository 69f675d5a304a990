"""The baselines of the comparison, end to end."""
import json

import pytest
from pipeline_runs import ROOT, evaluate, train

from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import read_predictions

SCRATCH = 'model.backbone.init_cfg.checkpoint=none'
# Three deconvolutions want sides that are multiples of 32.
SQUARE = ('codec.input_size=[64,64]', 'codec.heatmap_size=[16,16]')


def metrics(folder):
    return json.loads((folder / 'metrics.json').read_text())


@pytest.mark.parametrize('name, more', [('demo_simplebaseline', SQUARE), ('demo_rtmpose', ())])
def test_demo_baseline_trains_and_is_evaluated_like_the_others(plugin, toy_data, tmp_path, name, more):
    assert train(f'configs/demo/{name}.py', toy_data, tmp_path, SCRATCH, *more) == 0
    folder = tmp_path / name
    trained = metrics(folder)
    assert set(trained['results']['overall']) == {'tip', 'anchor'}
    assert trained['meta']['threshold_from']['split'] == 'val' and trained['meta']['prior'] is None
    assert trained['meta']['box'] == 'whole picture'
    points = read_predictions(folder / 'test_predictions.json')
    assert ((points.x > -64) & (points.x < 128) & (points.y > -64) & (points.y < 128)).all()
    assert evaluate(folder / f'{name}.py', folder / 'epoch_2.pth', tmp_path / 'again') == 0
    assert metrics(tmp_path / 'again')['results'] == trained['results']


def test_oracle_boxes_are_told_wherever_results_are_named(plugin, toy_data, tmp_path, capsys):
    assert train('configs/demo/demo_rtmpose.py', toy_data, tmp_path, SCRATCH, 'box=oracle') == 0
    out = capsys.readouterr().out
    assert 'box: oracle box, which gives the acting tool away' in out and 'rtmpose (oracle box)' in out
    assert 'box: oracle box, from the ground truth: not to be compared' in ' '.join(out.split())
    assert metrics(tmp_path / 'demo_rtmpose')['meta']['box'] == 'oracle box'
    with pytest.raises(UserError, match='work directory was made from something else: box: "oracle" -> null'):
        train('configs/demo/demo_rtmpose.py', toy_data, tmp_path, SCRATCH)


@pytest.mark.parametrize('name', ['simplebaseline', 'rtmpose'])
def test_paper_size_model_takes_a_batch_in_which_nothing_acts(plugin, toy_data, name):
    """Built as configured, but for the size of the picture; with weight 0 everywhere the loss must stay a number."""
    import torch
    from mmengine.dataset import pseudo_collate
    from mmpose.registry import DATASETS, MODELS

    from mmpose_surgical.pipeline.config import load_config
    size = {'codec.input_size': (64, 64)} | ({} if name == 'rtmpose' else {'codec.heatmap_size': (16, 16)})
    cfg = load_config(ROOT / f'configs/surgical/baselines/{name}.py', {'data_root': str(toy_data), **size})
    dataset, model = DATASETS.build(cfg.train_dataloader.dataset), MODELS.build(cfg.model)
    model.init_weights()
    idle = [dataset[1], dataset[3]]
    weights = torch.cat([sample['data_samples'].gt_instance_labels.keypoint_weights for sample in idle])
    assert weights.unique().tolist() == [0.0 if name == 'rtmpose' else 1.0]
    losses = model(**model.data_preprocessor(pseudo_collate(idle), True), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and torch.isfinite(loss) and all(torch.isfinite(grad).all() for grad in gradients)
    assert (float(loss) == 0) is (name == 'rtmpose')


def test_baselines_share_what_makes_a_comparison_fair():
    """Size of the input, augmentation, schedule, evaluation and start of the coarse network.

    But for RTMPose's learning rate, weight decay and warm-up, whose reasons stand in its config.
    """
    from mmpose_surgical.pipeline.config import load_config, weights_line
    coarse = load_config(ROOT / 'configs/surgical/coarse.py')
    for name in ('simplebaseline', 'rtmpose'):
        cfg = load_config(ROOT / f'configs/surgical/baselines/{name}.py')
        assert tuple(cfg.codec.input_size) == tuple(coarse.codec.input_size) and cfg.clip.num_frames == 1
        if name == 'rtmpose':
            assert cfg.optim_wrapper.pop('paramwise_cfg') == dict(
                norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True)
            for key in ('lr', 'weight_decay'):
                assert cfg.optim_wrapper.optimizer[key] != coarse.optim_wrapper.optimizer[key]
                cfg.optim_wrapper.optimizer[key] = coarse.optim_wrapper.optimizer[key]
            assert cfg.param_scheduler[0] != coarse.param_scheduler[0]
            cfg.param_scheduler[0] = coarse.param_scheduler[0]
        for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_evaluator', 'test_evaluator', 'box'):
            assert cfg[key] == coarse[key]
        own = cfg.train_dataloader.dataset.pipeline
        assert [step for step in own if step.type in ('GetBBoxCenterScale', 'RandomFlip', 'RandomBBoxTransform',
                                                      'ClipPhotometricDistortion')] == [
            step for step in coarse.train_dataloader.dataset.pipeline if step in own and step.type not in (
                'LoadClip', 'TopdownAffine', 'GenerateTarget', 'PackClipInputs')]
        assert weights_line(cfg).endswith('from scratch')


@pytest.mark.parametrize('name', ['surgical', 'surgical/baselines'])
def test_every_config_has_its_metafile_and_readme_rows(name):
    import yaml
    folder = ROOT / 'configs' / name
    meta = yaml.safe_load((folder / 'metafile.yml').read_text())
    configs = {path.relative_to(ROOT).as_posix() for path in folder.glob('*.py')}
    assert {model['Config'] for model in meta['Models']} == configs
    assert {model['In Collection'] for model in meta['Models']} == {c['Name'] for c in meta['Collections']}
    readme = (folder / 'README.md').read_text()
    assert all(f'[config]({config.rpartition("/")[2]})' in readme for config in configs)
