"""Graphs against PyTorch, and what is refused."""
from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmpose_surgical.errors import UserError

FILES = {'frame.onnx', 'window.onnx', 'metadata.json', 'onnx_stream.py'}


def load(folder: Path, options: dict | None = None):
    from mmpose_surgical.apis.trained_run import load_run
    return load_run(folder, options=options)


def export(run, out: Path, prior: str | None = None, **options) -> dict:
    from mmpose_surgical.export.onnx_export import export_onnx
    return export_onnx(run, out, prior, **options)


@pytest.mark.parametrize('prior', ['aux', 'none', 'input'])
def test_both_runtimes_give_what_pytorch_gives_of_a_refiner(own_masks: Path, toy_data: Path, tmp_path: Path,
                                                           root: Path, prior: str):
    import onnx
    run = load(own_masks)
    metadata = export(run, tmp_path / 'out', prior, check_on=toy_data / 'frames/d')
    outputs = {'map', 'feature', 'heatmaps', 'coarse_heatmaps', 'mask_out'}
    if prior == 'aux':
        outputs.add('validity_out')
    assert [(check['runtime'].split()[0], check['on']) for check in metadata['checked']] == [
        ('onnxruntime', 'noise'), ('onnxruntime', 'd'), ('openvino', 'noise'), ('openvino', 'd')]
    for check in metadata['checked']:
        assert set(check['errors']) == outputs and max(check['errors'].values()) <= 1e-4
    assert {path.name for path in (tmp_path / 'out').iterdir()} == FILES
    assert json.loads((tmp_path / 'out/metadata.json').read_text()) == metadata
    graph = onnx.load(tmp_path / 'out/window.onnx')
    more = ['mask', 'validity'] if prior == 'input' else []
    assert [one.name for one in graph.graph.input] == ['maps', 'feature', *more]
    properties = {one.key: one.value for one in graph.metadata_props}
    assert json.loads(properties['thresholds']) == run.thresholds and properties['model'] == 'demo_refine_prior_aux'
    for name in ('frame.onnx', 'window.onnx'):
        assert str(root).encode() not in (tmp_path / 'out' / name).read_bytes()


def fusion(kind: str) -> dict:
    return {'model.backbone.fusion': dict(_delete_=True, type=kind, in_channels=16, channels=32)}


@pytest.mark.parametrize(('config', 'options'), [
    ('demo_simplebaseline', {}),
    ('demo_rtmpose', {}),
    ('demo_direct_mask', {'codec.channels': 'action_landmark'}),
    ('demo_coarse', fusion('AttentionFusion') | {'clip.window': 'causal'}),
    ('demo_coarse', fusion('ConcatFusion')),
    ('demo_coarse', fusion('TargetFrameOnly')),
], ids=['SimpleBaseline', 'RTMPose', 'map per action', 'attention', 'concatenation', 'target only'])
def test_both_runtimes_give_what_pytorch_gives_of_a_network_alone(untrained: Callable, tmp_path: Path, config: str,
                                                                  options: dict):
    run = untrained(config, **options)
    metadata = export(run, tmp_path / 'out')
    outputs = {'map', 'simcc_x', 'simcc_y'} if 'rtmpose' in config else {'map', 'heatmaps'}
    assert all(set(check['errors']) == outputs for check in metadata['checked'])
    assert max(error for check in metadata['checked'] for error in check['errors'].values()) <= 1e-4
    assert metadata['prior']['kind'] == 'none' and metadata['thresholds'] == run.thresholds


def test_the_refiner_takes_the_map_of_the_target_for_its_feature_where_the_stem_is_shared(vivid: Path):
    from mmpose_surgical.export.onnx_export import prepare_pair
    pair = prepare_pair(load(vivid))
    network, refiner = pair.network.model, pair.window.refiner
    maps = torch.rand(1, 3, 64 // 4, 12, 16)
    window = type(pair.window)(network, 1, refiner, shares_stem=True)
    refiner.head.image_stem[0] = torch.nn.Conv2d(16, refiner.head.image_stem[0].out_channels, 1)
    with torch.inference_mode():
        heatmaps, coarse, _ = window(maps)
        expected, _ = refiner.head((maps[:, 1], ), coarse.half().float(), torch.zeros(1, 1, 12, 16), torch.zeros(1))
    assert window.input_names == ['maps']
    torch.testing.assert_close(heatmaps, expected, atol=1e-6, rtol=0)
    assert [one.shape for one in pair.frame.__class__(network)(torch.zeros(2, 3, 48, 64, dtype=torch.uint8))] == [
        (2, 16, 12, 16)]


@pytest.mark.parametrize(('bias', 'least', 'valid'), [
    (0., 0., True), (0., 1.1, False), (-9., 0., False), (9., 0., False)],
    ids=['valid', 'no prompt', 'empty', 'everywhere'])
def test_own_masks_enter_the_second_pass_if_they_pass_the_gates(own_masks: Path, bias: float, least: float,
                                                                valid: bool):
    from mmpose_surgical.export.onnx_export import prepare_pair
    run = replace(load(own_masks), prompt_thresholds=dict(tip=least, anchor=least))
    pair = prepare_pair(run, 'aux')
    head, rng = pair.window.refiner.head, torch.manual_seed(0)
    feature, maps = torch.rand(1, 48, 12, 16, generator=rng), torch.rand(1, 3, 16, 12, 16, generator=rng)
    plain, stencil = head.forward, torch.zeros(1, 1, 12, 16)
    stencil[..., :5, :8] = 0.9  # 40 of 192 cells
    head.forward = lambda *inputs: (plain(*inputs)[0], stencil + bias)
    with torch.inference_mode():
        heatmaps, coarse, own, validity = pair.window(maps, feature)
        mask = 1 / (1 + torch.exp(-16 * (stencil - 0.5))) * float(valid)
        expected, _ = plain((feature, ), coarse.half().float(), mask, torch.full((1, ), float(valid)))
    assert coarse.max() > 0
    assert validity.tolist() == [float(valid)]
    torch.testing.assert_close(own, (stencil + bias).clamp(0, 1))
    torch.testing.assert_close(heatmaps, expected, atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=50)
@given(arrays(np.float32, (2, 8, 9), elements=st.floats(-0.25, 1.25, width=32)),
       st.floats(0, 1), st.floats(0, 1), st.sampled_from([('tip', 'anchor'), ('tip', ), ('anchor', )]), st.booleans())
def test_the_graph_knows_without_decoding_whether_a_point_prompts(plugin: ModuleType, maps, tip, anchor, landmarks,
                                                                 plateau):
    from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
    from mmpose_surgical.codecs.mask_augmented_heatmap import MaskAugmentedHeatmap
    from mmpose_surgical.export.onnx_graphs import PriorRule, prompted
    from mmpose_surgical.priors.prompts import prompts_from_points
    codec = (MaskAugmentedHeatmap if plateau else LandmarkHeatmap)((36, 32), (9, 8))
    tip, anchor = (float(np.float32(value)) for value in (tip, anchor))
    keypoints, scores = codec.decode(maps)
    points, _ = prompts_from_points(keypoints[0], scores[0], dict(tip=tip, anchor=anchor), (36, 32), landmarks)
    found = prompted(torch.from_numpy(maps)[None], codec, PriorRule('aux', dict(tip=tip, anchor=anchor), landmarks))
    assert found.tolist() == [len(points) > 0]


@settings(deadline=None)
@given(st.floats(2**-14, 1000, width=32))
def test_rounding_to_half_precision(plugin: ModuleType, value: float):
    from mmpose_surgical.export.onnx_graphs import round_to_half
    rounded = round_to_half(torch.tensor([value]))
    assert rounded.half().float() == rounded
    assert abs(float(rounded) - value) == abs(float(np.float16(value)) - value)  # halfway both neighbours are right


def test_default_prior(vivid: Path, own_masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    from mmpose_surgical.export.onnx_export import export_command
    args = dict(model=str(vivid), weights=None, out=str(tmp_path / 'out'), prior=None, score_thr=0.25, check_on=None,
                cfg_options=[])
    assert export_command(argparse.Namespace(**args)) == 0
    assert capsys.readouterr().out.splitlines()[-4].startswith('prior: none: its own masks only copy')
    assert json.loads((tmp_path / 'out/metadata.json').read_text())['thresholds'] == dict(tip=0.25, anchor=0.25)
    args['model'] = str(own_masks)
    (tmp_path / 'out/__pycache__').mkdir()
    assert export_command(argparse.Namespace(**args)) == 0
    told = capsys.readouterr().out
    assert 'prior: aux, the masks of the model itself' in told and 'largest error, onnxruntime' in told
    assert {path.name for path in (tmp_path / 'out').iterdir()} == FILES  # the earlier one is replaced as a whole


def test_what_cannot_be_exported_is_told(vivid: Path, untrained: Callable, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch):
    run, coarse = load(vivid), load(vivid.parent / 'demo_coarse')
    with pytest.raises(UserError, match='mask dropout'):
        export(run, tmp_path / 'out', 'aux')
    with pytest.raises(UserError, match='takes no mask prior, and input was named'):
        export(coarse, tmp_path / 'out', 'input')
    with pytest.raises(UserError, match='from which score on'):
        export(replace(coarse, thresholds=None), tmp_path / 'out')
    other = coarse.cfg.copy()
    other.model.data_preprocessor.mean = [0., 0., 0.]
    with pytest.raises(UserError, match='coarse network and refiner differently: data_preprocessor'):
        export(replace(run, coarse=replace(coarse, cfg=other)), tmp_path / 'out')
    with pytest.raises(UserError, match='MMDeploy'):
        export(untrained('demo_rtmpose', **{'codec.use_dark': True}), tmp_path / 'out')
    with pytest.raises(UserError, match='a window has 3'):
        export(coarse, tmp_path / 'out', check_on=one_picture(tmp_path / 'short'))
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'onnx and onnxruntime not installed.*mmpose_surgical\[export\]'):
        export(coarse, tmp_path / 'out')
    assert not (tmp_path / 'out').exists() and not list(tmp_path.glob('.*'))


def one_picture(folder: Path) -> Path:
    import cv2
    folder.mkdir()
    cv2.imwrite(str(folder / '1.png'), np.zeros((48, 64, 3), np.uint8))
    return folder


def test_other_content_is_left_alone(vivid: Path, tmp_path: Path):
    coarse = load(vivid.parent / 'demo_coarse')
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='this is a file'):
        export(coarse, tmp_path / 'file')
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'notes/thesis.txt').write_text('years')
    with pytest.raises(UserError, match='something else than an earlier export: thesis.txt'):
        export(coarse, tmp_path / 'notes')
    (tmp_path / 'foreign').mkdir()
    (tmp_path / 'foreign/metadata.json').write_text('{}')
    with pytest.raises(UserError, match='something else than an earlier export'):
        export(coarse, tmp_path / 'foreign')
    assert (tmp_path / 'notes/thesis.txt').read_text() == 'years'


def test_an_export_that_fails_its_check_leaves_the_earlier_one(vivid: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch):
    coarse = load(vivid.parent / 'demo_coarse')
    earlier = export(coarse, tmp_path / 'out')
    monkeypatch.setattr('mmpose_surgical.export.onnx_check.TOLERANCE', -1.)
    for out in ('out', 'new'):
        with pytest.raises(UserError, match='onnxruntime .* differs from PyTorch on noise: map by'):
            export(coarse, tmp_path / out)
    assert json.loads((tmp_path / 'out/metadata.json').read_text()) == earlier
    assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_numpy_1_gets_an_ml_dtypes_that_takes_it(root: Path, tmp_path: Path):
    """onnx needs ml_dtypes, whose tested version needs numpy 2."""
    install = runpy.run_path(str(root / 'requirements/install.py'))
    setup = install['Setup'](None, sys.executable, 'lite')
    setup.prefix, setup._has_compiler = tmp_path, lambda: True
    for version, expected in (('1.26.4', 'ml_dtypes==0.5.4'), ('2.3.5', 'ml_dtypes==0.6.0')):
        setup.installed = dict(numpy=version)
        pins = setup._write_constraints().read_text().splitlines()
        assert f'numpy=={version}' in pins and [pin for pin in pins if pin.startswith('ml_dtypes')] == [expected]


def test_help_needs_no_pytorch(root: Path):
    done = subprocess.run([sys.executable, '-c', 'import sys; sys.modules["torch"] = None; import runpy; '
                           f'sys.argv = ["export.py", "--help"]; runpy.run_path("{root}/tools/export.py", '
                           'run_name="__main__")'], capture_output=True, text=True)
    assert done.returncode == 0 and '--prior {aux,none,input}' in done.stdout
