"""What other programs call: ``from mmpose_surgical.apis import SurgicalLandmarkInferencer``."""
from typing import Any

_PUBLIC = dict(SurgicalLandmarkInferencer='inferencer', FrameResult='inferencer', LiveMaskPrior='mask_prior')

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import on first use: what reads frames alone needs no torch."""
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__} has no attribute {name}')
    from importlib import import_module
    return getattr(import_module(f'{__name__}.{_PUBLIC[name]}'), name)
