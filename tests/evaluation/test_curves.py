"""Curves, average precision, calibration and jitter, by hand."""
import numpy as np
import pytest

from mmpose_surgical.datasets.records import Clip, Video
from mmpose_surgical.evaluation.curves import (
    CURVE_POINTS,
    TOLERANCES,
    average_precision,
    calibration,
    jitter,
    score_curve,
    tolerance_curve,
)
from mmpose_surgical.evaluation.evaluator import Rules, evaluate, match_runs


@pytest.fixture
def matched():
    """``matched(frames, predictions, ..., protocol='global')``: one run per predictions table."""
    def build(frames, *runs, **rules):
        return match_runs(frames, runs, [None] * len(runs), Rules(**rules))
    return build


def test_tolerance_curve(frame, tool, table, matched):
    frames = [frame(1, tool('grasp', tip1=(100, 100), tip2=(300, 100)))]
    pred = table((1, 'tip', 106, 100, 1), (1, 'tip', 300, 120, 1))
    found, counts = tolerance_curve(matched(frames, pred))
    assert found['tolerance'] == list(TOLERANCES) and TOLERANCES[0] == 5 and TOLERANCES[-1] == 30
    assert found['tip'] == [0, .5, .5, .5, .5, .5, 1, 1, 1, 1, 1]
    assert found['anchor'] == [None] * 11
    assert counts.shape == (1, 1, 2, 11, 2) and counts[0, 0, 0, 4].tolist() == [2, 4]
    for tolerance, f1 in zip(found['tolerance'], found['tip']):
        assert evaluate(frames, pred, tolerance=tolerance)['results']['overall']['tip']['f1'] == f1


def test_average_precision(frame, tool, table, matched):
    frames = [frame(1, tool('grasp', tip1=(0, 0))), frame(2, tool('grasp', tip1=(0, 0))),
              frame(3, tool('grasp', tip1=(0, 0), anchor=(9, 9)))]
    pred = table((1, 'tip', 0, 0, .9), (2, 'tip', 90, 0, .8), (2, 'tip', 0, 0, .7), (3, 'tip', 70, 0, .1))
    # Precision 1, 1/2, 2/3, 1/2 at recall 1/3, 1/3, 2/3, 2/3; the third point is never found.
    assert average_precision(matched(frames, pred)) == {'tip': pytest.approx((1 + 2 / 3) / 3), 'anchor': 0.0}
    # Points of one score come together: precision 2/4 at recall 2/3.
    level = table((1, 'tip', 0, 0, .5), (2, 'tip', 90, 0, .5), (2, 'tip', 0, 0, .5), (3, 'tip', 70, 0, .5))
    assert average_precision(matched(frames, level))['tip'] == pytest.approx(2 / 3 / 2)
    assert average_precision(matched([frame(1)], table((1, 'tip', 0, 0, 1))))['tip'] is None


def test_score_curve(frame, tool, table, matched):
    frames = [frame(1, tool('grasp', tip1=(0, 0))), frame(2, tool('grasp', tip1=(0, 0)))]
    curve = score_curve(matched(frames, table((1, 'tip', 0, 0, .9), (2, 'tip', 90, 0, .8), (2, 'tip', 0, 0, .7))))
    assert curve == {'tip': {'score': [.9, .8, .7], 'precision': [1, .5, pytest.approx(2 / 3)], 'recall': [.5, .5, 1],
                             'f1': [pytest.approx(2 / 3), .5, .8]}}  # no anchor is wanted
    many = [(1, 'tip', float(i), 500., i / 1000) for i in range(1000)]
    curve = score_curve(matched(frames, table(*many)))['tip']
    assert len(curve['score']) == CURVE_POINTS and (curve['score'][0], curve['score'][-1]) == (.999, 0)


def test_calibration(frame, tool, table, matched):
    frames = [frame(i, tool('grasp', tip1=(0, 0))) for i in (1, 2, 3, 4)]
    pred = table((1, 'tip', 0, 0, .92), (2, 'tip', 0, 0, .96), (3, 'tip', 90, 0, .98), (4, 'tip', 0, 0, .3),
                 (1, 'anchor', 0, 0, 1.5))
    found = calibration(matched(frames, pred))
    tip = found['tip']
    assert tip['edges'] == pytest.approx(np.arange(11) / 10) and tip['count'] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 3]
    assert tip['precision'][3] == 1 and tip['precision'][9] == 2 / 3 and tip['precision'][0] is None
    assert tip['mean_score'][9] == pytest.approx(2.86 / 3)
    assert tip['ece'] == pytest.approx((.7 + (2.86 - 2)) / 4)
    # A score of 1.5 is no probability.
    assert 'anchor' not in found
    nothing = calibration(matched(frames, table()))['tip']
    assert nothing['ece'] is None and nothing['count'] == [0] * 10
    top = calibration(matched(frames, table((1, 'tip', 0, 0, 1.0), (2, 'tip', 0, 0, 0.0))))['tip']
    assert top['count'] == [1, *[0] * 8, 1]


def test_jitter_is_free_of_motion_and_offset(frame, tool, table, matched):
    # The tool moves by 20 px a frame at 25 fps; a constant error of 3 px is no jitter.
    frames = [frame(i, tool('grasp', tip1=(20 * i, 50))) for i in (1, 2, 3)]
    assert jitter(matched(frames, table(*((i, 'tip', 20 * i + 3, 50, 1) for i in (1, 2, 3))))) == {
        'tip': 0.0, 'anchor': None}
    # Errors (3, 4), (0, 0), (0, 6): changes of 5 and 6.
    shaky = table((1, 'tip', 23, 54, 1), (2, 'tip', 40, 50, 1), (3, 'tip', 60, 56, 1))
    assert jitter(matched(frames, shaky))['tip'] == 5.5
    # A second seed that stands still halves it.
    still = table(*((i, 'tip', 20 * i, 50, 1) for i in (1, 2, 3)))
    assert jitter(matched(frames, shaky, still))['tip'] == pytest.approx(2.75)
    # What one seed found and the next one a frame later is no pair.
    assert jitter(matched(frames, table((1, 'tip', 23, 54, 1)), table((2, 'tip', 40, 50, 1))))['tip'] is None


def test_jitter_needs_two_neighbours_of_a_dense_clip(frame, tool, table, matched):
    def value(frames, *ids):
        return jitter(matched(frames, table(*((i, 'tip', 10 + i % 2, 10, 1) for i in ids))))['tip']
    pair = [tool('grasp', tip1=(10, 10)) for _ in range(3)]
    assert value([frame(1, pair[0]), frame(2, pair[1])], 1, 2) == 1
    # A frame between that is not matched breaks the pair.
    assert value([frame(1, pair[0]), frame(2, pair[1]), frame(3, pair[2])], 1, 3) is None
    # 25 fps: 13 frames are more than half a second, 12 are not.
    assert value([frame(1, pair[0]), frame(14, pair[1])], 1, 14) is None
    assert value([frame(2, pair[0]), frame(13, pair[1])], 2, 13) == 1
    clips = [Clip(n, 1, 0, 9, 'grasp') for n in (1, 2)]
    assert value([frame(1, pair[0], clip=clips[0]), frame(2, pair[1], clip=clips[1])], 1, 2) is None
    sparse = Video(2, 'sparse', fps=25.0)
    assert value([frame(1, pair[0], video=sparse), frame(2, pair[1], video=sparse)], 1, 2) is None
    # Two acting tools of one type cannot be told apart.
    assert value([frame(i, pair[0], tool('grasp', tip1=(300, 10))) for i in (1, 2)], 1, 2) is None


def test_independent_errors_give_the_stated_jitter(frame, tool, table, matched):
    error = np.random.default_rng(0).normal(0, 2, (3000, 2))
    frames = [frame(i, tool('grasp', tip1=(100, 100))) for i in range(3000)]
    pred = table(*((i, 'tip', 100 + x, 100 + y, 1) for i, (x, y) in enumerate(error)))
    assert jitter(matched(frames, pred))['tip'] == pytest.approx(np.sqrt(np.pi) * 2, rel=.03)
