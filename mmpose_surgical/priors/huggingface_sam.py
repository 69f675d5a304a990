"""SAM 3 and SAM 2.1 by Hugging Face ``transformers`` (no torchvision, no network)."""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.weights import NEEDS


class HuggingFaceSam:
    """A promptable model of ``transformers`` (see :class:`~mmpose_surgical.priors.sam.PromptableModel`).

    Args:
        model: Name of its class in ``transformers``.
        folder: ``config.json`` and ``.safetensors``.
        device: Where it runs.
        dtype: float32, or bfloat16 for autocast.
        mean: Of RGB in 0..1.
        std: Of RGB in 0..1.

    Raises:
        UserError: ``transformers`` is missing or too old, or the weights do not fit the model.
    """

    def __init__(self, model: str, folder: Path, device: torch.device, dtype: torch.dtype,
                 mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.model = _load(model, folder).eval().requires_grad_(False).to(device)
        self.device, self.dtype, self.mean, self.std = device, dtype, mean, std
        size = self.model.config.prompt_encoder_config.image_size
        self.side = size if isinstance(size, int) else size[0]
        # The embedding that says "no frame before this one" belongs to the coarsest level that is used. transformers
        # 5.23 adds it to the level below, which is dropped for SAM 3. At zero there, and added here, it counts once
        # whatever transformers does with it.
        self._no_memory = self.model.no_memory_embedding.detach().clone().view(1, -1, 1, 1)
        self.model.no_memory_embedding.zero_()

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        with self._autocast():
            levels = self.model.get_image_embeddings(pixels.to(self.device))
        return [*levels[:-1], levels[-1] + self._no_memory]

    @torch.inference_mode()
    def decode(self, levels: list[torch.Tensor], points: torch.Tensor,
               labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with self._autocast():
            found = self.model(image_embeddings=list(levels), input_points=points[None].to(self.device),
                               input_labels=labels[None].to(self.device), multimask_output=False)
        return found.pred_masks[0, :, 0], found.iou_scores[0, :, 0], found.object_score_logits[0, :, 0]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype is torch.bfloat16)


def _load(name: str, folder: Path) -> Any:
    """The model with every weight from the folder."""
    try:
        import transformers
        model_class = getattr(transformers, name)
    except ImportError:
        raise UserError('reading this folder needs the package transformers', folder, NEEDS) from None
    except AttributeError:
        raise UserError(f'transformers {transformers.__version__} has no {name}', folder,
                        'pip install "transformers>=5.20"') from None
    with _quiet(transformers):
        try:
            model, report = model_class.from_pretrained(str(folder), local_files_only=True, use_safetensors=True,
                                                        dtype=torch.float32, output_loading_info=True)
        except Exception as error:  # a damaged file or config can raise anything, by its own type or by none
            lines = str(error).splitlines() or [type(error).__name__]
            raise UserError(f'the weights cannot be read: {lines[0]}', folder,
                            'download config.json and the .safetensors file(s) again') from error
    wrong = {kind: sorted(map(str, report[kind])) for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys')}
    told = '; '.join(f'{len(keys)} {kind.replace("_", " ")}, e.g. {keys[0]}' for kind, keys in wrong.items() if keys)
    if told:
        raise UserError(f'the weights do not fit {name}: {told}', folder, 'download config.json and the .safetensors '
                        'file(s) of one release again')
    return model


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Its own words on weights are for people who load by hand; ours come as errors."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
