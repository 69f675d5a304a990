"""The only place that knows upstream's quirks. Each one says why it is here; each has a test in
``tests/test_compat.py`` that fails once upstream no longer needs it, so that it can be removed.

:func:`apply` is called by :mod:`mmpose_surgical.plugin` before MMPose or MMDetection is imported.

Quirks that no patch mends, for the reader of configs and of code that drives several runs:

* ``import os`` in a config file switches MMEngine to lazy imports, and the file then fails to load.
* Several Runners in one process need an ``experiment_name`` each, and each must be dropped before the next.
* ``CheckpointHook(max_keep_ckpts=1)`` deletes the old checkpoint before it writes the new one; keep two.
"""
from __future__ import annotations

import importlib
import importlib.machinery
import os
import pickle
import re
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

from mmpose_surgical.errors import UserError
from mmpose_surgical.versions import has_mmcv_ops, installed_version

_applied = False


def apply() -> None:
    """Apply every quirk once; further calls return at once. Imports torch and MMEngine."""
    global _applied
    if _applied:
        return
    silence_pkg_resources()
    provide_numpy_owndata()
    stand_in_for_mmcv_ops()
    patch_checkpoint_loading()
    patch_checkpoint_saving()
    patch_resume()
    format_configs_once()
    _applied = True


# -- setuptools --------------------------------------------------------------------------------------------
def silence_pkg_resources() -> None:
    """Hide one warning: MMEngine still imports pkg_resources, and the set-up already holds setuptools back."""
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated', category=UserWarning)


# -- xtcocotools and numpy 2 -------------------------------------------------------------------------------
def provide_numpy_owndata() -> None:
    """Give numpy back ``NPY_OWNDATA``, which the mask module of xtcocotools 1.14 reads at run time."""
    import numpy

    if not hasattr(numpy, 'NPY_OWNDATA'):
        numpy.NPY_OWNDATA = 4  # the value of the C constant NPY_ARRAY_OWNDATA


# -- mmcv-lite ---------------------------------------------------------------------------------------------


class _MissingOps(types.ModuleType):
    """A module every public attribute of which is a function that says what to install."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith('__'):  # the import system asks for dunders and must hear the truth
            raise AttributeError(name)

        def missing_op(*args: Any, **kwargs: Any) -> Any:
            raise UserError(f'mmcv-lite has no compiled op {name!r}', fix='make setup MMCV=full')

        missing_op.__name__ = name
        return missing_op


def stand_in_for_mmcv_ops() -> None:
    """Let MMPose and MMDetection import next to mmcv-lite, which lacks ``mmcv._ext``.

    Both import ``mmcv.ops`` at module level although none of our models calls an op. Nothing is done when a
    full mmcv is installed, nor when no mmcv is (``plugin.py`` then says so).
    """
    if 'mmcv._ext' in sys.modules or installed_version('mmcv') is None or has_mmcv_ops():
        return
    module = _MissingOps('mmcv._ext', 'Stand-in for the compiled ops of mmcv.')
    # mmcv looks for the ops with find_spec, which refuses a module in sys.modules that has no spec.
    module.__spec__ = importlib.machinery.ModuleSpec('mmcv._ext', loader=None)
    sys.modules['mmcv._ext'] = module


# -- checkpoints: reading ----------------------------------------------------------------------------------
# torch >= 2.6 unpickles an allow-list only and so refuses MMEngine's own checkpoints: their message hub holds
# HistoryBuffers and numpy scalars. What they need is allowed here, during a load and no longer.
_STATISTICS = ('min', 'max', 'current', 'mean')


def _history_buffer_method(owner: Any, name: str) -> Callable[..., Any]:
    """Stands in for ``getattr`` in checkpoints, where only HistoryBuffer's methods are pickled through it."""
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')


def _allowed_globals() -> list[Any]:
    import numpy as np
    from mmengine.logging import HistoryBuffer

    # numpy 1.26 has a numpy._core too, for unpickling only and without these functions.
    multiarray = importlib.import_module(f'numpy.{"_core" if np.__version__ >= "2" else "core"}.multiarray')
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, (_history_buffer_method, 'builtins.getattr')]
    for function in (multiarray._reconstruct, multiarray.scalar):
        # Pickles name the module as the numpy that wrote them did.
        allowed += [(function, f'numpy.{core}.multiarray.{function.__name__}') for core in ('core', '_core')]
    kinds = ('?', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'U')
    return allowed + [type(np.dtype(kind)) for kind in kinds]


@contextmanager
def _restricted(source: str) -> Iterator[None]:
    """Allow what MMEngine checkpoints hold while the block runs; a refusal names ``source``."""
    import torch

    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            yield
    except pickle.UnpicklingError as error:
        reason = re.search(r'(?:Unsupported (?:global|class|operand)|GLOBAL|getattr\()[^\n]*', str(error))
        raise UserError('the checkpoint holds more than weights and training state and was refused: '
                        f'{(reason or [str(error).splitlines()[0]])[0]}', where=source,
                        fix='take one from a source you trust, saved as a plain state dict') from error
    except URLError:
        raise  # an OSError too, and no fault of the file
    except (EOFError, OSError, RuntimeError) as error:
        # torch raises any of these for a damaged file, and RuntimeError also for what is no fault of the
        # file (a CUDA device that is not there): that one stays as it is.
        if checkpoint_is_whole(source):
            raise
        raise UserError('the checkpoint is damaged or cut off', where=source,
                        fix='delete it and resume from the one before, or fetch it again') from error


def load_from_local(filename: str, map_location: Any) -> Any:
    import torch

    path = os.path.expanduser(filename)
    if not os.path.isfile(path):
        raise UserError('the checkpoint does not exist', where=path, fix='check load_from, or --resume PATH')
    with _restricted(path):
        return torch.load(path, map_location=map_location, weights_only=True)


def _load_url(url: str, **kwargs: Any) -> Any:
    import torch

    try:
        with _restricted(url):
            return torch.hub.load_state_dict_from_url(url, weights_only=True, **kwargs)
    except URLError as error:
        raise UserError(f'the weights cannot be downloaded: {error.reason}', url, 'fetch the file where there is a '
                        'network, and name its path') from error


def patch_checkpoint_loading() -> None:
    """Make MMEngine read files and URLs through the restricted loader.

    The registry of loaders is MMEngine's own seam. Its URL loader goes through ``torch.hub``, which asks for
    an unrestricted load; the remaining schemes use ``torch.load`` with torch's default, which refuses.
    """
    from mmengine.runner import checkpoint

    checkpoint.CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    checkpoint.load_url = _load_url


# -- checkpoints: writing ----------------------------------------------------------------------------------
def _save_atomically(stock: Callable[..., None], checkpoint: dict, filename: str,
                     file_client_args: dict | None = None, backend_args: dict | None = None) -> None:
    import torch

    if '://' in str(filename) or file_client_args or backend_args:
        stock(checkpoint, filename, file_client_args=file_client_args, backend_args=backend_args)
        return
    target = Path(filename)
    target.parent.mkdir(parents=True, exist_ok=True)
    # One name per target: what a kill leaves behind is overwritten by the next attempt.
    temporary = target.with_name(f'.{target.name}.tmp')
    try:
        with temporary.open('wb') as handle:
            torch.save(checkpoint, handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def patch_checkpoint_saving() -> None:
    """Write checkpoints to a temporary file beside the target, then rename: MMEngine writes in place."""
    import mmengine.runner
    from mmengine.runner import checkpoint, runner

    patched = partial(_save_atomically, checkpoint.save_checkpoint)
    for module in (checkpoint, runner, mmengine.runner):  # each holds the name by itself
        module.save_checkpoint = patched


# -- checkpoints: resuming ---------------------------------------------------------------------------------
def checkpoint_is_whole(path: str | Path) -> bool:
    """Whether a file is a complete torch archive with intact checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def find_latest_checkpoint(path: str | Path) -> str | None:
    """The newest whole checkpoint of a work directory, or None.

    Stock MMEngine trusts ``last_checkpoint``, which may be empty, or name a file of a folder that was moved
    or copied since, or one that a kill cut off. Here what it names comes first, then ``epoch_N.pth`` and
    ``iter_N.pth`` by age.

    Raises:
        UserError: There are checkpoints and none is whole.
    """
    from mmengine.logging import print_log

    folder = Path(path)
    pointer = folder / 'last_checkpoint'
    named = pointer.read_text().strip() if pointer.is_file() else ''
    numbered = [file for file in folder.glob('*.pth') if re.fullmatch(r'(epoch|iter)_\d+', file.stem)]
    numbered.sort(key=lambda file: (file.stat().st_mtime, int(file.stem.split('_')[1])), reverse=True)
    # Only the name counts: in a folder that was copied, the path still leads to the original.
    candidates = [folder / Path(named).name] if named else []
    candidates = list(dict.fromkeys(file.absolute() for file in [*candidates, *numbered] if file.is_file()))
    for candidate in candidates:
        if checkpoint_is_whole(candidate):
            return str(candidate)
        print_log(f'{candidate} is cut off or damaged; trying the one before', logger='current', level=30)
    if candidates:
        raise UserError('none of the checkpoints is whole', where=folder, fix='delete them and train anew')
    return None


def patch_resume() -> None:
    """Make ``Runner(resume=True)`` step over a checkpoint that was cut off."""
    import mmengine.runner
    from mmengine.runner import checkpoint, runner

    for module in (checkpoint, runner, mmengine.runner):
        module.find_latest_checkpoint = find_latest_checkpoint


# -- configs -----------------------------------------------------------------------------------------------
def format_configs_once() -> None:
    """Remember formatted configs: a Runner formats its whole config five times, at half a second each."""
    from mmengine.config import config

    if hasattr(config.FormatCode, 'cache_info'):
        return
    stock = config.FormatCode

    @lru_cache(maxsize=4)
    def remembered(text: str, style: tuple[tuple[str, Any], ...]) -> Any:
        return stock(text, style_config=dict(style))

    def format_code(text: str, style_config: dict[str, Any], **options: Any) -> Any:
        return stock(text, style_config=style_config, **options) if options else remembered(
            text, tuple(style_config.items()))

    format_code.cache_info = remembered.cache_info
    config.FormatCode = format_code


# -- bfloat16 ----------------------------------------------------------------------------------------------
def let_simcc_heads_log_bfloat16() -> None:
    """Let MMPose's SimCC heads log their accuracy under bfloat16, which NumPy does not know.

    Called where bfloat16 is asked for, because it imports MMPose's heads.
    """
    import torch
    from mmpose.models.heads.coord_cls_heads import rtmcc_head, simcc_head
    from mmpose.utils.tensor_utils import to_numpy

    def to_numpy_by_float32(x: Any, *args: Any, **kwargs: Any) -> Any:
        is_several = isinstance(x, tuple | list)
        known = [v.float() if isinstance(v, torch.Tensor) and v.dtype == torch.bfloat16 else v
                 for v in (x if is_several else [x])]
        return to_numpy(type(x)(known) if is_several else known[0], *args, **kwargs)

    for module in (rtmcc_head, simcc_head):
        module.to_numpy = to_numpy_by_float32
