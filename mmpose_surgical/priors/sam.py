"""SAM 3 and SAM 2.1 as mask prior, prompted with points, zero-shot (paper, section 2.2).

Both are promptable segmenters with one encoder pass per picture and a light decoder per set of prompts. What differs,
code, weights and preprocessing, lies behind :class:`PromptableModel`.
"""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from mmpose.registry import TASK_UTILS

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPriorBackend, PriorFrame
from mmpose_surgical.priors.weights import Weights, find_weights

if TYPE_CHECKING:
    import torch

PROMPTS_AT_ONCE = 64
"""Sets of prompts in one call of the decoder, which needs about 30 MB for each."""


class PromptableModel(Protocol):
    """A loaded model. Tensors lie on its device; ``S`` is ``side``."""
    side: int
    """The picture is stretched to (S, S), whatever its aspect."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of RGB in 0..1."""

    def encode(self, pixels: 'torch.Tensor') -> list['torch.Tensor']:
        """Normalised pictures (B, 3, S, S) -> feature levels, each (B, C, h, w)."""

    def decode(self, levels: list['torch.Tensor'], points: 'torch.Tensor',
               labels: 'torch.Tensor') -> tuple['torch.Tensor', 'torch.Tensor', 'torch.Tensor']:
        """Segment one picture under N sets of P points each.

        Args:
            levels: Feature levels of one picture, each (1, C, h, w).
            points: float (N, P, 2), pixels of the stretched picture.
            labels: int64 (N, P).

        Returns:
            Mask logits (N, h, w), predicted IoU (N,), object score (N,), one mask per set.
        """


@dataclass(frozen=True)
class _Embedding:
    levels: list['torch.Tensor']
    size: tuple[int, int]


class SamPrior(MaskPriorBackend):
    """Common part of both SAMs.

    Args:
        checkpoint: Path of the weights; empty takes the environment variable of the backend.
        dtype: ``float32`` or ``bfloat16`` (autocast around the model only).
        device: e.g. ``cuda:1``; empty takes the current GPU, else the CPU.
        batch_size: Pictures per call of the encoder. At 1 a stored prior equals a live one to the bit; more is a
            little faster on a large GPU and may round the last bit otherwise.
        long_side: See :class:`MaskPriorBackend`.
        max_share: See :class:`MaskPriorBackend`.

    Raises:
        UserError: There are no such weights (see :func:`find_weights`), or an option is out of range.
    """

    def __init__(self, checkpoint: str = '', dtype: str = 'float32', device: str = '', batch_size: int = 1,
                 long_side: int = 192, max_share: float = 0.3) -> None:
        super().__init__(long_side, max_share)
        if dtype not in ('float32', 'bfloat16'):
            raise UserError(f'prior.dtype is {dtype!r}', fix='use float32 or bfloat16')
        if batch_size < 1:
            raise UserError(f'prior.batch_size is {batch_size}', fix='use 1 or more')
        usable_device(device, there=False)
        self.weights = find_weights(self.name, checkpoint)
        self.dtype = dtype
        self.device = device
        self.batch_size = batch_size
        self._model: PromptableModel | None = None

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {'weights': self.weights.digest(), 'dtype': self.dtype}

    def check(self) -> None:
        self.weights.check()

    @property
    def model(self) -> PromptableModel:
        """Loaded when it is first needed: a plan, or a store that is complete, never waits for it."""
        if self._model is None:
            import torch
            device = usable_device(self.device)
            with self._memory_told('load'):
                self._model = self.load(self.weights, device, getattr(torch, self.dtype))
        return self._model

    @contextmanager
    def _memory_told(self, work: str) -> Iterator[None]:
        import torch
        try:
            yield
        except torch.OutOfMemoryError:
            raise UserError(f'the GPU has too little memory to {work} with {self.name}', fix='set prior.batch_size=1 '
                            'prior.dtype=bfloat16, free the GPU of other work, or set prior.device=cpu') from None

    def load(self, weights: Weights, device: 'torch.device', dtype: 'torch.dtype') -> PromptableModel:
        """Build the model and read its weights."""
        raise NotImplementedError

    def embed(self, frame: PriorFrame) -> _Embedding:
        return self.embed_batch([frame])[0]

    def embed_batch(self, frames: Sequence[PriorFrame]) -> list[_Embedding]:
        import torch
        pixels = torch.cat([to_input(frame.rgb, self.model) for frame in frames])
        with self._memory_told(f'encode {len(frames)} picture(s)'):
            levels = self.model.encode(pixels)
        return [_Embedding([level[i:i + 1] for level in levels], frame.size) for i, frame in enumerate(frames)]

    def segment(self, embedding: _Embedding, points_xy: np.ndarray,
                labels: np.ndarray) -> tuple[np.ndarray, float, float]:
        return self.segment_batch([embedding], [points_xy], [labels])[0]

    def segment_batch(self, embeddings: Sequence[_Embedding], points: Sequence[np.ndarray],
                      labels: Sequence[np.ndarray]) -> list[tuple[np.ndarray, float, float]]:
        import torch
        results: list[tuple[np.ndarray, float, float]] = []
        # Sets of unequal length are not padded to one call: a padding point would still be attended to.
        keyed = groupby(range(len(points)), key=lambda i: (id(embeddings[i]), len(points[i])))
        for _, group in keyed:
            indices = list(group)
            for start in range(0, len(indices), PROMPTS_AT_ONCE):
                chosen = indices[start:start + PROMPTS_AT_ONCE]
                embedding = embeddings[chosen[0]]
                limit = np.array(embedding.size, np.float32)
                # As both authors do it: each axis by itself, pixel 0 at 0.
                stretched = [np.clip(points[i], 0, limit - 1) / limit * self.model.side for i in chosen]
                with self._memory_told(f'decode {len(chosen)} set(s) of prompts'):
                    decoded = self.model.decode(embedding.levels,
                                                torch.from_numpy(np.stack(stretched).astype(np.float32)),
                                                torch.from_numpy(np.stack([labels[i] for i in chosen])))
                logits, iou, score = (tensor.float().cpu().numpy() for tensor in decoded)
                results += [(self.to_grid(mask, embedding.size), float(np.clip(quality, 0, 1)), float(presence))
                            for mask, quality, presence in zip(logits, iou, score, strict=True)]
        return results


def usable_device(name: str, option: str = 'prior.device', there: bool = True) -> 'torch.device':
    """The device of that name, by default the current GPU or else the CPU.

    Raises:
        UserError: There is no device of such a name or, if it must be ``there``, it cannot be used.
    """
    import torch
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        if there:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch has no one error for a device that it lacks
        raise UserError(f'{option}={name} cannot be used: {str(error).splitlines()[0]}',
                        fix='name a GPU that is there (cuda:0), or cpu') from None
    return device


@TASK_UTILS.register_module(name='sam3')
class Sam3Prior(SamPrior):
    """SAM 3 (Carion et al., 2025), its tracker alone: points need neither the text nor the detector.

    A folder of Hugging Face is read by ``transformers``, Meta's ``sam3.pt`` by the package ``sam3``.
    """
    name = 'sam3'

    def load(self, weights: Weights, device: 'torch.device', dtype: 'torch.dtype') -> PromptableModel:
        if weights.kind == 'meta':
            from mmpose_surgical.priors.meta_sam3 import MetaSam3
            return MetaSam3(weights.path, device, dtype)
        from mmpose_surgical.priors.huggingface_sam import HuggingFaceSam
        return HuggingFaceSam('Sam3TrackerModel', weights.path, device, dtype, mean=(0.5,) * 3, std=(0.5,) * 3)


@TASK_UTILS.register_module(name='sam2')
class Sam2Prior(SamPrior):
    """SAM 2.1 (Ravi et al., 2024), whose weights are open (Apache-2.0), by ``transformers``."""
    name = 'sam2'

    def load(self, weights: Weights, device: 'torch.device', dtype: 'torch.dtype') -> PromptableModel:
        from mmpose_surgical.priors.huggingface_sam import HuggingFaceSam
        return HuggingFaceSam('Sam2Model', weights.path, device, dtype, mean=(0.485, 0.456, 0.406),
                              std=(0.229, 0.224, 0.225))


def to_input(rgb: np.ndarray, model: PromptableModel) -> 'torch.Tensor':
    """A picture, uint8 (H, W, 3), as the model wants it: float (1, 3, S, S), stretched, normalised, on the CPU."""
    import torch
    from torch.nn import functional
    picture = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None]
    # On uint8, in and out, as the picture processors of both releases do.
    stretched = functional.interpolate(picture, (model.side, model.side), mode='bilinear', antialias=True)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
    return (stretched.float() / 255 - mean) / std
