"""A stand-in for SAM 3 on generated pictures: the renderer's masks, made as imperfect as a segmenter's."""
import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmpose.registry import TASK_UTILS

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPriorBackend, PriorFrame, signed_distance
from mmpose_surgical.priors.prompts import distances_to_masks


@dataclass(frozen=True)
class _Embedding:
    masks: list[np.ndarray]
    size: tuple[int, int]
    seed: bytes


@TASK_UTILS.register_module(name='simulated')
class SimulatedPrior(MaskPriorBackend):
    """The instances under the prompts, with boundary noise and failures (a stand-in; not a segmenter).

    It knows the masks of **all** instances alike and nothing of who acts: neither points, actions, the active
    flag nor the order of the tools can change its result. A prompt takes the nearest mask within ``reach``;
    prompts on two tools give their union, prompts on none a blob around them. The noise is drawn from the
    picture's id and the prompts, so that a prior made alone equals the same prior made in a batch.

    Args:
        reach: Farthest distance in px of a prompt from the mask that it takes.
        boundary: Standard deviation in px of the boundary noise: lower and upper end of its range.
        missing_rate: Share of priors of which a part is missing (the jaws, or the shaft).
        leak_rate: Share of priors that leak into the neighbourhood.
        empty_rate: Share of priors that come out empty.
        wrong_rate: Share of priors that show another instance, where there is one.
        merged_rate: Share of priors that show another instance too.
        shaft_rate: Share of priors of which the half around the prompts is missing: the shaft alone.
        seed: Another seed gives other noise.
    """
    name = 'simulated'
    stand_in = True
    reads_instance_masks = True

    def __init__(self, reach: float = 12., boundary: tuple[float, float] = (1., 3.),
                 missing_rate: float = 0.08, leak_rate: float = 0.06, empty_rate: float = 0.02,
                 wrong_rate: float = 0., merged_rate: float = 0., shaft_rate: float = 0., seed: int = 0,
                 long_side: int = 192, max_share: float = 0.3) -> None:
        super().__init__(long_side, max_share)
        rates = (missing_rate, leak_rate, empty_rate, wrong_rate, merged_rate, shaft_rate)
        if min(rates) < 0 or sum(rates) > 1:
            raise UserError(f'the failure rates of the simulated prior are {rates}',
                            fix='use shares that sum to at most 1')
        self.reach = reach
        self.boundary = (float(boundary[0]), float(boundary[1]))
        self.rates = dict(zip(('missing', 'leak', 'empty', 'wrong', 'merged', 'shaft'), rates, strict=True))
        self.seed = seed

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {
            'reach': self.reach, 'boundary': list(self.boundary), 'seed': self.seed,
            **{f'{name}_rate': rate for name, rate in self.rates.items()}}

    def frame_digest(self, frame: PriorFrame) -> bytes:
        return super().frame_digest(frame) + _seed_of(frame)

    def embed(self, frame: PriorFrame) -> _Embedding:
        """Read the masks.

        Raises:
            UserError: The picture has none, which is so for every picture that was not generated.
        """
        if frame.instance_masks is None:
            raise UserError("the simulated stand-in needs the synthetic data set's masks",
                            f'image {frame.image_id}', 'name another backend: prior.backend=grabcut|sam3')
        masks = [np.asarray(mask, bool) for mask in frame.instance_masks()]
        width, height = frame.size
        if any(mask.shape != (height, width) for mask in masks):
            raise UserError(f'an instance mask is not {width}x{height} like its picture',
                            f'image {frame.image_id}', 'make the data set again')
        return _Embedding(masks, frame.size, _seed_of(frame))

    def segment(self, embedding: _Embedding, points_xy: np.ndarray,
                labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        positive = points_xy[labels == 1]
        rng = self._random(embedding.seed, points_xy, labels)
        truth = self._under(positive, embedding)
        found = truth is not None
        mask = truth if found else _blob(positive, embedding.size, rng)
        failure = self._failure(rng.random()) if found else None
        if failure == 'missing':
            mask = _without_part(mask, rng)
        elif failure == 'leak':
            mask = mask | _leak(mask, rng)
        elif failure == 'shaft':
            mask = _shaft_alone(mask, positive)
        elif failure in ('wrong', 'merged') and (other := _another(mask, embedding.masks, rng)) is not None:
            mask = other if failure == 'wrong' else mask | other

        distance = self._on_grid(mask, embedding.size)
        noise = _smooth_noise(distance.shape, rng) * rng.uniform(*self.boundary)
        # About the width of the uncertain seam that a segmenter leaves at a 288-cell mask: 2-3 px of 640.
        logits = (distance + noise) / 1.5
        if failure == 'empty':
            logits = np.minimum(logits, 0) - 3

        wanted = self._on_grid(truth, embedding.size) > 0 if found else np.zeros(logits.shape, bool)
        union = np.logical_or(wanted, logits > 0).sum()
        overlap = float(np.logical_and(wanted, logits > 0).sum() / union) if union else 0.
        iou = float(np.clip(overlap + rng.normal(0, 0.05), 0, 1))
        return logits, iou, float((6. if found and (logits > 0).any() else -2.) + rng.normal(0, 1))

    def _failure(self, draw: float) -> str | None:
        """Which failure a number in [0, 1) stands for."""
        for name, end in zip(self.rates, np.cumsum(list(self.rates.values())), strict=True):
            if draw < end:
                return name
        return None

    def _under(self, positive: np.ndarray, embedding: _Embedding) -> np.ndarray | None:
        """Union of the instances that the prompts take, or ``None``."""
        if not embedding.masks or not len(positive):
            return None
        table = distances_to_masks(positive, embedding.masks)
        nearest = table.min(1, keepdims=True)
        # All masks at equally small distance are taken: picking one would depend on the order of the tools.
        taken = ((table == nearest) & (nearest <= self.reach)).any(0)
        if not taken.any():
            return None
        return np.logical_or.reduce([mask for mask, take in zip(embedding.masks, taken, strict=True) if take])

    def _on_grid(self, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Signed distance in px of the original picture, on the logit grid."""
        return self.to_grid(np.clip(signed_distance(mask), -50, 50), size)

    def _random(self, seed: bytes, points_xy: np.ndarray, labels: np.ndarray) -> np.random.Generator:
        digest = hashlib.sha256(seed + points_xy.astype('<f4').tobytes() + labels.astype('<i8').tobytes()
                                + str(self.seed).encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, '<u4').tolist())


def _seed_of(frame: PriorFrame) -> bytes:
    """The picture's id, or its pixels where it has none."""
    if frame.image_id is not None:
        return f'image {frame.image_id}'.encode()
    return hashlib.sha256(np.ascontiguousarray(frame.rgb).data).digest()


def _smooth_noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Low-frequency noise of about unit variance: two octaves, 1/8 and 1/24 of the longer side wide."""
    total = np.zeros(shape, np.float64)
    for cells, weight in ((8, 0.7), (24, 0.7)):
        step = max(shape) / cells
        coarse = rng.standard_normal((int(np.ceil(shape[0] / step)) + 1, int(np.ceil(shape[1] / step)) + 1))
        total += weight * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return total


def _without_part(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut the mask across its longer axis and keep one piece: the jaws alone, or the shaft alone."""
    rows, columns = np.nonzero(mask)
    centred = np.stack([columns - columns.mean(), rows - rows.mean()])
    axis = np.linalg.eigh(centred @ centred.T)[1][:, 1]
    # The sign of an eigenvector is arbitrary.
    along = centred.T @ (axis * (1 if axis[np.abs(axis).argmax()] > 0 else -1))
    cut = np.quantile(along, rng.uniform(0.25, 0.75))
    keep = along >= cut if rng.random() < 0.5 else along < cut
    part = np.zeros_like(mask)
    part[rows[keep], columns[keep]] = True
    return part


def _shaft_alone(mask: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The half of the mask that lies farther from the prompts, which are at the working end."""
    rows, columns = np.nonzero(mask)
    away = np.hypot(columns - positive[:, 0].mean(), rows - positive[:, 1].mean())
    far = away > np.median(away)
    part = np.zeros_like(mask)
    part[rows[far], columns[far]] = True
    return part


def _another(mask: np.ndarray, masks: list[np.ndarray], rng: np.random.Generator) -> np.ndarray | None:
    """An instance that is no part of the mask, ``None`` where there is none."""
    others = [other for other in masks if other.any() and not (other & mask).any()]
    # By size and place, not by the order of the tools, of which nothing may depend.
    others.sort(key=lambda other: (int(other.sum()), other.tobytes()))
    return others[int(rng.integers(len(others)))] if others else None


def _leak(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An ellipse of 20-60 px radius at a random place of the mask's boundary."""
    edge = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(bool)
    rows, columns = np.nonzero(edge if edge.any() else mask)
    index = rng.integers(len(rows))
    scale = max(mask.shape) / 640
    radii = (rng.uniform(20, 60, 2) * scale).astype(int) + 1
    return _ellipse(mask.shape, (columns[index], rows[index]), radii, rng.uniform(0, 180))


def _blob(points_xy: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What a segmenter finds where there is no tool: a small patch around each prompt."""
    shape = size[::-1]
    blob = np.zeros(shape, bool)
    for point in points_xy:
        radii = (rng.uniform(8, 24, 2) * max(shape) / 640).astype(int) + 1
        blob |= _ellipse(shape, np.rint(point).astype(int), radii, rng.uniform(0, 180))
    return blob


def _ellipse(shape: tuple[int, int], centre: Any, radii: np.ndarray, angle: float) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    centre, radii = [int(v) for v in centre], [int(v) for v in radii]
    cv2.ellipse(canvas, centre, radii, float(angle), 0, 360, 1, -1)
    return canvas.astype(bool)
