"""Ablation knobs: what one config line changes in the config that runs, and the risky ones from end to end."""
import copy
import json

import pytest
import torch
from inferencer_checks import check_against_test, count_frames, inferencer_of
from pipeline_runs import ROOT, evaluate, tiny_options, train

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.errors import UserError
from mmpose_surgical.pipeline.config import check_actions, fill_in, load_config
from mmpose_surgical.pipeline.plan import coarse_config, train_content
from mmpose_surgical.pipeline.stages import final_checkpoint, prior_folder
from mmpose_surgical.pipeline.stem import share_stem

NAME = 'demo_refine_prior_aux'
PER_ACTION = ('codec.channels=action_landmark', 'codec.actions=[clip,grasp]')


def coarse(**options):
    return load_config(ROOT / 'configs/surgical/coarse.py', options)


def refiner(**options):
    return load_config(ROOT / f'configs/demo/{NAME}.py', options)


@pytest.mark.parametrize('options, position', [
    ({}, (5, 2)), ({'clip.num_frames': 4}, (4, 2)), ({'clip.window': 'causal'}, (5, 4)),
    ({'clip.window': 'causal', 'clip.num_frames': 3}, (3, 2)),
    ({'model.backbone.fusion.type': 'TargetFrameOnly', 'clip.window': 'causal'}, (1, 0))])
def test_window_and_fusion_agree_on_the_target(options, position):
    cfg = coarse(**options)
    fusion, dataset = cfg.model.backbone.fusion, cfg.train_dataloader.dataset
    assert (fusion.num_frames, fusion.target_index) == position and dataset.num_frames == position[0]
    assert dataset.window == options.get('clip.window', 'centred')


def test_target_of_the_loaded_window_is_that_of_the_fusion(plugin, toy_data):
    from mmpose.registry import DATASETS
    for window in ('centred', 'causal'):
        cfg = coarse(**{'clip.window': window, 'clip.spacing': 0.1, 'data_root': str(toy_data)})
        info = DATASETS.build(cfg.val_dataloader.dataset).get_data_info(0)
        assert info['target_index'] == cfg.model.backbone.fusion.target_index
        assert str(info['window_files'][info['target_index']]) == info['img_path']


def test_unknown_window_is_refused():
    with pytest.raises(UserError, match='clip.window is backward.*centred or causal'):
        coarse(**{'clip.window': 'backward'})


def test_channels_reach_head_decoder_and_target():
    for cfg in (coarse(**{'codec.channels': 'action_landmark'}), refiner(**{'codec.channels': 'action_landmark'})):
        targets = [step.encoder for step in cfg.train_dataloader.dataset.pipeline if step.type == 'GenerateTarget']
        assert cfg.model.head.out_channels == 6
        assert cfg.model.head.decoder.channels == targets[0].channels == 'action_landmark'
    assert coarse().model.head.out_channels == refiner().model.head.out_channels == 2
    assert coarse(**{'codec.channels': 'action_landmark', 'codec.actions': ['cut']}).model.head.out_channels == 2


def test_actions_without_a_channel_are_counted_before_training(toy_data):
    cfg = coarse(**{'codec.channels': 'action_landmark', 'codec.actions': ['clip', 'cut']})
    with pytest.raises(UserError, match=r'actions without a channel: "grasp" \(2 tools\).*which is clip, cut'):
        check_actions(cfg, load_annotations(toy_data))
    check_actions(coarse(), load_annotations(toy_data))


def test_every_knob_of_the_readme_is_content(plugin, toy_data):
    """Each line of the table gives a config that builds, and another fingerprint than all others."""
    from mmpose.registry import MODELS

    from mmpose_surgical.pipeline.run import parse_options
    text = (ROOT / 'configs/surgical/README.md').read_text()
    rows = [line.split('|')[2:4] for line in text.splitlines() if line.startswith('|') and '=' in line]
    annotations, seen = load_annotations(toy_data), {}
    loaded = {name.strip(' `'): load_config(ROOT / f'configs/surgical/{name.strip(" `")}.py',
                                            dict(data_root=str(toy_data))) for name, _ in rows}
    for config, words in rows:
        cfg = copy.deepcopy(loaded[config.strip(' `')])
        cfg.merge_from_dict(parse_options(words.strip(' `').split()))
        fill_in(cfg)
        inner = coarse_config(cfg) if 'coarse.overrides' in words or 'stem' in words else None
        if inner:
            share_stem(cfg, inner, ROOT / 'nowhere')
        MODELS.build(cfg.model.head)
        if 'fusion' in cfg.model.backbone:
            MODELS.build(cfg.model.backbone.fusion)
        # Prior and out-of-fold count through the stores that a run is made from.
        key = json.dumps([config, train_content(cfg, annotations), inner and train_content(inner, annotations),
                          cfg.get('prior'), cfg.get('coarse', {}).get('out_of_fold')], default=str)
        assert key not in seen, (words, seen[key])
        seen[key] = words
    assert len(rows) == 19


@pytest.mark.parametrize('options, message', [
    (dict(stem='rented'), 'stem is rented.*own or shared'),
    ({'stem': 'shared', 'model.data_preprocessor.bgr_to_rgb': False}, 'pictures enter coarse network and refiner diff'),
    ({'stem': 'shared', 'codec.input_size': (384, 288)}, 'pictures enter coarse network and refiner differently')])
def test_stem_that_cannot_be_shared_is_refused(tmp_path, options, message):
    cfg = refiner(**options)
    with pytest.raises(UserError, match=message):
        share_stem(cfg, coarse_config(cfg), tmp_path)


def test_single_frame_coarse_network_has_no_stem_to_share(tmp_path):
    cfg = refiner(stem='shared')
    inner = coarse_config(cfg)
    inner.model.backbone = inner.model.backbone.backbone
    with pytest.raises(UserError, match='MobileNetV2 has no stem to share'):
        share_stem(cfg, inner, tmp_path)


def test_own_stem_stays_as_it_is(tmp_path):
    cfg = refiner()
    before = cfg.pretty_text
    share_stem(cfg, coarse_config(cfg), tmp_path)
    assert cfg.pretty_text == before


def test_priors_of_other_prompts_lie_beside(tmp_path):
    folders = [prior_folder(tmp_path, dict(backend='sam3', **rule)).name for rule in (
        {}, dict(prompts='tip'), dict(points='ground_truth'), dict(prompts='tip', points='ground_truth'))]
    assert folders == ['priors-sam3', 'priors-sam3-tip', 'priors-sam3-ground_truth', 'priors-sam3-tip-ground_truth']


@pytest.fixture(scope='module')
def ablated(plugin, toy_data, tmp_path_factory):
    """A run with the risky knobs: causal window, attention, maps per action, in-sample, shared stem, oracle prompts."""
    folder = tmp_path_factory.mktemp('ablated')
    fusion = 'model.backbone.fusion'
    inner = [*PER_ACTION, 'clip.window=causal', 'clip.spacing=0.1', f'{fusion}._delete_=True',
             f'{fusion}.type=AttentionFusion', f'{fusion}.in_channels=16', f'{fusion}.channels=32']
    assert train(f'configs/demo/{NAME}.py', toy_data, folder, *PER_ACTION, 'stem=shared', 'prior.points=ground_truth',
                 'prior.prompts=tip', 'coarse.out_of_fold=False', 'train_cfg.max_epochs=1',
                 *(f'coarse.overrides.{word}' for word in inner)) == 0
    return folder


def test_oracle_and_in_sample_are_told_everywhere(ablated, toy_data, tmp_path, capsys):
    from mmpose_surgical.doctor.audit import audit
    run = ablated / NAME
    meta = json.loads((run / 'metrics.json').read_text())['meta']
    assert meta['prior']['label'] == 'oracle prompts, tip prompts only' and meta['coarse_for_training'] == 'in-sample'
    wrong = {finding.name: finding.detail for finding in audit(run) if finding.ok is False}
    assert set(wrong) == {'coarse predictions', 'prompt thresholds', 'oracle prompts'}
    assert 'an upper bound and no result' in wrong['oracle prompts']
    # The config as it was written says nothing of either; what the training recorded does.
    assert evaluate(ROOT / f'configs/demo/{NAME}.py', run / 'epoch_1.pth', tmp_path / 'out',
                    *tiny_options(toy_data, *PER_ACTION, 'stem=shared')) == 0
    again = json.loads((tmp_path / 'out/metrics.json').read_text())['meta']
    assert again['prior'] == meta['prior'] and again['coarse_for_training'] == 'in-sample'
    assert 'oracle prompts, tip prompts only: ground-truth points, an upper bound' in capsys.readouterr().out


def test_altered_label_of_an_oracle_is_found(ablated, tmp_path):
    import shutil

    from mmpose_surgical.doctor.audit import audit
    runs = shutil.copytree(ablated, tmp_path / 'runs')
    path = runs / NAME / 'metrics.json'
    metrics = json.loads(path.read_text())
    del metrics['meta']['prior']['points']
    path.write_text(json.dumps(metrics))
    found = {finding.name: finding for finding in audit(runs / NAME)}
    assert 'the rule of the prompts differs' in found['priors'].detail and found['oracle prompts'].ok is False


def test_refiner_of_maps_per_action_reads_one_coarse_map_per_landmark(ablated):
    from mmpose_surgical.priors.store import RecordStore
    arrays, _ = RecordStore(ablated / 'demo_coarse/predictions').get(1)
    assert arrays['heatmaps'].shape == (2, 12, 16)
    own, theirs = (torch.load(final_checkpoint(ablated / name), weights_only=False)['state_dict']
                   for name in (NAME, 'demo_coarse'))
    assert own['head.final_layer.weight'].shape[0] == theirs['head.final_layer.weight'].shape[0] == 4


def test_shared_stem_is_that_of_the_coarse_network_after_training_too(ablated):
    own, theirs = (torch.load(final_checkpoint(ablated / name), weights_only=False)['state_dict']
                   for name in (NAME, 'demo_coarse'))
    stem = {name: value for name, value in own.items() if name.split('.')[0] in ('backbone', 'neck')}
    assert stem and all(torch.equal(value, theirs[f'backbone.{name}']) for name, value in stem.items())


def test_oracle_priors_are_prompted_by_the_acting_tools(ablated, toy_data):
    from mmpose_surgical.priors.base import MaskPrior
    from mmpose_surgical.priors.prompts import round_prompts
    from mmpose_surgical.priors.store import RecordStore
    store = RecordStore(ablated / 'demo_coarse/priors-simulated-tip-ground_truth')
    for frame in load_annotations(toy_data).annotated_frames({'a', 'd'}):
        prior = MaskPrior.from_record(*store.get(frame.image_id))
        tips = [(p.x, p.y) for tool in frame.active_tools for p in tool.points if p.landmark == 'tip']
        assert prior.points_xy.tolist() == round_prompts(tips).tolist()


def test_a_stream_gives_the_points_of_the_test_with_these_knobs_too(ablated, toy_data, tmp_path):
    folder = ablated / NAME
    points = 'prior.points=coarse'  # a video has no others
    assert evaluate(folder / f'{NAME}.py', final_checkpoint(folder), tmp_path / 'out', 'prior.backend=grabcut',
                    points) == 0
    inferencer = inferencer_of(folder, prior='grabcut', options=dict([points.split('=')]))
    assert inferencer.look_ahead(10) == 0
    counts = count_frames(inferencer)
    check_against_test(inferencer, tmp_path / 'out/test_predictions.json', toy_data)
    assert counts() == [10, 0]  # the shared stem sees a frame once
    with pytest.raises(UserError, match='no ground-truth points'):
        inferencer_of(folder, prior='grabcut')
