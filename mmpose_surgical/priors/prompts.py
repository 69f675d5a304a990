"""From decoded landmarks to point prompts (paper, section 2.2)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import LANDMARKS, SLOTS, landmark_of

if TYPE_CHECKING:
    from mmpose_surgical.datasets.records import Frame
    from mmpose_surgical.priors.store import RecordStore

PROMPT_GRID = 8
"""Prompts lie on multiples of 1/8 px: float noise between two machines changes neither key nor mask."""


JITTER_OPTIONS = ('jitter', 'jitter_px')
"""Entries of a config's ``prior`` that are for training alone."""

PROMPT_OPTIONS = (*JITTER_OPTIONS, 'prompts', 'points')
"""Entries of a config's ``prior`` that are about prompts, not about the backend."""


@dataclass(frozen=True)
class PromptRule:
    """Which points prompt the segmenter: ``prior.prompts`` and ``prior.points`` of a config.

    Args:
        prompts: ``both`` (paper, section 2.2), ``tip`` or ``anchor`` alone. Where the one is missing the other does not
            take its place: there is no prior.
        points: ``coarse``, or ``ground_truth``: the points of all acting tools, in training as in testing. That is an
            oracle, an upper bound and no result, and is labelled so everywhere.

    Raises:
        UserError: One of them is something else.
    """
    prompts: str = 'both'
    points: str = 'coarse'

    def __post_init__(self) -> None:
        for name, allowed in (('prompts', ('both', *LANDMARKS)), ('points', ('coarse', 'ground_truth'))):
            if getattr(self, name) not in allowed:
                raise UserError(f'prior.{name} is {getattr(self, name)}', fix=f'use one of: {", ".join(allowed)}')

    @classmethod
    def of(cls, prior: Mapping[str, Any]) -> PromptRule:
        """The rule of a config's ``prior``, or of the ``prior`` of ``metrics.json``."""
        return cls(prior.get('prompts') or 'both', prior.get('points') or 'coarse')

    @property
    def oracle(self) -> bool:
        """Whether ground truth reaches the prior."""
        return self.points == 'ground_truth'

    @property
    def landmarks(self) -> tuple[str, ...]:
        """The landmark types that prompt."""
        return LANDMARKS if self.prompts == 'both' else (self.prompts, )

    @property
    def content(self) -> dict[str, str]:
        """What differs from the paper's rule, for fingerprints and records."""
        return {name: value for name, value in vars(self).items() if value != getattr(PromptRule, name)}

    @property
    def label(self) -> str:
        """The same in words, for every table, plan and picture; empty for the paper's rule."""
        return ', '.join((['oracle prompts'] if self.oracle else [])
                         + ([f'{self.prompts} prompts only'] if self.prompts != 'both' else []))

    def of_frame(self, frame: Frame, coarse: RecordStore | None,
                 thresholds: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Prompts of a frame, from the store of coarse predictions or, for the oracle, from the frame's own points."""
        size = (frame.width, frame.height)
        if not self.oracle:
            arrays, _ = coarse.get(frame.image_id)
            return prompts_from_points(arrays['keypoints'], arrays['scores'], thresholds, size, self.landmarks)
        return _positive(np.array([(point.x, point.y) for tool in frame.active_tools for point in tool.points
                                   if point.landmark in self.landmarks]), size)


def prior_name(prior: Mapping[str, Any]) -> str:
    """Backend and label of a config's or a record's ``prior``, e.g. ``sam3, oracle prompts``."""
    return ', '.join(filter(None, (prior['backend'], PromptRule.of(prior).label)))


def round_prompts(points_xy: np.ndarray) -> np.ndarray:
    """Round to 1/8 px: float32 (P, 2) -> float32 (P, 2). Rounding twice changes nothing."""
    points = np.asarray(points_xy, np.float64).reshape(-1, 2)
    return (np.floor(points * PROMPT_GRID + 0.5) / PROMPT_GRID).astype(np.float32)


def prompts_from_points(keypoints: np.ndarray, scores: np.ndarray, thresholds: Mapping[str, float],
                        size: tuple[int, int],
                        landmarks: Sequence[str] = LANDMARKS) -> tuple[np.ndarray, np.ndarray]:
    """All tips and the anchor that are sure enough, jointly as positive points.

    A landmark that is missing (score 0, or not finite) or below its threshold is left out and the others are
    used; if none is left there are no prompts, and there is no prior for this picture.

    Args:
        keypoints: (3, 2) in the slots tip1, tip2, anchor; pixels of the original picture.
        scores: (3,).
        thresholds: Least score of a prompt for each landmark type (``tip``, ``anchor``), inclusive.
        size: Width and height of the original picture; points beyond it are moved to its border.
        landmarks: The landmark types that may prompt.

    Returns:
        Points float32 (P, 2) on the 1/8 px grid, and labels int64 (P,), all 1; P may be 0.
    """
    keypoints = np.asarray(keypoints, np.float64).reshape(len(SLOTS), 2)
    scores = np.asarray(scores, np.float64).reshape(len(SLOTS))
    least = np.array([thresholds[landmark_of(name)] for name in SLOTS], np.float64)
    sure = (scores > 0) & (scores >= least) & np.isfinite(keypoints).all(1)
    sure &= [landmark_of(name) in landmarks for name in SLOTS]
    return _positive(keypoints[sure], size)


def _positive(points_xy: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Points as prompts: on the grid, inside the picture, each with label 1."""
    points = round_prompts(points_xy)
    points = np.clip(points, 0, np.array(size, np.float32) - 1).astype(np.float32)
    return points, np.ones(len(points), np.int64)


def jittered_prompts(points_xy: np.ndarray, size: tuple[int, int], image_id: int, count: int,
                     sigma: float) -> list[np.ndarray]:
    """Sets of prompts moved by Gaussian noise, so that a refiner meets priors of prompts that are a little off.

    Args:
        points_xy: (P, 2), pixels of the original picture.
        size: Its width and height.
        image_id: Seeds the noise together with the number of the set: equal in every process and run.
        count: Number of sets.
        sigma: Standard deviation in pixels of a picture 640 wide.

    Returns:
        ``count`` sets, float32 (P, 2) on the 1/8 px grid and inside the picture; none where there is no prompt.
    """
    if not len(points_xy):
        return []
    limit, scale = np.array(size, np.float32) - 1, sigma * size[0] / 640
    return [np.clip(round_prompts(points_xy + scale * np.random.default_rng([abs(image_id), k]).normal(
        size=np.shape(points_xy))), 0, limit).astype(np.float32) for k in range(1, count + 1)]


def distances_to_masks(points_xy: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Distance in px from each point to each mask: float32 (P, M); 0 inside, infinite for an empty mask.

    Args:
        points_xy: (P, 2).
        masks: M bool arrays (H, W).
    """
    points = np.asarray(points_xy).reshape(-1, 2)
    table = np.full((len(points), len(masks)), np.inf, np.float32)
    nearest = np.rint(points).astype(np.int64)  # the pixel that a point lies in
    for column, mask in enumerate(masks):
        if not mask.any():
            continue
        ys, xs = np.nonzero(mask)
        squared = (xs - nearest[:, :1])**2 + (ys - nearest[:, 1:])**2
        table[:, column] = np.sqrt(squared.min(1))
    return table


def straddles(points_xy: np.ndarray, instance_masks: Sequence[np.ndarray], tolerance: float = 8.0,
              slack: float = 2.0) -> bool:
    """Whether the prompts lie on two different tools, so that their joint mask cannot be one tool's.

    A prompt belongs to the nearest mask within ``tolerance`` px, and equally to any other at most ``slack``
    px farther (tools that touch); a prompt near no mask says nothing. The order of the masks does not matter.
    """
    table = distances_to_masks(points_xy, instance_masks)
    if table.size == 0:
        return False
    nearest = table.min(1)
    on_tool = nearest <= tolerance
    candidates = table[on_tool] <= nearest[on_tool, None] + slack
    return bool(on_tool.any() and not candidates.all(0).any())
