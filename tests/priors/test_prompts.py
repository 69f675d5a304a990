"""Rules for prompts (paper, section 2.2)."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.prompts import (
    PromptRule,
    jittered_prompts,
    prior_name,
    prompts_from_points,
    round_prompts,
    straddles,
)

SIZE = (640, 480)
POINTS = np.array([[100.3, 50.06], [120.0, 60.0], [200.0, 90.0]])


def test_all_sure_landmarks_prompt_jointly_as_positive_points() -> None:
    points, labels = prompts_from_points(POINTS, np.array([0.9, 0.8, 0.7]), {'tip': 0.5, 'anchor': 0.5}, SIZE)
    assert points.dtype == np.float32 and labels.dtype == np.int64
    np.testing.assert_array_equal(points, [[100.25, 50.0], [120, 60], [200, 90]])
    assert labels.tolist() == [1, 1, 1]


@pytest.mark.parametrize(('scores', 'kept'), [
    ([0.9, 0.2, 0.35], [0, 2]),   # each landmark type has its own threshold
    ([0.1, 0.6, 0.1], [1]),       # one landmark is enough
    ([0.5, 0.0, 0.3], [0, 2]),    # the threshold is inclusive
    ([0.1, 0.2, 0.1], []),
])
def test_unsure_landmarks_are_left_out(scores: list[float], kept: list[int]) -> None:
    points, labels = prompts_from_points(POINTS, np.array(scores), {'tip': 0.5, 'anchor': 0.3}, SIZE)
    np.testing.assert_array_equal(points, round_prompts(POINTS[kept]))
    assert points.shape == (len(kept), 2) and len(labels) == len(kept)


def test_a_missing_landmark_never_prompts() -> None:
    """Score 0 is how a missing landmark is written, so a threshold of 0 must not let it in."""
    points, _ = prompts_from_points(np.array([[np.nan, 5.], [0, 0], [30, 40]]), np.array([0.9, 0., 0.9]),
                                    {'tip': 0., 'anchor': 0.}, SIZE)
    np.testing.assert_array_equal(points, [[30, 40]])


def test_points_beyond_the_border_move_to_it() -> None:
    points, _ = prompts_from_points(np.array([[-7., 20.], [900., 479.9], [5., 1e9]]), np.ones(3),
                                    {'tip': 0.5, 'anchor': 0.5}, SIZE)
    np.testing.assert_array_equal(points, [[0, 20], [639, 479], [5, 479]])


@given(st.lists(st.tuples(st.floats(-50, 5000), st.floats(-50, 5000)), max_size=4))
def test_rounding_is_idempotent_and_close(values: list[tuple[float, float]]) -> None:
    points = np.array(values).reshape(-1, 2)
    once = round_prompts(points)
    np.testing.assert_array_equal(round_prompts(once), once)
    assert np.abs(once - points).max(initial=0) <= 1 / 16 + 1e-9
    np.testing.assert_array_equal(once * 8, np.rint(once * 8))


def test_straddling(tools: list[np.ndarray]) -> None:
    on_left, on_right, nowhere = [200, 220], [500, 246], [320, 60]
    assert straddles(np.array([on_left, on_right]), tools)
    assert straddles(np.array([on_left, on_right, nowhere]), tools)
    assert not straddles(np.array([on_left, [250, 200]]), tools)
    assert not straddles(np.array([on_left, nowhere]), tools)
    assert not straddles(np.array([nowhere]), tools)
    assert not straddles(np.zeros((0, 2)), tools)
    assert not straddles(np.array([on_left]), [])


def test_straddling_does_not_depend_on_the_order_of_touching_tools() -> None:
    left, right = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    left[:, :20] = True
    right[:, 20:] = True
    seam = np.array([[20.0, 5.0], [10.0, 5.0]])   # on the right tool by a pixel, on the left tool
    assert not straddles(seam, [left, right])
    assert not straddles(seam, [right, left])
    assert straddles(np.array([[30.0, 5.0], [10.0, 5.0]]), [right, left])


@given(values=st.lists(st.tuples(st.floats(0, 639), st.floats(0, 479)), min_size=0, max_size=3),
       image_id=st.integers(-5, 5), count=st.integers(0, 4))
def test_jitter_is_equal_everywhere_and_stays_inside(values, image_id: int, count: int) -> None:
    points = np.array(values, float).reshape(-1, 2)
    sets = jittered_prompts(points, (640, 480), image_id, count, 4.)
    assert len(sets) == (count if len(points) else 0)
    for one, again in zip(sets, jittered_prompts(points, (640, 480), image_id, count, 4.), strict=True):
        np.testing.assert_array_equal(one, again)
        np.testing.assert_array_equal(one * 8, np.rint(one * 8))
        assert one.shape == points.shape and (one >= 0).all() and (one <= [639, 479]).all()


def test_jitter_has_the_spread_that_was_asked_for() -> None:
    point = np.array([[1000., 500.]])
    moved = np.concatenate([jittered_prompts(point, (1280, 960), i, 4, 4.) for i in range(500)]) - point
    assert moved.std() == pytest.approx(8, rel=0.05) and abs(moved.mean()) < 0.5  # 4 px of 640 are 8 of 1280


class Coarse:
    """A store of coarse predictions with one picture."""

    def get(self, image_id: int) -> tuple[dict, dict]:
        return dict(keypoints=POINTS, scores=np.array([0.9, 0.2, 0.7])), {}


@pytest.fixture
def acting():
    """A picture in which the first of two tools acts: coarse points lie elsewhere than its own."""
    from mmpose_surgical.datasets.records import Frame, Point, Tool, Video
    points = [Point('tip', 'tip1', 10.1, 20, 2), Point('tip', 'tip2', 30, 20, 1), Point('anchor', 'anchor', 700, 40, 2)]
    tools = [Tool(1, 'grasper', 'grasp', True, points), Tool(2, 'hook', None, False, points[:1])]
    return Frame(1, 'x', *SIZE, Video(1, 'v'), 0, True, tools=tools)


@pytest.mark.parametrize(('rule', 'expected'), [
    (PromptRule(), [[100.25, 50], [200, 90]]),
    (PromptRule('tip'), [[100.25, 50]]),
    (PromptRule('anchor'), [[200, 90]]),
    (PromptRule('both', 'ground_truth'), [[10.125, 20], [30, 20], [639, 40]]),
    (PromptRule('anchor', 'ground_truth'), [[639, 40]]),
])
def test_rule_of_prompts(acting, rule: PromptRule, expected: list) -> None:
    points, labels = rule.of_frame(acting, Coarse(), {'tip': 0.5, 'anchor': 0.5})
    np.testing.assert_array_equal(points, expected)
    assert labels.tolist() == [1] * len(expected)


def test_missing_tip_is_not_replaced_by_the_anchor(acting) -> None:
    assert len(PromptRule('tip').of_frame(acting, Coarse(), {'tip': 0.95, 'anchor': 0.5})[0]) == 0


def test_oracle_has_no_prompt_where_nothing_acts(acting) -> None:
    for tool in acting.tools:
        tool.active = False
    assert PromptRule(points='ground_truth').of_frame(acting, Coarse(), {})[0].shape == (0, 2)


@pytest.mark.parametrize(('prior', 'content', 'name'), [
    (dict(), {}, 'sam3'),
    (dict(prompts='both', points='coarse'), {}, 'sam3'),
    (dict(prompts='tip'), dict(prompts='tip'), 'sam3, tip prompts only'),
    (dict(points='ground_truth'), dict(points='ground_truth'), 'sam3, oracle prompts'),
])
def test_rule_is_content_and_label_only_where_it_is_not_the_papers(prior: dict, content: dict, name: str) -> None:
    assert PromptRule.of(prior).content == content and prior_name(dict(prior, backend='sam3')) == name


@pytest.mark.parametrize(('prior', 'message'), [
    (dict(prompts='shaft'), 'prior.prompts is shaft.*both, tip, anchor'),
    (dict(points='gt'), 'prior.points is gt.*coarse, ground_truth')])
def test_unknown_rule_is_refused(prior: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PromptRule.of(prior)


def test_live_prior_keeps_to_the_rule(plugin) -> None:
    from mmpose_surgical.apis.mask_prior import LiveMaskPrior
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    live = LiveMaskPrior(dict(backend='grabcut', prompts='anchor'), dict(tip=0.5, anchor=0.5))
    made = live(picture, np.array([[10., 10.], [0, 0], [40., 20.]]), np.array([0.9, 0, 0.9]))
    np.testing.assert_array_equal(made.points_xy, [[40, 20]])
    with pytest.raises(UserError, match='no ground-truth points for oracle prompts'):
        LiveMaskPrior(dict(backend='grabcut', points='ground_truth'), {})
