import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmpose_surgical.baselines.tip_order import tip_order


def ordered(points, visible):
    order = tip_order(np.array([points], float), np.array([visible]))
    assert order.shape == (1, 3)
    return order[0].tolist()


def test_order_by_hand():
    assert ordered([[10, 5], [20, 5], [0, 0]], [1, 1, 1]) == [0, 1, 2]
    assert ordered([[20, 5], [10, 5], [0, 0]], [1, 1, 1]) == [1, 0, 2]
    assert ordered([[10, 9], [10, 5], [0, 0]], [1, 1, 0]) == [1, 0, 2]  # one column: the upper one first
    assert ordered([[0, 0], [30, 5], [0, 0]], [0, 1, 1]) == [1, 0, 2]  # a single tip takes the first slot
    assert ordered([[30, 5], [0, 0], [0, 0]], [1, 0, 1]) == [0, 1, 2]
    assert ordered([[0, 0], [0, 0], [7, 7]], [0, 0, 1])[2] == 2


@given(arrays(float, (3, 2), elements=st.integers(-50, 50)), arrays(int, 3, elements=st.integers(0, 1)))
def test_the_names_that_the_data_gave_the_tips_do_not_matter(points, visible):
    swapped = [1, 0, 2]
    seen = [[(*map(float, p[i]), int(v[i])) for i in ordered(p, v) if v[i]]
            for p, v in ((points, visible), (points[swapped], visible[swapped]))]
    assert seen[0] == seen[1]
