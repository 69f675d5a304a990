"""Mixed precision on whatever device there is."""
from contextlib import contextmanager

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
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


@OPTIM_WRAPPERS.register_module(name='ClipAmpOptimWrapper')
def clip_amp_optim_wrapper(**kwargs) -> OptimWrapper:
    """MMEngine's :class:`AmpOptimWrapper` on GPUs, bfloat16 on CPUs; arguments are passed on."""
    if torch.cuda.is_available():
        return AmpOptimWrapper(**kwargs)
    let_simcc_heads_log_bfloat16()
    return Bf16OptimWrapper(**kwargs)
