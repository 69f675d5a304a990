"""Files: written so that a reader never sees half of one, and told apart by content."""
import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from mmpose_surgical.errors import UserError

_MARK = '.tmp'


def is_temporary(path: Path) -> bool:
    """Whether a file is what :func:`write_atomically` left when it was killed."""
    return path.name.startswith('.') and _MARK in path.suffixes


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary neighbour of ``path``, then put it in place in one step.

    Raises:
        UserError: The place cannot be written.
    """
    path = Path(path)
    # The suffix stays last, because image writers choose the format by it.
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{_MARK}{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f'file cannot be written: {error.strerror or error}', path,
                        'name a place that can be written') from None


def remove_folder(path: str | Path) -> None:
    """Remove a folder, if it is there, so that nothing ever reads what is left of it after a kill."""
    path = Path(path)
    doomed = path.with_name(f'.{path.name}.removed')
    shutil.rmtree(doomed, ignore_errors=True)
    if path.is_dir():
        os.replace(path, doomed)
        shutil.rmtree(doomed)


class FolderNames:
    """Names of any kind as names of folders, each its own."""

    def __init__(self, plain: Callable[[str], str] | None = None) -> None:
        self._plain = plain or (lambda name: re.sub(r'[^\w.-]+', '_', name).strip('.') or 'unnamed')
        self._folders: dict[str, str] = {}

    def __call__(self, key: str, name: str | None = None) -> str:
        """The folder of a thing, always the same one: by its name, which is the key if it has no other."""
        if key not in self._folders:
            plain, taken = self._plain(key if name is None else name), set(self._folders.values())
            self._folders[key] = next(folder for number in itertools.count(1)
                                      if (folder := plain if number == 1 else f'{plain}_{number}') not in taken)
        return self._folders[key]


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding='utf-8'))


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON atomically; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + '\n')


def read_json(path: str | Path, fix: str = 'write it again from its source') -> Any:
    """Read JSON.

    Raises:
        UserError: The file is missing or damaged; ``fix`` is what the user is told to do.
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise UserError('file not found', path, fix) from None
    except OSError as error:
        raise UserError(f'file cannot be read: {error.strerror or error}', path, fix) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f'file is not valid JSON: {error}', path, fix) from None


def file_digest(path: str | Path) -> str | None:
    """SHA-256 of a file, ``None`` where there is none. An unchanged file is read once per process."""
    path = Path(path)
    if not path.is_file():
        return None
    stat = path.stat()
    return _digest(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=64)
def _digest(path: Path, *_state: int) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def claim(lock: Path) -> IO[str] | None:
    """Lock a file until it is closed or the process ends, however it ends; ``None`` if another process has it.

    Raises:
        UserError: The place cannot be written, or the file system knows no locks.
    """
    try:
        file = lock.open('w')
    except OSError as error:
        raise UserError(f'the folder cannot be written: {error.strerror}', lock.parent,
                        'choose another place') from None
    try:
        # A POSIX lock: the kernel drops it with the process, and data loader workers do not inherit it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise UserError(f'the folder cannot be locked: {error.strerror}', lock.parent,
                        'work on a file system with POSIX locks') from None
    return file
