"""The seam: quantisation, gate, grid, fingerprints, building by name."""
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import (
    LOGIT_STEP,
    MaskPrior,
    MaskPriorBackend,
    PriorFrame,
    build_backend,
    quality_gate,
    sigmoid_of,
    signed_distance,
    to_int8,
)
from mmpose_surgical.priors.grabcut import GrabCutPrior
from mmpose_surgical.priors.simulated import SimulatedPrior


class Columns(MaskPriorBackend):
    """Marks the grid's columns left of the first prompt; counts its calls."""
    name = 'columns'

    def __init__(self, long_side: int = 192, max_share: float = 0.3) -> None:
        super().__init__(long_side, max_share)
        self.seen: list[Any] = []

    def embed(self, frame: PriorFrame) -> tuple[int, int]:
        self.seen.append(frame.instance_masks)
        return frame.size

    def segment(self, embedding: tuple[int, int], points_xy: np.ndarray,
                labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        rows, columns = self.grid_shape(embedding)
        inside = np.arange(columns) < points_xy[0, 0] * columns / embedding[0]
        return np.tile(np.where(inside, 3., -3.), (rows, 1)), 0.5, 1.


def prior_with(logits: np.ndarray, valid: bool = True) -> MaskPrior:
    return MaskPrior(to_int8(logits), 0.8, 2., valid, np.zeros((1, 2), np.float32), np.ones(1, np.int64))


@given(hnp.arrays(np.float32, 20, elements=st.floats(-100, 100, width=32)))
def test_quantised_logits_keep_mask_and_value(logits: np.ndarray) -> None:
    quantised = to_int8(logits)
    assert quantised.dtype == np.int8
    np.testing.assert_array_equal(quantised > 0, logits > 0)
    error = np.abs(quantised * LOGIT_STEP - np.clip(logits, -127 * LOGIT_STEP, 127 * LOGIT_STEP))
    assert error.max() <= LOGIT_STEP


def test_quantised_values_by_hand() -> None:
    assert to_int8(np.array([0., 0.01, -0.01, 0.1, 1., -1., 50., -50.])).tolist() == [
        0, 1, 0, 2, 16, -16, 127, -127]
    with pytest.raises(ValueError, match='finite'):
        to_int8(np.array([np.nan]))


def test_probability_is_the_sigmoid_of_the_stored_logits() -> None:
    prior = prior_with(np.array([[-1., 0., 2.]]))
    np.testing.assert_allclose(prior.probability(), [[0.26894143, 0.5, 0.88079708]], rtol=1e-6)
    assert prior.probability().dtype == np.float32
    np.testing.assert_array_equal(sigmoid_of(np.int8([-128, 127])) > 0.5, [False, True])
    failed = prior_with(np.full((1, 3), 5.), valid=False)
    np.testing.assert_array_equal(failed.probability(), np.zeros((1, 3)))
    assert not failed.mask().any()


@pytest.mark.parametrize(('inside', 'valid'), [(0, False), (1, True), (30, True), (31, False), (100, False)])
def test_gate_fails_empty_masks_and_those_over_the_share(inside: int, valid: bool) -> None:
    logits = np.full(100, -2.)
    logits[:inside] = 2.
    gated = quality_gate(prior_with(logits.reshape(10, 10)), max_share=0.3)
    assert gated.valid is valid
    assert (gated.logits > 0).sum() == inside


def test_prior_survives_a_record() -> None:
    prior = Columns(long_side=32).prior(PriorFrame(np.zeros((48, 64, 3), np.uint8)), np.array([[7.03, 9.]]), np.ones(1))
    back = MaskPrior.from_record(*prior.to_record())
    np.testing.assert_array_equal(back.logits, prior.logits)
    np.testing.assert_array_equal(back.points_xy, [[7.0, 9.0]])
    assert (back.iou, back.object_score, back.valid) == (0.5, 1., True)


@pytest.mark.parametrize(('size', 'shape'), [((640, 480), (144, 192)), ((854, 480), (108, 192)),
                                             ((480, 640), (192, 144)), ((300, 300), (192, 192))])
def test_grid_keeps_the_aspect(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert Columns().grid_shape(size) == shape


def test_the_gate_is_part_of_predict() -> None:
    backend = Columns()
    frame = PriorFrame(np.zeros((480, 640, 3), np.uint8))
    assert backend.prior(frame, np.array([[100., 5.]]), np.ones(1)).valid
    assert not backend.prior(frame, np.array([[400., 5.]]), np.ones(1)).valid
    assert Columns(max_share=0.9).prior(frame, np.array([[400., 5.]]), np.ones(1)).valid


def test_without_prompts_the_backend_is_not_called() -> None:
    backend = Columns()
    prior = backend.prior(PriorFrame(np.zeros((480, 640, 3), np.uint8)), np.zeros((0, 2)), np.zeros(0))
    assert not prior.valid and prior.logits.shape == (144, 192) and not prior.probability().any()
    assert backend.seen == []
    with pytest.raises(ValueError, match='positive'):
        backend.predict((640, 480), np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(ValueError, match='positive'):
        backend.predict((640, 480), np.ones((1, 2)), np.zeros(1))


def test_a_real_segmenter_never_receives_the_instance_masks() -> None:
    backend = Columns()
    frame = PriorFrame(np.zeros((48, 64, 3), np.uint8), 1, lambda: [])
    backend.prior(frame, np.array([[1., 1.]]), np.ones(1))
    assert backend.seen == [None]


def test_fingerprints_tell_parameters_apart() -> None:
    assert GrabCutPrior().fingerprint == GrabCutPrior().fingerprint
    assert GrabCutPrior().fingerprint.startswith('grabcut-')
    others = {b.fingerprint for b in (GrabCutPrior(), GrabCutPrior(lightness=0.5), GrabCutPrior(long_side=96),
                                      GrabCutPrior(max_share=0.5), SimulatedPrior(), SimulatedPrior(seed=1))}
    assert len(others) == 6


def test_frame_digest_follows_pixels_and_shape() -> None:
    backend, frame = Columns(), np.zeros((4, 6, 3), np.uint8)
    digest = backend.frame_digest(PriorFrame(frame, 1))
    assert backend.frame_digest(PriorFrame(frame.copy(), 2)) == digest
    assert backend.frame_digest(PriorFrame(frame.reshape(6, 4, 3))) != digest
    frame[0, 0, 0] = 1
    assert backend.frame_digest(PriorFrame(frame)) != digest


def test_build_by_name() -> None:
    backend = build_backend(dict(backend='grabcut', iterations=2, max_share=0.4, checkpoint=None))
    assert isinstance(backend, GrabCutPrior) and backend.iterations == 2 and backend.max_share == 0.4
    assert isinstance(build_backend(dict(backend='simulated')), SimulatedPrior)


@pytest.mark.parametrize(('cfg', 'message'), [
    (dict(backend='sam9'), 'no prior backend "sam9".*grabcut.*simulated'),
    (dict(), 'no prior backend "None"'),
    (dict(backend='auto'), 'auto was not resolved'),
    (dict(backend='grabcut', lightnes=0.1), 'no option lightnes.*lightness'),
    (dict(backend='grabcut', max_share=0.), 'max_share'),
])
def test_build_errors_say_what_is_there(cfg: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_backend(cfg)


def test_signed_distance() -> None:
    mask = np.zeros((5, 8), bool)
    mask[:, 4:] = True
    np.testing.assert_allclose(signed_distance(mask)[2], [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5], atol=0.01)
    assert (signed_distance(np.zeros((3, 3), bool)) == -6).all()
    assert (signed_distance(np.ones((3, 3), bool)) == 6).all()


def test_stand_ins_are_named_alike_everywhere(plugin) -> None:
    from mmpose.registry import TASK_UTILS

    from mmpose_surgical.pipeline.config import STAND_INS
    from mmpose_surgical.priors.base import MaskPriorBackend
    backends = [cls for cls in TASK_UTILS.module_dict.values()
                if isinstance(cls, type) and issubclass(cls, MaskPriorBackend) and cls.__module__.startswith('mmpose_')]
    assert {cls.name for cls in backends if cls.stand_in} == set(STAND_INS)
    assert {cls.name for cls in backends} == {'sam3', 'sam2', 'grabcut', 'simulated'}
