"""Where the weights of a SAM lie, of which kind they are, and what identifies them. Nothing is ever downloaded."""
import hashlib
import importlib.util
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmpose_surgical.errors import UserError
from mmpose_surgical.files import file_digest, read_json

VARIABLES = dict(sam3='SAM3_CHECKPOINT', sam2='SAM2_CHECKPOINT')
"""Environment variable of each backend that needs weights."""

NEEDS = 'pip install "mmpose_surgical[sam3]"'

_NAMES = dict(sam3='SAM 3', sam2='SAM 2.1')
_MODEL_TYPES = dict(sam3=('sam3_video', 'sam3_tracker', 'sam3_tracker_video'), sam2=('sam2', 'sam2_video'))
_GET = dict(
    sam3='accept the licence at https://huggingface.co/facebook/sam3 and download sam3.pt, or config.json and '
         'model.safetensors into one folder',
    sam2='download config.json and model.safetensors of https://huggingface.co/facebook/sam2.1-hiera-large '
         '(Apache-2.0) into one folder')
_OTHERS = dict(sam3='prior.backend=sam2 (open weights) or the stand-in prior.backend=grabcut',
               sam2='prior.backend=sam3 or the stand-in prior.backend=grabcut')


@dataclass(frozen=True)
class Weights:
    """Weights on this machine.

    Args:
        path: A folder in the layout of Hugging Face, or Meta's ``.pt`` file.
        kind: Which code reads them.
    """
    path: Path
    kind: Literal['huggingface', 'meta']

    def digest(self) -> str:
        """SHA-256 of all that decides the logits: the file, or ``config.json`` with every ``.safetensors``."""
        if self.kind == 'meta':
            return file_digest(self.path)
        files = [self.path / 'config.json', *sorted(self.path.glob('*.safetensors'))]
        return hashlib.sha256(''.join(f'{file.name}:{file_digest(file)}\n' for file in files).encode()).hexdigest()

    def check(self) -> None:
        """Look whether the package that reads them is installed and the files are whole, without loading them.

        Raises:
            UserError: Something is missing, or a file is cut off.
        """
        package = dict(huggingface='transformers', meta='sam3')[self.kind]
        if importlib.util.find_spec(package) is None:
            raise UserError(f'reading these weights needs the package {package}', self.path, NEEDS)
        if self.kind == 'meta':
            if not zipfile.is_zipfile(self.path):
                raise UserError('the file is no checkpoint of PyTorch, or cut off', self.path, 'download it again')
            return
        from safetensors import SafetensorError, safe_open
        for file in sorted(self.path.glob('*.safetensors')):
            try:
                with safe_open(file, 'pt'):
                    pass
            except (SafetensorError, OSError) as error:
                raise UserError(f'the weights cannot be read: {error}', file, 'download it again') from None


def named_checkpoint(backend: str, checkpoint: str | None) -> str:
    """The path that a config or, failing that, the environment names; empty where neither does."""
    return checkpoint or os.environ.get(VARIABLES[backend], '')


def how_to_get(backend: str) -> str:
    """From nothing to weights that are found: licence, file, how to pass it, what else there is."""
    return (f'{_GET[backend]}; then {VARIABLES[backend]}=PATH or --cfg-options prior.backend={backend} '
            f'prior.checkpoint=PATH. Without them: {_OTHERS[backend]}')


def find_weights(backend: str, checkpoint: str | None) -> Weights:
    """Look at a path; nothing is loaded.

    Args:
        backend: ``sam3`` or ``sam2``.
        checkpoint: Path from the config; empty takes the environment variable.

    Raises:
        UserError: No path was named, nothing usable is there, or it belongs to another model.
    """
    title = _NAMES[backend]
    named = named_checkpoint(backend, checkpoint)
    if not named:
        raise UserError(f'no {title} weights were named', fix=how_to_get(backend))
    path = Path(named).expanduser()
    if path.is_dir():
        return _folder(backend, path)
    if not path.is_file():
        named_by = 'prior.checkpoint' if checkpoint else VARIABLES[backend]
        raise UserError(f'{title} weights not found', path, f'correct {named_by}; or {how_to_get(backend)}')
    if path.suffix == '.safetensors':
        raise UserError('weights and config.json are read together', path, f'name the folder: {path.parent}')
    if backend == 'sam2':
        raise UserError("Meta's own SAM 2.1 files are not read, only the folder of Hugging Face", path,
                        how_to_get(backend))
    return Weights(path, 'meta')


def _folder(backend: str, path: Path) -> Weights:
    title = _NAMES[backend]
    if backend == 'sam3' and (path / 'sam3.pt').is_file() and not (path / 'config.json').exists():
        return Weights(path / 'sam3.pt', 'meta')
    if not (path / 'config.json').is_file() or not any(path.glob('*.safetensors')):
        present = ' (pickled weights are not read: they could run code)' if any(path.glob('*.bin')) else ''
        raise UserError(f'the folder lacks config.json or a .safetensors file{present}', path, how_to_get(backend))
    config = read_json(path / 'config.json', 'download it again')
    if not isinstance(config, dict):
        raise UserError('config.json is not a JSON object', path / 'config.json', 'download it again')
    model_type = config.get('model_type')
    if model_type not in _MODEL_TYPES[backend]:
        own = next((name for name, types in _MODEL_TYPES.items() if model_type in types), None)
        raise UserError(f'the folder holds a model of type {model_type!r}, not {title}', path,
                        f'set prior.backend={own}' if own else how_to_get(backend))
    return Weights(path, 'huggingface')
