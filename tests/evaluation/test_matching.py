"""Matching by hand, and its laws against brute force."""
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.evaluation.matching import match_groups, match_points, to_canvas


def pairs(gt, pred, tolerance=15.0, protocol='max_pairs'):
    m = match_points(gt, pred, tolerance, protocol)
    return list(zip(m.gt.tolist(), m.pred.tolist()))


def test_one_point_each():
    m = match_points([[10, 10]], [[13, 14]], 15)
    assert (m.gt.tolist(), m.pred.tolist(), m.distance.tolist()) == ([0], [0], [5.0])
    assert pairs([[10, 10]], [[100, 10]]) == []


def test_no_points():
    assert pairs([], []) == pairs([[1, 2]], []) == pairs([], [[1, 2]]) == []


@pytest.mark.parametrize('protocol', ['max_pairs', 'global'])
def test_exactly_at_the_tolerance_matches(protocol):
    assert pairs([[0, 0]], [[9, 12]], 15, protocol) == [(0, 0)]
    assert pairs([[0, 0]], [[9, 12.001]], 15, protocol) == []
    # Two of each, so that the solver is asked.
    assert pairs([[0, 0], [100, 0]], [[9, 12], [100, 15]], 15, protocol) == [(0, 0), (1, 1)]
    assert pairs([[5, 5]], [[5, 5]], 0, protocol) == [(0, 0)]


def test_at_the_tolerance_in_spite_of_rounding():
    # 854 wide pictures on a canvas 640 wide: 15 canvas pixels are 20.015625 picture pixels, which rounds.
    gt, pred = to_canvas([[3.1, 7], [3.1 + 15 * 854 / 640, 7]], (854, 480), (640, 480))
    assert pairs([gt], [pred]) == [(0, 0)]


def test_one_prediction_counts_once():
    assert pairs([[0, 0], [4, 0]], [[1, 0]]) == [(0, 0)]
    assert pairs([[0, 0]], [[5, 0], [3, 0]]) == [(0, 1)]


def test_several_points_take_the_least_total_distance():
    # Straight: 4 + 4 = 8; crossed: 6 + 6 = 12; both make two pairs.
    assert pairs([[0, 0], [10, 0]], [[4, 0], [6, 0]]) == [(0, 0), (1, 1)]
    # Greedy would take gt 1 - pred 0 (1), and leave gt 0 - pred 1 (19) without a match.
    assert pairs([[0, 0], [10, 0]], [[9, 0], [19, 0]]) == [(0, 0), (1, 1)]


def test_most_pairs_beats_least_distance():
    gt, pred = [[0, 0], [0, 14]], [[0, 0], [14.5, 0]]
    # 0-0: 0, 1-1: hypot(14.5, 14) = 20.2 (sum 20.2, one pair); 0-1: 14.5, 1-0: 14 (sum 28.5, two pairs).
    assert pairs(gt, pred, protocol='global') == [(0, 0)]
    assert pairs(gt, pred) == [(0, 1), (1, 0)]
    assert match_points(gt, pred, 15).distance.tolist() == [14.5, 14.0]


def test_global_may_keep_the_worse_of_two_single_pairs():
    gt, pred = [[0, 0], [15, 0]], [[0, 1], [-14, 0]]
    # Only 0-0 (1) and 0-1 (14) are within 15 px, so one pair at most: the nearer one.
    assert pairs(gt, pred) == [(0, 0)]
    # Sums over everything: 0-0 + 1-1 = 1 + 29 = 30; 0-1 + 1-0 = 14 + 15.03 = 29.03, of which 0-1 survives.
    assert pairs(gt, pred, protocol='global') == [(0, 1)]


def test_infinite_tolerance_pairs_everything():
    for protocol in ('max_pairs', 'global'):
        assert pairs([[0, 0], [500, 0]], [[499, 0], [1, 300]], np.inf, protocol) == [(0, 1), (1, 0)]


def test_equal_solutions_do_not_depend_on_the_order():
    # A square: both solutions make two pairs of length 1.
    gt, pred = np.array([[0, 0], [1, 1]]), np.array([[1, 0], [0, 1]])
    forward = {(tuple(gt[g]), tuple(pred[p])) for g, p in pairs(gt, pred)}
    backward = {(tuple(gt[::-1][g]), tuple(pred[::-1][p])) for g, p in pairs(gt[::-1], pred[::-1])}
    assert forward == backward and len(forward) == 2


def test_groups_do_not_mix():
    m = match_groups([[0, 0], [0, 0]], [0, 3], [[1, 0], [2, 0], [3, 0]], [1, 3, 3], 15)
    assert (m.gt.tolist(), m.pred.tolist(), m.distance.tolist()) == ([1], [1], [2.0])


def test_bad_arguments():
    with pytest.raises(ValueError, match='protocol'):
        match_points([[0, 0]], [[0, 0]], 15, 'greedy')
    for tolerance in (-1, math.nan):
        with pytest.raises(ValueError, match='not a distance'):
            match_points([[0, 0]], [[0, 0]], tolerance)


def test_canvas_stretches_each_axis_by_itself():
    # 1280x480 on 640x480: x is halved, y stays. 20 px apart in x are then 10 px, and match.
    mapped = to_canvas([[100, 60], [120, 60]], (1280, 480), (640, 480))
    assert mapped.tolist() == [[50, 60], [60, 60]]
    # 320x960: x doubles, y is halved; a size per point.
    mapped = to_canvas([[10, 10], [10, 10]], [[320, 960], [640, 480]], (640, 480))
    assert mapped.tolist() == [[20, 5], [10, 10]]
    assert to_canvas([[10, 10]], (1280, 480), None).tolist() == [[10, 10]]


points = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=4).map(
    lambda p: np.array(p, dtype=float).reshape(-1, 2))


def brute_force(gt, pred, tolerance):
    """(most pairs, least distance) over all one-to-one assignments."""
    best = (0, 0.0)
    for k in range(1, min(len(gt), len(pred)) + 1):
        for rows in itertools.combinations(range(len(gt)), k):
            for cols in itertools.permutations(range(len(pred)), k):
                d = [math.dist(gt[r], pred[c]) for r, c in zip(rows, cols)]
                if max(d) <= tolerance:
                    best = max(best, (k, -sum(d)))
    return best[0], -best[1]


def all_pairings(gt, pred):
    """Every way to pair as many points as there are on the smaller side, as lists of distances."""
    few, many = sorted((gt, pred), key=len)
    return [[math.dist(p, q) for p, q in zip(few, chosen)] for chosen in itertools.permutations(many, len(few))]


def test_all_small_cases():
    """Every set of up to three points against every other, on five places whose distances are all different."""
    places = [(0, 0), (1, 0), (3, 0.5), (7, 0), (7.3, 4)]
    sets = [np.array(chosen, dtype=float).reshape(-1, 2) for n in range(4)
            for chosen in itertools.combinations(places, n)]
    for gt, pred in itertools.product(sets, sets):
        pred = pred + [0.31, 0.17]
        # The least sum of all pairings is unique up to rounding; the tolerance comes after.
        least = min(all_pairings(gt, pred), key=sum)
        for tolerance in (0.5, 2, 4.4):
            count, total = brute_force(gt, pred, tolerance)
            most = match_points(gt, pred, tolerance)
            assert len(most.gt) == count and most.distance.sum() == pytest.approx(total)
            kept = sorted(d for d in least if d <= tolerance)
            assert sorted(match_points(gt, pred, tolerance, 'global').distance) == pytest.approx(kept)


@settings(max_examples=150, deadline=None)
@given(points, points, st.sampled_from([0, 1, 3, 5, 7.5]))
def test_max_pairs_is_optimal(gt, pred, tolerance):
    m = match_points(gt, pred, tolerance)
    count, total = brute_force(gt, pred, tolerance)
    assert len(m.gt) == count and m.distance.sum() == pytest.approx(total)
    assert len(set(m.gt)) == len(set(m.pred)) == count
    assert m.distance == pytest.approx(np.linalg.norm(gt[m.gt] - pred[m.pred], axis=1))


@settings(max_examples=100, deadline=None)
@given(points, points, st.sampled_from([3, 5, 7.5]))
def test_global_takes_the_least_sum_then_the_tolerance(gt, pred, tolerance):
    everything = match_points(gt, pred, np.inf, 'global')
    assert len(everything.gt) == min(len(gt), len(pred))
    assert everything.distance.sum() == pytest.approx(brute_force(gt, pred, np.inf)[1])
    within = match_points(gt, pred, tolerance, 'global')
    assert within.distance.tolist() == [d for d in everything.distance.tolist() if d <= tolerance]


@settings(max_examples=100, deadline=None)
@given(points, points, st.randoms(use_true_random=False), st.sampled_from(['max_pairs', 'global']))
def test_order_of_the_points_changes_nothing(gt, pred, random, protocol):
    def found(gt, pred):
        m = match_points(gt, pred, 5, protocol)
        return sorted(zip(map(tuple, gt[m.gt]), map(tuple, pred[m.pred])))
    shuffled = [p[random.sample(range(len(p)), len(p))] for p in (gt, pred)]
    assert found(gt, pred) == found(*shuffled)


@settings(max_examples=100, deadline=None)
@given(points, points, st.sampled_from(['max_pairs', 'global']))
def test_a_wider_tolerance_never_loses_pairs(gt, pred, protocol):
    counts = [len(match_points(gt, pred, t, protocol).gt) for t in (0, 1, 2, 4, 8, 16, np.inf)]
    assert counts == sorted(counts) and counts[-1] == min(len(gt), len(pred))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(points, points), max_size=5), st.sampled_from(['max_pairs', 'global']))
def test_groups_equal_one_call_each(frames, protocol):
    def flat(side):
        xy = np.concatenate([np.zeros((0, 2)), *(f[side] for f in frames)])
        return xy, np.repeat(np.arange(len(frames)), [len(f[side]) for f in frames])
    (gt, gt_group), (pred, pred_group) = flat(0), flat(1)
    m = match_groups(gt, gt_group, pred, pred_group, 5, protocol)
    assert (gt_group[m.gt] == pred_group[m.pred]).all()
    for i, (gt_i, pred_i) in enumerate(frames):
        mine, alone = gt_group[m.gt] == i, match_points(gt_i, pred_i, 5, protocol)
        assert gt[m.gt[mine]].tolist() == gt_i[alone.gt].tolist()
        assert pred[m.pred[mine]].tolist() == pred_i[alone.pred].tolist()


def test_no_torch():
    code = ('import sys, mmpose_surgical.evaluation.thresholds, mmpose_surgical.evaluation.summary; '
            'print(sorted({"torch", "mmengine", "mmpose"} & set(sys.modules)))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.strip() == '[]', done.stderr
