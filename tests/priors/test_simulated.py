"""The stand-in from the renderer's masks: what it may know, and how it fails."""
from pathlib import Path

import numpy as np
import pytest

from mmpose_surgical.datasets.records import Tool
from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPrior, PriorFrame
from mmpose_surgical.priors.maker import mask_iou
from mmpose_surgical.priors.simulated import SimulatedPrior

ON_LEFT, ON_RIGHT, NOWHERE = [200., 220.], [500., 246.], [320., 60.]
BLANK = np.zeros((480, 640, 3), np.uint8)
SURE = dict(missing_rate=0., leak_rate=0., empty_rate=0.)


def run(backend: SimulatedPrior, masks: list[np.ndarray], points: list, image_id: int = 7) -> MaskPrior:
    return backend.prior(PriorFrame(BLANK, image_id, lambda: masks), np.array(points), np.ones(len(points), np.int64))


def assert_same(one: MaskPrior, other: MaskPrior) -> None:
    np.testing.assert_array_equal(one.logits, other.logits)
    assert (one.iou, one.object_score, one.valid) == (other.iou, other.object_score, other.valid)


def test_the_tool_under_the_prompts(tools: list[np.ndarray]) -> None:
    prior = run(SimulatedPrior(**SURE), tools, [ON_LEFT, [250., 200.]])
    assert prior.valid and prior.object_score > 0
    assert 0.7 < mask_iou(prior, tools[0]) < 1
    assert abs(prior.iou - mask_iou(prior, tools[0])) < 0.25


def test_prompts_on_two_tools_give_their_union(tools: list[np.ndarray]) -> None:
    prior = run(SimulatedPrior(**SURE), tools, [ON_LEFT, ON_RIGHT])
    assert mask_iou(prior, tools[0] | tools[1]) > 0.7
    assert mask_iou(prior, tools[0]) < 0.65


def test_a_prompt_reaches_a_little_beyond_the_outline(tools: list[np.ndarray]) -> None:
    above = np.flatnonzero(tools[0][:, 200])[0]
    assert mask_iou(run(SimulatedPrior(**SURE), tools, [[200., above - 8.]]), tools[0]) > 0.7
    assert mask_iou(run(SimulatedPrior(**SURE), tools, [[200., above - 25.]]), tools[0]) < 0.1


def test_prompts_on_no_tool_are_a_failed_segmentation(tools: list[np.ndarray]) -> None:
    prior = run(SimulatedPrior(**SURE), tools, [NOWHERE])
    assert 0 < prior.mask().mean() < 0.02
    assert prior.mask()[round(60 * 0.3), round(320 * 0.3)]
    assert prior.iou < 0.3 and mask_iou(prior, tools[0] | tools[1]) == 0
    assert run(SimulatedPrior(**SURE), [], [NOWHERE]).iou < 0.3


def test_the_order_of_the_instances_changes_no_bit(tools: list[np.ndarray]) -> None:
    seam = [320., 240.]
    for points in ([ON_LEFT], [ON_LEFT, ON_RIGHT], [NOWHERE], [seam]):
        for image_id in range(4):
            assert_same(run(SimulatedPrior(), tools, points, image_id),
                        run(SimulatedPrior(), tools[::-1], points, image_id))


def test_a_prompt_as_near_to_two_tools_takes_both_in_any_order() -> None:
    left, right = np.zeros((480, 640), bool), np.zeros((480, 640), bool)
    left[100:200, 50:150] = True
    right[100:200, 161:261] = True    # columns 149 and 161 are both 6 px from column 155
    prior = run(SimulatedPrior(**SURE), [left, right], [[155., 150.]])
    assert mask_iou(prior, left | right) > 0.7
    assert_same(prior, run(SimulatedPrior(**SURE), [right, left], [[155., 150.]]))


def test_swapping_the_active_flag_changes_no_bit() -> None:
    """The masks come from tools in which only the flag and the action differ."""
    def frame(active: int) -> PriorFrame:
        polygons = ([[0, 290, 240, 190, 260, 210, 0, 315]], [[639, 140, 370, 325, 390, 345, 639, 165]])
        acting = [i == active for i in range(2)]
        listed = [Tool(i, 'grasper', 'grasp' if acts else None, acts, [], [list(map(float, polygon[0]))])
                  for i, (polygon, acts) in enumerate(zip(polygons, acting, strict=True))]
        return PriorFrame(BLANK, 3, lambda: [tool.mask(480, 640) for tool in listed])

    backend, points = SimulatedPrior(), np.array([ON_LEFT, [250., 200.]])
    assert_same(*(backend.prior(frame(active), points, np.ones(2, np.int64)) for active in (0, 1)))


def test_alone_or_in_a_batch_in_any_order_it_is_the_same(tools: list[np.ndarray]) -> None:
    backend = SimulatedPrior()
    frames = [PriorFrame(BLANK, i, lambda: tools) for i in range(5)]
    points = [np.array([ON_LEFT])] * 5
    labels = [np.ones(1, np.int64)] * 5
    together = backend.predict_batch(backend.embed_batch(frames), points, labels)
    for i in (4, 2, 0):
        assert_same(SimulatedPrior().prior(frames[i], points[i], labels[i]), together[i])


def test_noise_differs_between_pictures_prompts_and_seeds(tools: list[np.ndarray]) -> None:
    backend = SimulatedPrior(**SURE)
    reference = run(backend, tools, [ON_LEFT])
    for other in (run(backend, tools, [ON_LEFT], image_id=8), run(backend, tools, [[200.125, 220.]]),
                  run(SimulatedPrior(**SURE, seed=1), tools, [ON_LEFT])):
        assert (other.logits != reference.logits).any()


def test_failures_come_at_their_rates_and_again_in_the_same_places(tools: list[np.ndarray]) -> None:
    small = [mask[::8, ::8] for mask in tools]
    blank = BLANK[::8, ::8]

    def overlaps(backend: SimulatedPrior) -> np.ndarray:
        frames = [PriorFrame(blank, i, lambda: small) for i in range(400)]
        return np.array([mask_iou(backend.prior(f, np.array([[25., 27.5]]), np.ones(1)), small[0]) for f in frames])

    # At 1/8 of the size the boundary noise is scaled likewise, so that only failures lower the overlap.
    options = dict(boundary=(0.05, 0.1), long_side=80, max_share=1.)
    empty = overlaps(SimulatedPrior(**options, missing_rate=0., leak_rate=0., empty_rate=0.1)) == 0
    assert 20 <= empty.sum() <= 60     # 40 expected, standard deviation 6
    np.testing.assert_array_equal(
        empty, overlaps(SimulatedPrior(**options, missing_rate=0., leak_rate=0., empty_rate=0.1)) == 0)
    missing = overlaps(SimulatedPrior(**options, missing_rate=0.2, leak_rate=0., empty_rate=0.)) < 0.8
    assert 56 <= missing.sum() <= 104  # 80 expected, standard deviation 8


def test_a_leak_adds_and_a_missing_part_takes_away(tools: list[np.ndarray]) -> None:
    kwargs = dict(boundary=(0.01, 0.02))
    leak = run(SimulatedPrior(**SURE | dict(leak_rate=1.), **kwargs), tools, [ON_LEFT])
    part = run(SimulatedPrior(**SURE | dict(missing_rate=1.), **kwargs), tools, [ON_LEFT])
    whole = run(SimulatedPrior(**SURE, **kwargs), tools, [ON_LEFT])
    assert (leak.logits > 0).sum() > 1.05 * (whole.logits > 0).sum()
    assert 0.2 < (part.logits > 0).sum() / (whole.logits > 0).sum() < 0.8
    assert not run(SimulatedPrior(**SURE | dict(empty_rate=1.)), tools, [ON_LEFT]).valid


def test_pictures_without_masks_are_refused() -> None:
    with pytest.raises(UserError, match='image 5.*prior.backend=grabcut'):
        SimulatedPrior().prior(PriorFrame(BLANK, 5), np.array([ON_LEFT]), np.ones(1))
    with pytest.raises(UserError, match='is not 640x480'):
        run(SimulatedPrior(), [np.zeros((10, 10), bool)], [ON_LEFT])
    with pytest.raises(UserError, match='rates'):
        SimulatedPrior(missing_rate=0.9, leak_rate=0.2)


def test_prior_of_a_real_record_does_not_depend_on_who_acts(toy_data: Path) -> None:
    """Through the pipeline's own reader: the annotations with the active flags swapped give the same prior."""
    from mmpose_surgical.datasets.annotations import load_annotations
    from mmpose_surgical.pipeline.prompting import load_prior_frame
    annotations = load_annotations(toy_data)
    frame = next(f for f in annotations.frames if f.active_tools)
    points = np.array([[p.x, p.y] for p in frame.active_tools[0].points])

    def prior() -> MaskPrior:
        return SimulatedPrior().prior(load_prior_frame(frame, toy_data), points, np.ones(len(points), np.int64))

    before = prior()
    for tool in frame.tools:
        tool.active, tool.action = not tool.active, None if tool.active else 'grasp'
    frame.tools.reverse()
    assert_same(before, prior())


@pytest.mark.parametrize('failure, expected', [
    ('wrong', lambda own, other, far: other), ('merged', lambda own, other, far: own | other),
    ('shaft', lambda own, other, far: own & far)])
def test_failures_of_the_bench(plugin, failure, expected) -> None:
    """Two bars, prompted at the left end of the upper one."""
    own, other = np.zeros((48, 64), bool), np.zeros((48, 64), bool)
    own[8:16, 4:60] = True
    other[32:40, 4:60] = True
    far = np.arange(64)[None] > 31
    options = dict(missing_rate=0., leak_rate=0., empty_rate=0., boundary=(0., 0.), long_side=64, max_share=0.9)
    points = np.array([[5., 12.]], np.float32)
    frame = PriorFrame(np.zeros((48, 64, 3), np.uint8), 1, lambda: [other, own])
    clean, failed = (SimulatedPrior(**options, **rates).prior(frame, points, np.ones(1, np.int64)).mask()
                     for rates in ({}, {f'{failure}_rate': 1.}))
    np.testing.assert_array_equal(clean, own)
    wanted = expected(own, other, far)
    assert (failed & wanted).sum() / (failed | wanted).sum() > 0.95
    alone = PriorFrame(np.zeros((48, 64, 3), np.uint8), 1, lambda: [own])
    if failure != 'shaft':  # no other instance to take
        found = SimulatedPrior(**options, **{f'{failure}_rate': 1.}).prior(alone, points, np.ones(1, np.int64))
        np.testing.assert_array_equal(found.mask(), own)
