"""The stand-in by colour."""
import cv2
import numpy as np
import pytest

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import PriorFrame
from mmpose_surgical.priors.grabcut import GrabCutPrior
from mmpose_surgical.priors.maker import mask_iou

POINTS = np.array([[245., 203.], [180., 232.]])
BOTH = np.ones(2, np.int64)


def test_it_finds_the_tool_under_the_prompts_and_no_other(picture: np.ndarray, tools: list[np.ndarray]) -> None:
    prior = GrabCutPrior().prior(PriorFrame(picture), POINTS, BOTH)
    assert prior.valid and 0 < prior.iou <= 1
    assert mask_iou(prior, tools[0]) > 0.85
    assert mask_iou(prior, tools[1]) < 0.05


def test_one_prompt_and_an_imprecise_one_are_enough(picture: np.ndarray, tools: list[np.ndarray]) -> None:
    backend = GrabCutPrior()
    embedding = backend.embed(PriorFrame(picture))
    assert mask_iou(backend.predict(embedding, POINTS[:1], BOTH[:1]), tools[0]) > 0.2
    assert mask_iou(backend.predict(embedding, POINTS + [[4., -4.], [-4., 4.]], BOTH), tools[0]) > 0.7


def test_the_result_depends_on_nothing_but_its_input() -> None:
    """Noise leaves the colour clusters open, so that they follow the state of OpenCV's random generator."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, (240, 320, 3)), (0, 0), 20)
    rgb = noise / noise.std() * 40 + (150, 90, 80)
    rgb[90:130, 60:220] = 0.9 * rgb[90:130, 60:220] + 12
    frame = PriorFrame(np.clip(rgb, 0, 255).astype(np.uint8))
    points = np.array([[80., 100.], [200., 120.]])
    backend = GrabCutPrior()
    embedding = backend.embed(frame)
    first = backend.predict(embedding, points, BOTH)
    assert first.mask().any()
    for state in range(1, 4):
        cv2.setRNGSeed(state)
        np.testing.assert_array_equal(backend.predict(embedding, points, BOTH).logits, first.logits)
    np.testing.assert_array_equal(GrabCutPrior().prior(frame, points, BOTH).logits, first.logits)


def test_a_negative_point_is_kept_out(picture: np.ndarray) -> None:
    prior = GrabCutPrior().prior(PriorFrame(picture), np.array([*POINTS, [60., 278.]]), np.array([1, 1, 0]))
    assert prior.mask()[round(203 * 0.3), round(245 * 0.3)]
    assert not prior.mask()[round(278 * 0.3), round(60 * 0.3)]


@pytest.mark.parametrize('shape', [(640, 640), (30, 200), (9, 9)])
@pytest.mark.parametrize('colour', [(0, 0, 0), (128, 128, 128), (180, 60, 50)])
def test_a_picture_without_content_gives_a_prior_and_no_crash(shape: tuple, colour: tuple) -> None:
    frame = PriorFrame(np.full((*shape, 3), colour, np.uint8))
    backend = GrabCutPrior()
    prior = backend.prior(frame, np.array([[0., 0.], [shape[1] - 1, shape[0] - 1]]), BOTH)
    assert prior.logits.shape == backend.grid_shape(frame.size)
    assert np.isfinite(prior.object_score) and 0 <= prior.iou <= 1


def test_bad_options() -> None:
    with pytest.raises(UserError, match='grabcut'):
        GrabCutPrior(iterations=0)
