"""Mixed precision on whatever device there is."""
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import autocast
from mmpose.registry import OPTIM_WRAPPERS

from mmpose_surgical.compat import let_simcc_heads_log_bfloat16


class Bf16OptimWrapper(OptimWrapper):
    """bfloat16 autocast without loss scaling, which bfloat16 does not need; MMEngine's wrapper refuses CPUs."""

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Run forward and loss under autocast."""
        keep_strided_depthwise_in_float32(model)
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def keep_strided_depthwise_in_float32(model: torch.nn.Module) -> None:
    """Leave out of autocast what oneDNN has no fast gradient for in bfloat16; further calls change nothing.

    Three strided depthwise convolutions of MobileNetV2 took a third of a training step, 20 times as long as in float32.
    """
    for module in model.modules():
        if (isinstance(module, torch.nn.Conv2d) and max(module.stride) > 1 and module.weight.requires_grad
                and module.groups == module.in_channels > 1 and not isinstance(module.forward, partial)):
            module.forward = partial(_in_float32, module.forward)


def _in_float32(forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    with torch.autocast('cpu', enabled=False):
        return forward(x.float())


@OPTIM_WRAPPERS.register_module(name='ClipAmpOptimWrapper')
def clip_amp_optim_wrapper(**kwargs) -> OptimWrapper:
    """MMEngine's :class:`AmpOptimWrapper` on GPUs, bfloat16 on CPUs; arguments are passed on."""
    if torch.cuda.is_available():
        return AmpOptimWrapper(**kwargs)
    let_simcc_heads_log_bfloat16()
    return Bf16OptimWrapper(**kwargs)
