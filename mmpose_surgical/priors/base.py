"""The seam of the mask prior M^c (paper, section 2.2): a promptable segmenter behind two methods.

To add a backend, subclass :class:`MaskPriorBackend` in one new file, register the class in MMPose's
``TASK_UTILS`` under the name that configs will use, and have that file imported (``plugin.py`` or
``custom_imports``).
"""
import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cv2
import numpy as np

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.prompts import PROMPT_GRID, PROMPT_OPTIONS, round_prompts

LOGIT_STEP = 1 / 16
"""Logits are stored as int8 multiples of this: +-7.9 at most, a sigmoid within 0.0004 of 0 or 1."""


LONG_SIDE = 192
"""Cells along the longer side of the logit grid, by default."""

MAX_SHARE = 0.3
"""Of the picture, that a mask may cover, by default; see :func:`quality_gate`."""


def grid_shape(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(h, w) of a grid over a picture of (width, height) with so many cells along the longer side."""
    width, height = size
    scale = long_side / max(width, height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def to_int8(logits: np.ndarray) -> np.ndarray:
    """Quantise logits, saturating at +-127 steps; the sign, and with it the mask, survives.

    Args:
        logits: Float array of any shape, finite.

    Returns:
        int8 array of the same shape. A logit strictly above 0 stays above 0: a mask is ``logits > 0``.
    """
    logits = np.asarray(logits)
    if not np.isfinite(logits).all():
        raise ValueError('mask logits are not finite')
    steps = np.clip(np.rint(logits / LOGIT_STEP), -127, 127)
    return np.where((logits > 0) & (steps == 0), 1, steps).astype(np.int8)


def sigmoid_of(quantised: np.ndarray) -> np.ndarray:
    """M^c of stored int8 logits: float32 in (0, 1), same shape."""
    steps = np.arange(-128, 128, dtype=np.float64) * LOGIT_STEP
    return (1 / (1 + np.exp(-steps))).astype(np.float32)[quantised.astype(np.int16) + 128]


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel's centre to the outline of a bool (H, W) mask, in px, float32; inside positive.

    Pixels on either side of the outline are at +-0.5. Where there is no outline the distance is +-(H + W).
    """
    inside = np.ascontiguousarray(mask, np.uint8)
    if inside.all() or not inside.any():
        return np.full(mask.shape, sum(mask.shape) * (1 if inside.all() else -1), np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    distance = within - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return distance - 0.5 * np.sign(distance)


@dataclass(frozen=True)
class PriorFrame:
    """A picture to segment.

    Args:
        rgb: uint8 (H, W, 3), the original picture.
        image_id: Its id in the annotation file.
        instance_masks: Gives the bool (H, W) masks of **all** instances in the picture, in any order.
            Statistics may call it; of the backends only those with ``reads_instance_masks`` ever receive it.
    """
    rgb: np.ndarray
    image_id: int | None = None
    instance_masks: Callable[[], list[np.ndarray]] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


@dataclass(frozen=True)
class MaskPrior:
    """Mask logits for one set of prompts.

    Args:
        logits: int8 (h, w) in steps of ``LOGIT_STEP``, stretched over the whole original picture.
        iou: The backend's own estimate of the overlap with the true mask, 0 to 1.
        object_score: Logit of "there is an object under the prompts".
        valid: False for a failed prior, and where there was nothing to prompt with.
        points_xy: float32 (P, 2), pixels of the original picture.
        labels: int64 (P,), 1 positive, 0 negative.
    """
    logits: np.ndarray
    iou: float
    object_score: float
    valid: bool
    points_xy: np.ndarray
    labels: np.ndarray

    def probability(self) -> np.ndarray:
        """M^c as the refiner sees it: float32 (h, w), all zeros for a prior that is not valid."""
        return sigmoid_of(self.logits) if self.valid else np.zeros(self.logits.shape, np.float32)

    def mask(self) -> np.ndarray:
        """Bool (h, w); empty for a prior that is not valid."""
        return (self.logits > 0) & self.valid

    def to_record(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and scalars for :meth:`RecordStore.put`."""
        return ({'logits': self.logits, 'points_xy': self.points_xy, 'labels': self.labels},
                {'iou': self.iou, 'object_score': self.object_score, 'valid': self.valid})

    @classmethod
    def from_record(cls, arrays: dict[str, np.ndarray], scalars: dict[str, Any]) -> 'MaskPrior':
        """The inverse of :meth:`to_record`."""
        return cls(arrays['logits'], float(scalars['iou']), float(scalars['object_score']),
                   bool(scalars['valid']), arrays['points_xy'], arrays['labels'])


def quality_gate(prior: MaskPrior, max_share: float = MAX_SHARE) -> MaskPrior:
    """Mark an empty mask, and one over more than ``max_share`` of the picture, as a failed prior.

    The logits are kept for inspection; ``valid=False`` makes the refiner see zeros and drops the auxiliary
    target.
    """
    share = float((prior.logits > 0).mean())
    return prior if 0 < share <= max_share else replace(prior, valid=False)


class MaskPriorBackend(ABC):
    """A promptable segmenter: embed a picture once, prompt it as often as needed.

    Subclasses write :meth:`embed` and :meth:`segment`, and the batched forms where these are faster. Callers
    use :meth:`embed` and :meth:`predict`, or :meth:`prior` for one picture.

    Args:
        long_side: Cells along the longer side of the logit grid; the grid keeps the picture's aspect.
        max_share: See :func:`quality_gate`.
    """
    name: ClassVar[str]
    version: ClassVar[str] = '1'
    """Raise it whenever the same parameters begin to give other logits."""
    stand_in: ClassVar[bool] = False
    """True for what merely takes the place of a real segmenter; every output names it."""
    reads_instance_masks: ClassVar[bool] = False
    batch_size: int = 8
    """Pictures that are embedded together when a store is filled."""

    def __init__(self, long_side: int = LONG_SIDE, max_share: float = MAX_SHARE) -> None:
        if long_side < 8:
            raise UserError(f'prior.long_side is {long_side}', fix='use at least 8, by default 192')
        if not 0 < max_share <= 1:
            raise UserError(f'prior.max_share is {max_share}', fix='use a share in (0, 1], by default 0.3')
        self.long_side = long_side
        self.max_share = max_share

    def parameters(self) -> dict[str, Any]:
        """Whatever changes the logits, as JSON values. Extend it in subclasses (weights: their hash)."""
        return {'long_side': self.long_side, 'max_share': self.max_share}

    @property
    def fingerprint(self) -> str:
        """``<name>-<hash of version and parameters>``."""
        text = json.dumps([self.version, LOGIT_STEP, PROMPT_GRID, self.parameters()], sort_keys=True)
        return f'{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}'

    def check(self) -> None:  # noqa: B027  (most have nothing to check)
        """Whatever can be found wrong before hours are spent on what comes before the priors: packages, weights.

        Raises:
            UserError: The backend cannot run.
        """

    def frame_digest(self, frame: PriorFrame) -> bytes:
        """Identifies what this backend sees of a picture, for the content key: its pixels and shape."""
        digest = hashlib.sha256(repr(frame.rgb.shape).encode())
        digest.update(np.ascontiguousarray(frame.rgb).data)
        return digest.digest()

    @abstractmethod
    def embed(self, frame: PriorFrame) -> Any:
        """The part that depends on the picture only."""

    def embed_batch(self, frames: Sequence[PriorFrame]) -> list[Any]:
        """:meth:`embed` of several pictures, which may differ in size."""
        return [self.embed(frame) for frame in frames]

    @abstractmethod
    def segment(self, embedding: Any, points_xy: np.ndarray,
                labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Segment what lies under one set of prompts.

        Args:
            embedding: From :meth:`embed`.
            points_xy: float32 (P, 2), P > 0, pixels of the original picture, already on the prompt grid.
            labels: int64 (P,).

        Returns:
            Float logits of shape :meth:`grid_shape`, threshold 0; predicted IoU; object score (a logit).
        """

    def segment_batch(self, embeddings: Sequence[Any], points: Sequence[np.ndarray],
                      labels: Sequence[np.ndarray]) -> list[tuple[np.ndarray, float, float]]:
        """:meth:`segment` for several sets of prompts; one embedding may occur several times."""
        return [self.segment(e, p, t) for e, p, t in zip(embeddings, points, labels, strict=True)]

    def predict(self, embedding: Any, points_xy: np.ndarray, labels: np.ndarray) -> MaskPrior:
        """Prior for one set of at least one prompt, past the quality gate. Prompts are rounded to 1/8 px."""
        return self.predict_batch([embedding], [points_xy], [labels])[0]

    def predict_batch(self, embeddings: Sequence[Any], points: Sequence[np.ndarray],
                      labels: Sequence[np.ndarray]) -> list[MaskPrior]:
        """:meth:`predict` for several sets of prompts; repeat an embedding to prompt it several times."""
        points = [round_prompts(p) for p in points]
        labels = [np.asarray(t, np.int64) for t in labels]
        if any(len(p) != len(t) or not (t == 1).any() for p, t in zip(points, labels, strict=True)):
            raise ValueError('every set of prompts needs one label per point and at least one positive point '
                             '(no_prior() stands for a picture without prompts)')
        results = self.segment_batch(embeddings, points, labels)
        if not all(np.isfinite(logits).all() for logits, _, _ in results):
            raise UserError(f'{self.name} gave mask logits that are not finite',
                            fix='check its weights, and try prior.dtype=float32')
        return [quality_gate(MaskPrior(to_int8(logits), float(iou), float(score), True, p, t), self.max_share)
                for (logits, iou, score), p, t in zip(results, points, labels, strict=True)]

    def no_prior(self, size: tuple[int, int]) -> MaskPrior:
        """What stands for a picture (width, height) without any prompt: an empty mask that is not valid."""
        return MaskPrior(np.full(self.grid_shape(size), -127, np.int8), 0., float(-127 * LOGIT_STEP), False,
                         np.zeros((0, 2), np.float32), np.zeros(0, np.int64))

    def visible_part(self, frame: PriorFrame) -> PriorFrame:
        """The picture as this backend may see it: without instance masks unless it declares to read them."""
        return frame if self.reads_instance_masks else replace(frame, instance_masks=None)

    def prior(self, frame: PriorFrame, points_xy: np.ndarray, labels: np.ndarray) -> MaskPrior:
        """Embed and prompt one picture; without prompts the backend is not called at all."""
        if len(points_xy) == 0:
            return self.no_prior(frame.size)
        return self.predict(self.embed(self.visible_part(frame)), points_xy, labels)

    def grid_shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the logits for a picture of (width, height): (144, 192) for 4:3."""
        return grid_shape(size, self.long_side)

    def to_grid(self, array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Resize a float map that covers the whole picture to the logit grid."""
        rows, columns = self.grid_shape(size)
        shrinks = array.shape[0] > rows or array.shape[1] > columns
        return cv2.resize(array.astype(np.float32), (columns, rows),
                          interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def build_backend(cfg: dict[str, Any]) -> MaskPriorBackend:
    """Build the backend that a config names.

    Args:
        cfg: A config's ``prior``, ``dict(backend=NAME, ...)``; the other entries are the backend's own options. Those
            that are ``None`` or empty count as not given, and those about prompts are passed over.

    Raises:
        UserError: No such backend, or an option that it does not know.
    """
    from mmpose.registry import TASK_UTILS
    name = cfg.get('backend')
    known = sorted(key for key, cls in TASK_UTILS.module_dict.items()
                   if inspect.isclass(cls) and issubclass(cls, MaskPriorBackend))
    if name == 'auto':
        raise UserError('prior.backend=auto was not resolved', fix=f'name a backend: {", ".join(known)}')
    if name not in known:
        raise UserError(f'there is no prior backend "{name}"',
                        fix=f'set prior.backend to one of: {", ".join(known)}')
    cls = TASK_UTILS.module_dict[name]
    options = {key: value for key, value in cfg.items()
               if key not in ('backend', *PROMPT_OPTIONS) and value not in (None, '')}
    accepted = _options_of(cls)
    foreign = sorted(options.keys() - accepted.keys())
    if foreign:
        raise UserError(f'prior backend "{name}" has no option {", ".join(foreign)}',
                        fix=f'its options are: {", ".join(sorted(accepted))}')
    for key, value in options.items():
        kinds = _KINDS.get(type(accepted[key]), (object, ''))
        if not isinstance(value, kinds[0]) or isinstance(value, bool) > isinstance(accepted[key], bool):
            raise UserError(f'prior.{key} is {value!r}', fix=f'give {kinds[1]}, by default {accepted[key]!r}')
    return cls(**options)


_KINDS = {str: (str, 'a text'), int: (int, 'a whole number'), float: ((int, float), 'a number')}
"""What an option may be, by the type of its default."""


def _options_of(cls: type) -> dict[str, Any]:
    """Arguments that ``cls(...)`` takes with their defaults, those passed on to its bases included."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        found = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} | found
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return {name: default for name, default in found.items() if name != 'self'}
