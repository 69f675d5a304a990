import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpose_surgical.errors import UserError
from mmpose_surgical.prediction.smoothing import OneEuroFilter, PointSmoother


def test_one_step_by_hand():
    """At rest: alpha = 1 / (1 + 1 / (2 pi f dt)); the speed passes a filter of 1 Hz and raises the cutoff."""
    smooth = OneEuroFilter(min_cutoff=2., beta=0.5)
    assert smooth([10., 0.], 0.).tolist() == [10., 0.]
    gap = 0.1
    speed = (20 - 10) / gap / (1 + 1 / (2 * math.pi * 1 * gap))
    cutoff = 2 + 0.5 * speed
    expected = 10 + (20 - 10) / (1 + 1 / (2 * math.pi * cutoff * gap))
    assert smooth([20., 0.], gap)[0] == pytest.approx(expected)


@given(st.floats(-1e3, 1e3), st.integers(2, 30))
def test_a_point_at_rest_stays(value, count):
    smooth = OneEuroFilter()
    assert [float(smooth([value], 0.04 * i)[0]) for i in range(count)] == [value] * count


def test_noise_shrinks_and_motion_is_followed():
    rng = np.random.default_rng(0)
    times = np.arange(200) / 25
    still, moving = OneEuroFilter(), OneEuroFilter()
    noise = rng.normal(0, 3, (200, 2))
    found = np.array([still([100., 100.] + n, t) for n, t in zip(noise, times)])
    assert found[50:].std() < 0.5 * noise[50:].std()
    path = np.stack([400 * times, 0 * times], 1)
    lag = path - np.array([moving(xy, t) for xy, t in zip(path, times)])
    assert abs(lag[-1, 0]) < 400 / 25  # less than the way of one frame


def points(*places, landmark='tip'):
    return [dict(landmark=landmark, x=float(x), y=float(y), score=0.9) for x, y in places]


def test_tips_that_swap_their_order_keep_their_tracks():
    smooth = PointSmoother(640)
    smooth(points((100, 100), (200, 100)), 0.)
    for i in range(1, 20):
        a, b = smooth(points((200, 100), (100, 100)), i * 0.04)
        assert (a['x'], a['x_smooth']) == (200, 200) and (b['x'], b['x_smooth']) == (100, 100)


def test_far_late_and_other_points_begin_anew():
    smooth = PointSmoother(640, reach=60, patience=0.25)
    smooth(points((100, 100)), 0.)
    near, = smooth(points((140, 100)), 0.04)
    assert 100 < near['x_smooth'] < 140
    far, = smooth(points((300, 100)), 0.08)
    assert far['x_smooth'] == 300
    other, = smooth(points((302, 100), landmark='anchor'), 0.12)
    assert other['x_smooth'] == 302
    late, = smooth(points((310, 100)), 0.40)
    assert late['x_smooth'] == 310


@given(st.lists(st.lists(st.tuples(st.integers(0, 640), st.integers(0, 480)), max_size=3), max_size=8))
def test_raw_points_are_never_changed_nor_lost(frames):
    smooth = PointSmoother(1280)
    for number, places in enumerate(frames):
        given_points = points(*places)
        found = smooth(given_points, number * 0.04)
        assert [{key: point[key] for key in ('landmark', 'x', 'y', 'score')} for point in found] == points(*places)
        assert given_points == points(*places)
        assert all(math.isfinite(point['x_smooth'] + point['y_smooth']) for point in found)


def test_a_picture_twice_as_large_is_smoothed_alike():
    small, large = PointSmoother(640), PointSmoother(1280)
    for i, x in enumerate((10, 14, 30, 31)):
        a, = small(points((x, 5)), i * 0.04)
        b, = large(points((2 * x, 10)), i * 0.04)
    assert b['x_smooth'] == pytest.approx(2 * a['x_smooth'])


def test_senseless_parameters_are_refused():
    for arguments in ((0.,), (1., -1.), (math.nan,)):
        with pytest.raises(UserError, match='cutoff above 0'):
            PointSmoother(640, *arguments)
