"""The piecewise target of direct mask supervision, its regions and its gate."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.errors import UserError

SIZE = dict(input_size=(64, 48), heatmap_size=(16, 12))
MASK = np.zeros((12, 16), bool)
MASK[2:10, 4:9] = True


@pytest.fixture(scope='module')
def codec(plugin):
    from mmpose_surgical.codecs.mask_augmented_heatmap import MaskAugmentedHeatmap
    return MaskAugmentedHeatmap(**SIZE, sigma=1.0)


def encode(codec, tip=None, mask=MASK):
    keypoints, visible = np.zeros((1, 3, 2), np.float32), np.zeros((1, 3), np.float32)
    if tip:
        keypoints[0, 0], visible[0, 0] = np.array(tip) * 4, 1
    return codec.encode(keypoints, visible, tool_mask=mask)['heatmaps']


def test_values_by_hand(codec):
    tip, anchor = encode(codec, tip=(6, 4))
    assert codec.keypoint_radius == pytest.approx(2.1460, abs=1e-4)  # sqrt(2 ln 10)
    assert tip[4, 6] == 1 and tip[4, 7] == pytest.approx(np.exp(-0.5)) and tip[6, 6] == pytest.approx(np.exp(-2))
    assert tip[7, 6] == np.float32(0.1)  # 3 px away, on the tool: the plateau, not the Gaussian's 0.011
    assert tip[4, 3] == 0 and tip[0, 0] == 0  # off the tool
    np.testing.assert_array_equal(anchor, np.where(MASK, np.float32(0.1), np.float32(0)))  # no anchor: plateau alone
    assert encode(codec, tip=(12, 4))[0, 4, 12] == 1  # off the mask the keypoint region wins


def test_the_plateau_lies_in_the_maps_of_the_action(plugin):
    from mmpose_surgical.codecs.mask_augmented_heatmap import MaskAugmentedHeatmap
    codec = MaskAugmentedHeatmap(**SIZE, sigma=1.0, channels='action_landmark', actions=('clip', 'grasp'))
    points, visible = np.full((1, 3, 2), 24, np.float32), np.array([[1, 0, 0]], np.float32)
    maps = codec.encode(points, visible, tool_mask=MASK, tool_actions=['grasp'])['heatmaps']
    assert [float(m.max()) for m in maps] == pytest.approx([0, 1, 0, 0.1])  # tips of clip, grasp; anchors of them
    idle = codec.encode(points, np.zeros_like(visible), tool_mask=np.zeros_like(MASK), tool_actions=[None])['heatmaps']
    assert not idle.any()


@settings(max_examples=50, deadline=None)
@given(x=st.floats(0, 15), y=st.floats(0, 11), alpha=st.floats(0.02, 0.5))
def test_regions_are_those_of_the_radius_and_the_gate_reads_them(plugin, x, y, alpha):
    from mmpose_surgical.codecs.mask_augmented_heatmap import MaskAugmentedHeatmap
    from mmpose_surgical.models.losses import GatedMSELoss
    codec = MaskAugmentedHeatmap(**SIZE, sigma=1.5, alpha=alpha)
    target = encode(codec, tip=(x, y))[0]
    rows, columns = np.mgrid[:12, :16]
    away = np.hypot(columns - np.float32(x * 4) / 4, rows - np.float32(y * 4) / 4)
    sure = np.abs(away - codec.keypoint_radius) > 1e-3  # float32 decides on the circle itself
    near = away < codec.keypoint_radius
    gate = GatedMSELoss(alpha=alpha, keypoint=10, mask=2, background=1).gate(torch.from_numpy(target)[None, None])
    expected = np.where(near, 10, np.where(MASK, 2, 1))
    np.testing.assert_array_equal(gate[0, 0].numpy()[sure], expected[sure])
    assert (target[~near & ~MASK & sure] == 0).all() and (target[near & sure] >= alpha - 1e-6).all()


def test_loss_by_hand(plugin):
    from mmpose_surgical.models.losses import GatedMSELoss
    loss = GatedMSELoss(alpha=0.1, keypoint=10, mask=3, background=2, loss_weight=0.5)
    target = torch.tensor([[[[1.0, 0.1], [0.0, 0.5]]]])
    output = torch.tensor([[[[0.9, 0.3], [0.1, 0.5]]]])
    # (10 * 0.1)^2 + (3 * 0.2)^2 + (2 * 0.1)^2 + 0, over 4 pixels, halved
    assert loss(output, target, torch.ones(1, 1)).item() == pytest.approx((1 + 0.36 + 0.04) / 8, rel=1e-5)
    assert loss(output, target, torch.zeros(1, 1)).item() == 0


def test_decoding_ignores_the_plateau(codec):
    target = encode(codec, tip=(6, 4))
    keypoints, scores = codec.decode(target)
    assert scores[0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(keypoints[0, 0], [24, 16], atol=0.5)
    assert (keypoints[0, 1:] == 0).all()
    noisy = np.full((2, 12, 16), 0.02, np.float32)
    noisy[0, 5, 5] = 0.1001
    assert codec.decode(noisy)[1][0].tolist() == [pytest.approx(0.1001), 0, 0]


def test_what_is_missing_is_told(codec, plugin):
    from mmpose_surgical.codecs.mask_augmented_heatmap import MaskAugmentedHeatmap
    with pytest.raises(UserError, match='without masks.*LoadToolMask'):
        encode(codec, mask=None)
    with pytest.raises(UserError, match='codec.alpha is 1.0'):
        MaskAugmentedHeatmap(**SIZE, alpha=1.0)
