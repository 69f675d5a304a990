import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmpose_surgical.baselines.tip_order import tip_order


def ordered(points, visible):
    order = tip_order(np.array([points], float), np.array([visible]))
    assert order.shape == (1, 3)
    return order[0].tolist()


def test_the_tip_on_the_left_of_the_way_from_the_anchor_comes_first():
    # y points down: who looks to the right has what is above on the left.
    up, down, left, right = (20, 5), (20, 15), (5, 20), (15, 20)
    assert ordered([up, down, (0, 10)], [1, 1, 1]) == [0, 1, 2]
    assert ordered([down, up, (0, 10)], [1, 1, 1]) == [1, 0, 2]
    assert ordered([up, down, (40, 10)], [1, 1, 1]) == [1, 0, 2]  # looks to the left
    assert ordered([left, right, (10, 40)], [1, 1, 1]) == [0, 1, 2]  # looks up
    assert ordered([left, right, (10, 0)], [1, 1, 1]) == [1, 0, 2]  # looks down


def test_order_by_column_where_there_is_no_side():
    assert ordered([[20, 5], [10, 5], [0, 9]], [1, 1, 0]) == [1, 0, 2]  # no anchor
    assert ordered([[20, 5], [10, 5], [0, 5]], [1, 1, 1]) == [1, 0, 2]  # one line
    assert ordered([[10, 9], [10, 5], [0, 0]], [1, 1, 0]) == [1, 0, 2]  # one column: the upper one first


def test_a_single_tip_takes_the_first_slot():
    assert ordered([[0, 0], [30, 5], [0, 0]], [0, 1, 1]) == [1, 0, 2]
    assert ordered([[30, 5], [0, 0], [0, 0]], [1, 0, 1]) == [0, 1, 2]
    assert ordered([[0, 0], [0, 0], [7, 7]], [0, 0, 1])[2] == 2


POINTS = arrays(float, (3, 2), elements=st.integers(-50, 50))


@given(POINTS, arrays(int, 3, elements=st.integers(0, 1)))
def test_the_names_that_the_data_gave_the_tips_do_not_matter(points, visible):
    swapped = [1, 0, 2]
    seen = [[(*map(float, p[i]), int(v[i])) for i in ordered(p, v) if v[i]]
            for p, v in ((points, visible), (points[swapped], visible[swapped]))]
    assert seen[0] == seen[1]


@given(POINTS, st.floats(0, 360), st.sampled_from([1, -1]))
def test_a_turned_tool_keeps_its_order_and_a_mirrored_one_exchanges_it(points, degrees, mirror):
    (a, b), (c, d) = points[:2] - points[2]
    assume(abs(a * d - b * c) > 1e-6)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    moved = points @ np.array([[cos, sin], [-sin, cos]]) * (mirror, 1)
    assert (ordered(points, [1, 1, 1]) == ordered(moved, [1, 1, 1])) == (mirror == 1)
