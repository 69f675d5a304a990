"""The ring buffer, and a network on a stream against the same network on whole clips."""
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpose_surgical.datasets.windows import target_position, window_frame_ids

INPUT = (64, 48)


@given(count=st.integers(0, 40), num_frames=st.integers(1, 9), step=st.integers(1, 4),
       mode=st.sampled_from(['centred', 'causal']))
def test_windows_of_a_stream_are_those_of_a_data_set(plugin, count, num_frames, step, mode):
    from mmpose_surgical.apis.streaming import SlidingWindow
    window = SlidingWindow(num_frames, step, mode)
    found, most = [], 0
    for number in range(count):
        for one in window.push(number):
            assert number - one[window.position] == window.look_ahead  # as late as announced, and no later
            found.append(one)
        most = max(most, len(window._kept))
    found += window.flush()
    assert found == [window_frame_ids(target, num_frames, step, 0, count - 1, mode) for target in range(count)]
    assert most <= (num_frames - 1) * step + 1


def test_look_ahead_by_hand(plugin):
    from mmpose_surgical.apis.streaming import SlidingWindow
    assert [(SlidingWindow(5, 3).look_back, SlidingWindow(5, 3).look_ahead),
            (SlidingWindow(4, 3).look_back, SlidingWindow(4, 3).look_ahead),
            (SlidingWindow(5, 3, 'causal').look_back, SlidingWindow(5, 3, 'causal').look_ahead),
            (SlidingWindow(1, 1).look_back, SlidingWindow(1, 1).look_ahead)] == [(6, 6), (6, 3), (12, 0), (0, 0)]


def config(root, num_frames, mode, fusion):
    from mmpose_surgical.pipeline.config import load_config
    # MFCNetLateFusion takes kernel_size, the others do not.
    own = {} if fusion == 'MFCNetLateFusion' else {'model.backbone.fusion': dict(
        _delete_=True, type=fusion, in_channels=16, channels=32)}
    return load_config(root / 'configs/demo/demo_coarse.py', {
        'codec.input_size': INPUT, 'codec.heatmap_size': (16, 12), 'clip.num_frames': num_frames, 'clip.window': mode,
        **own})


@pytest.mark.parametrize(('num_frames', 'mode', 'fusion'), [
    (1, 'centred', 'MFCNetLateFusion'), (3, 'centred', 'MFCNetLateFusion'), (5, 'causal', 'MFCNetLateFusion'),
    (9, 'centred', 'MFCNetLateFusion'), (4, 'centred', 'ConcatFusion'), (5, 'centred', 'AttentionFusion')])
def test_a_stream_gives_what_whole_clips_give_and_sees_each_frame_once(plugin, root, num_frames, mode, fusion):
    from mmpose.registry import MODELS

    from mmpose_surgical.apis.streaming import SlidingWindow, StreamedNetwork, samples_of
    init_default_scope('mmpose')
    cfg = config(root, num_frames, mode, fusion)
    torch.manual_seed(0)
    model = MODELS.build(Config(dict(model=cfg.model)).model)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # so that normalising is not the identity
    torch.nn.init.normal_(model.head.final_layer.weight, std=0.5)
    model.eval()
    network = StreamedNetwork(model, cfg)
    network.model.test_cfg['output_heatmaps'] = True
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (11, 60, 90, 3), np.uint8)

    entered = []
    hook = model.backbone.backbone.register_forward_pre_hook(lambda module, inputs: entered.append(len(inputs[0])))
    window = SlidingWindow(num_frames, 2, mode)
    seen = [(network.per_frame([one])[0], one) for one in map(network.prepare, pictures)]
    windows = [one for item in seen for one in window.push(item)] + list(window.flush())
    features = network.features([[maps for maps, _ in one] for one in windows])
    found = network.predict(features, samples_of([one[window.position][1].meta for one in windows]))
    assert sum(entered) == len(pictures)
    hook.remove()

    for target, sample in enumerate(found):
        numbers = window_frame_ids(target, num_frames, 2, 0, len(pictures) - 1, mode)
        clip = torch.from_numpy(np.stack([network.prepare(pictures[number]).pixels for number in numbers]))
        naive, = model.test_step(dict(inputs=[clip], data_samples=samples_of([seen[target][1].meta])))
        heat = naive.pred_fields.heatmaps
        assert heat.std() > 1e-3
        assert (sample.pred_fields.heatmaps - heat).abs().max() <= 1e-5 * max(1, float(heat.abs().max()))
        np.testing.assert_allclose(sample.pred_instances.keypoint_scores, naive.pred_instances.keypoint_scores,
                                   atol=1e-4)
    assert target_position(num_frames, mode) == window.position
