"""SAM 3 by Meta's own package ``sam3``: its tracker alone, for the weights file that Meta gives out."""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.weights import NEEDS

_BACKBONE = 'backbone.vision_backbone.'
# Rotary tables follow from the sizes alone.
_COMPUTED = '.freqs_cis'


class MetaSam3:
    """Meta's tracker (see :class:`~mmpose_surgical.priors.sam.PromptableModel`).

    Args:
        file: ``sam3.pt``: ``detector.*`` (of which the image encoder is taken) and ``tracker.*``.
        device: Where it runs.
        dtype: float32, or bfloat16 for autocast.

    Raises:
        UserError: The package is missing, the file cannot be read safely, or its weights do not fit.
    """
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, file: Path, device: torch.device, dtype: torch.dtype) -> None:
        tracker = build_tracker(file)
        load_weights(tracker, file)
        self.model = tracker.eval().requires_grad_(False).to(device)
        self.device, self.dtype, self.side = device, dtype, tracker.image_size

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        with self._autocast():
            levels = list(self.model.forward_image(pixels.to(self.device))['backbone_fpn'])
        levels[-1] = levels[-1] + self.model.no_mem_embed.view(1, -1, 1, 1)
        return levels

    @torch.inference_mode()
    def decode(self, levels: list[torch.Tensor], points: torch.Tensor,
               labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        prompts = (points.to(self.device), labels.to(self.device, torch.int32))
        with self._autocast():
            sparse, dense = self.model.sam_prompt_encoder(points=prompts, boxes=None, masks=None)
            masks, iou, _, score = self.model.sam_mask_decoder(
                image_embeddings=levels[-1], image_pe=self.model.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False,
                repeat_image=len(points) > 1, high_res_features=levels[:-1])
        return masks[:, 0], iou[:, 0], score[:, 0]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype is torch.bfloat16)


def build_tracker(where: Path) -> Any:
    """The tracker with its image encoder, without weights, on the CPU; the process is left as it was.

    Importing ``sam3`` turns on TF32, building its tracker enters a bfloat16 autocast that nobody leaves, and its
    position encoding is filled on a GPU whether there is one or not.
    """
    with _switches_restored():
        try:
            from sam3 import model_builder
        except ImportError as error:
            raise UserError(f"reading Meta's file needs the package sam3 and what it does not declare ({error})", where,
                            f'{NEEDS}, or use the folder of Hugging Face') from None
        with _position_encoding_on_demand(model_builder):
            tracker = model_builder.build_tracker(apply_temporal_disambiguation=False, with_backbone=True)
        tracker.bf16_context.__exit__(None, None, None)
    return tracker


@contextmanager
def _switches_restored() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def _position_encoding_on_demand(model_builder: Any) -> Iterator[None]:
    original = model_builder.PositionEmbeddingSine
    model_builder.PositionEmbeddingSine = lambda precompute_resolution=None, **options: original(**options)
    try:
        yield
    finally:
        model_builder.PositionEmbeddingSine = original


def load_weights(tracker: Any, file: Path) -> None:
    """Read Meta's file into a tracker, strictly; code in the file is never run.

    Raises:
        UserError: The file is no such checkpoint, or lacks or has too many weights.
    """
    try:
        found = torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # torch raises whatever a damaged or foreign archive leads it to
        lines = str(error).splitlines() or [type(error).__name__]
        raise UserError(f'the weights cannot be read safely: {lines[0]}', file, 'download sam3.pt again') from error
    if isinstance(found, dict) and isinstance(found.get('model'), dict):
        found = found['model']
    if not isinstance(found, dict) or not any(str(name).startswith('tracker.') for name in found):
        raise UserError('no "tracker.*" weights in the file', file, 'pass the sam3.pt that Meta gives out')
    weights = {name.removeprefix('tracker.'): value for name, value in found.items() if name.startswith('tracker.')}
    # The detector shares its image encoder with the tracker; the rest of it needs a text prompt.
    weights.update({name.removeprefix('detector.'): value for name, value in found.items()
                    if name.startswith(f'detector.{_BACKBONE}')})
    foreign = [name for name in found if not name.startswith(('tracker.', 'detector.'))]
    try:
        missing, unexpected = tracker.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # shapes
        raise UserError(f'the weights do not fit the tracker: {str(error).splitlines()[1].strip()}', file,
                        'use a sam3.pt and a sam3 package of one release') from None
    missing = [name for name in missing if not name.endswith(_COMPUTED)]
    wrong = {'missing': missing, 'unexpected': [*unexpected, *foreign]}
    told = '; '.join(f'{len(names)} {kind}, e.g. {names[0]}' for kind, names in wrong.items() if names)
    if told:
        raise UserError(f'the weights do not fit the tracker: {told}', file,
                        'use a sam3.pt and a sam3 package of one release')
