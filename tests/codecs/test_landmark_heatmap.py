import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmpose_surgical.errors import UserError


@pytest.fixture(scope='module')
def codec(plugin):
    from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
    return LandmarkHeatmap(input_size=(64, 48), heatmap_size=(16, 12), sigma=1.0)


def encode_one(codec, tip1=None, tip2=None, anchor=None, **kwargs):
    points = [tip1, tip2, anchor]
    keypoints = np.array([[p or (0, 0) for p in points]], np.float32)
    return codec.encode(keypoints, np.array([[p is not None for p in points]], np.float32), **kwargs)


def test_gaussian_value_by_hand(codec):
    heatmaps = encode_one(codec, tip1=(20, 16))['heatmaps']  # heatmap pixel (5, 4)
    assert heatmaps.shape == (2, 12, 16)
    assert heatmaps[0, 4, 5] == pytest.approx(1)
    assert heatmaps[0, 4, 6] == pytest.approx(np.exp(-0.5))
    assert heatmaps[0, 6, 6] == pytest.approx(np.exp(-2.5))


def test_absent_landmark_is_a_target_and_unannotated_is_none(codec):
    absent = encode_one(codec, tip1=(20, 16))
    assert absent['heatmaps'][1].max() == 0
    assert absent['keypoint_weights'].tolist() == [[1, 1]]
    ignored = encode_one(codec, tip1=(20, 16), landmark_annotated=np.array([1, 0], np.float32))
    assert ignored['keypoint_weights'].tolist() == [[1, 0]]


def test_point_outside_the_input_is_absent(codec):
    assert encode_one(codec, tip1=(-3, 16))['heatmaps'].max() == 0
    assert encode_one(codec, tip1=(63, 47))['heatmaps'].max() > 0.5


def test_two_tools_share_the_maps(codec):
    keypoints = np.array([[[8, 8], [0, 0], [40, 8]], [[8, 40], [0, 0], [40, 40]]], np.float32)
    visible = np.array([[1, 0, 1], [1, 0, 1]], np.float32)
    heatmaps = codec.encode(keypoints, visible)['heatmaps']
    assert [heatmaps[0, 2, 2], heatmaps[0, 10, 2], heatmaps[1, 2, 10], heatmaps[1, 10, 10]] == pytest.approx([1] * 4)


coordinate = st.tuples(st.floats(12, 51), st.floats(12, 35))


@settings(deadline=None, max_examples=60)
@given(tip=coordinate, anchor=coordinate)
def test_decoding_inverts_encoding_below_a_quarter_of_a_heatmap_pixel(codec, tip, anchor):
    keypoints, scores = codec.decode(encode_one(codec, tip1=tip, anchor=anchor)['heatmaps'])
    assert np.abs(keypoints[0, 0] - tip).max() < 1
    assert np.abs(keypoints[0, 2] - anchor).max() < 1
    assert scores[0, 0] > 0.7 and scores[0, 2] > 0.7


def test_two_tips_fill_slots_by_falling_score_and_a_missing_one_scores_zero(codec):
    heatmaps = encode_one(codec, tip1=(8, 8), tip2=(48, 40))['heatmaps']
    heatmaps[0, :6] *= 0.6
    keypoints, scores = codec.decode(heatmaps)
    assert keypoints[0, 0] == pytest.approx([48, 40], abs=0.5)
    assert keypoints[0, 1] == pytest.approx([8, 8], abs=0.5)
    assert scores[0, 0] == pytest.approx(1, abs=1e-3) and scores[0, 1] == pytest.approx(0.6, abs=1e-3)
    assert scores[0, 2] == 0 and keypoints[0, 2].tolist() == [0, 0]


def test_flat_map_gives_no_point(codec):
    _, scores = codec.decode(np.zeros((2, 12, 16), np.float32))
    assert scores.max() == 0


def test_plateau_gives_one_point(codec):
    maps = np.zeros((2, *codec.heatmap_size[::-1]), np.float32)
    maps[0, 5, 7:9] = 0.8
    assert (codec.decode(maps)[1] > 0).sum() == 1


@given(seed=st.integers(0, 2**32 - 1), smooth=st.floats(0, 2))
@settings(max_examples=100, deadline=None)
def test_points_of_one_type_never_fall_together(plugin, seed, smooth):
    from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
    codec = LandmarkHeatmap(input_size=(64, 48), heatmap_size=(16, 12), sigma=1.0, nms_kernel=3)
    maps = np.random.default_rng(seed).random((2, 12, 16), dtype=np.float32)
    if smooth > 0.3:
        maps = np.stack([cv2.GaussianBlur(channel, (0, 0), smooth) for channel in maps])
    keypoints, scores = codec.decode(maps)
    tips = keypoints[0, :2][scores[0, :2] > 0]
    assert len(tips) < 2 or np.abs(tips[0] - tips[1]).max() >= 4  # a heatmap pixel


def test_maps_that_are_not_finite_are_refused(codec):
    maps = np.zeros((2, *codec.heatmap_size[::-1]), np.float32)
    maps[1, 3, 3] = np.nan
    with pytest.raises(UserError, match='the network has diverged'):
        codec.decode(maps)


@pytest.mark.parametrize('sigma', [1.0, 1.5, 2.0])
@given(start=st.tuples(st.floats(8, 30), st.floats(8, 26)), angle=st.floats(0, 6.28), far=st.floats(3.0, 6.0))
@settings(max_examples=40, deadline=None)
def test_two_near_tips_are_not_pulled_together(plugin, sigma, start, angle, far):
    """Three sigmas apart or more, each decoded tip stays within 0.4 heatmap pixels of its own."""
    from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
    codec = LandmarkHeatmap(input_size=(192, 144), heatmap_size=(48, 36), sigma=sigma, nms_kernel=3)
    tips = np.array([start, np.array(start) + far * sigma * np.array([np.cos(angle), np.sin(angle)])])
    assume(((tips >= 2) & (tips <= [45, 33])).all())
    maps = codec.encode(np.array([[*tips * 4, (0, 0)]], np.float32), np.array([[1, 1, 0]], np.float32))['heatmaps']
    found = codec.decode(maps)[0][0, :2] / 4
    apart = np.linalg.norm(found[:, None] - tips[None], axis=2)
    assert min(max(apart[0, 0], apart[1, 1]), max(apart[0, 1], apart[1, 0])) < 0.4


@pytest.fixture(scope='module')
def per_action(plugin):
    from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
    return LandmarkHeatmap(input_size=(64, 48), heatmap_size=(16, 12), sigma=1.0, channels='action_landmark')


def test_each_action_has_its_own_maps_in_the_order_landmark_then_action(per_action):
    """Channels: tip of clip, grasp, dissect, then anchor of clip, grasp, dissect."""
    keypoints = np.array([[[8, 8], [0, 0], [40, 8]], [[8, 40], [0, 0], [40, 40]]], np.float32)
    encoded = per_action.encode(keypoints, np.array([[1, 0, 1], [1, 0, 1]]), np.array([1, 0], np.float32),
                                ['dissect', 'clip'])
    maps = encoded['heatmaps']
    assert maps.shape == (6, 12, 16) and maps.max((1, 2)).tolist() == [1, 0, 1, 1, 0, 1]
    assert maps[2, 2, 2] == maps[0, 10, 2] == maps[5, 2, 10] == maps[3, 10, 10] == 1
    assert encoded['keypoint_weights'].tolist() == [[1, 1, 1, 0, 0, 0]]


def test_idle_picture_needs_no_action(per_action):
    encoded = per_action.encode(np.zeros((1, 3, 2), np.float32), np.zeros((1, 3)), None, [None])
    assert encoded['heatmaps'].max() == 0 and encoded['keypoint_weights'].tolist() == [[1] * 6]


def test_a_point_that_two_actions_claim_is_decoded_once(per_action, codec):
    maps = np.zeros((6, 12, 16), np.float32)
    peak = encode_one(codec, tip1=(20, 16), tip2=(48, 40))['heatmaps'][0]
    maps[0], maps[1, :7], maps[1, 7:] = 0.5 * peak, 0.9 * peak[:7], 0.2 * peak[7:]
    keypoints, scores = per_action.decode(maps)
    assert scores[0] == pytest.approx([0.9, 0.5, 0], abs=0.01)
    assert keypoints[0, :2] == pytest.approx(np.array([[20, 16], [48, 40]]), abs=0.5)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_which_action_a_map_belongs_to_does_not_matter_to_decoding(per_action, codec, seed):
    rng = np.random.default_rng(seed)
    maps = rng.random((6, 12, 16), dtype=np.float32)
    shuffled = np.concatenate([maps[rng.permutation(3)], maps[3 + rng.permutation(3)]])
    expected = codec.decode(np.stack([maps[:3].max(0), maps[3:].max(0)]))
    for got, wanted in zip(per_action.decode(shuffled), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_action_without_a_channel_and_unknown_kind_of_channels_are_refused(per_action):
    with pytest.raises(UserError, match='does "cut", for which there is no channel.*clip, grasp, dissect'):
        per_action.encode(np.ones((1, 3, 2)), np.ones((1, 3)), None, ['cut'])
    with pytest.raises(UserError, match='codec.channels is tool'):
        type(per_action)((64, 48), (16, 12), channels='tool')
