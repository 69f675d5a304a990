"""Fingerprints: what an artifact was made from, and whether that still holds."""
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.summary import git_commit
from mmpose_surgical.files import claim, is_temporary, read_json, write_json

RECORD = 'artifact.json'
LOCK = '.lock'
COARSE_WEIGHTS = 'coarse://'
"""Stands, in a config, for the final checkpoint of the coarse network that is trained in the folder behind it."""

# Where something runs and how fast never changes what comes out; weights to start from count by content.
# So does a file of boxes.
_NOT_CONTENT = {'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'data_root', 'predictions',
                'priors', 'masks', 'out_predictions', 'lazy_init', 'checkpoint', 'box'}


class Status(Enum):
    """State of an artifact's folder with respect to a fingerprint."""
    MISSING = 'waiting'
    PARTIAL = 'resumes'
    DONE = 'done'
    STALE = 'stale'


def content_of(config: Any) -> Any:
    """A JSON-ready copy of a config section without what does not change the content."""
    if isinstance(config, dict):
        return {str(k): content_of(v) for k, v in sorted(config.items()) if k not in _NOT_CONTENT}
    if isinstance(config, (list, tuple)):
        return [content_of(v) for v in config]
    return config if isinstance(config, (str, int, float, bool, type(None))) else repr(config)


def digest_of(content: Any) -> str:
    """Short hash of a JSON-ready value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Any, new: Any, where: str = '') -> list[str]:
    """What differs between two JSON-ready values, as lines ``a.b: 1 -> 2``."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for key in sorted(old.keys() | new.keys())
                for line in differences(old.get(key), new.get(key), f'{where}.{key}' if where else key)]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for i, pair in enumerate(zip(old, new)) for line in differences(*pair, f'{where}[{i}]')]
    return [] if old == new else [f'{where}: {json.dumps(old)} -> {json.dumps(new)}'[:200]]


@dataclass
class Artifact:
    """A folder together with the content that its files were, or will be, made from."""
    folder: Path
    content: dict[str, Any]
    option: str = '--work-dir'
    """The option of a tool that names the folder, for messages."""
    _lock: Any = field(default=None, init=False, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        return digest_of(self.content)

    @property
    def record(self) -> dict[str, Any] | None:
        """The folder's own record, ``None`` where it has none."""
        path = self.folder / RECORD
        if not path.exists():
            return None
        fix = f'remove {self.folder} or choose another {self.option}'
        record = read_json(path, fix)
        if not isinstance(record, dict) or not {'fingerprint', 'done', 'content'} <= record.keys():
            raise UserError('record of the work directory is damaged', path, fix)
        return record

    @property
    def status(self) -> Status:
        record = self.record
        if record is None:
            return Status.MISSING
        if record['fingerprint'] != self.fingerprint:
            return Status.STALE
        return Status.DONE if record['done'] and not self._lost(record) else Status.PARTIAL

    def _lost(self, record: dict[str, Any]) -> bool:
        """Whether a file that made the folder complete is gone or shorter than it was."""
        files = {self.folder / name: size for name, size in record.get('outputs', {}).items()}
        return any(not path.is_file() or path.stat().st_size < size for path, size in files.items())

    def changes(self) -> list[str]:
        """How the content differs from what the folder records."""
        record = self.record
        return [] if record is None else differences(record['content'], self.content)

    def begin(self) -> None:
        """Mark the folder as being made from this content, by this process alone until it ends or finishes.

        Raises:
            UserError: The folder holds something else, or another process is making it.
        """
        record = self.record
        # A run that was killed while it wrote its very first file leaves a temporary one.
        if record is None and self.folder.is_dir() and any(
                not is_temporary(path) and path.name != LOCK for path in self.folder.iterdir()):
            raise UserError('folder is not empty and was not made by this tool', self.folder,
                            f'choose another {self.option}')
        if self._lock is None:
            self._claim()
        if record is None or record['fingerprint'] != self.fingerprint or record['done']:
            self._write(done=False)

    def _claim(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'the folder cannot be made: {error.strerror}', self.folder,
                            f'choose another {self.option}') from None
        self._lock = claim(self.folder / LOCK)
        if self._lock is None:
            raise UserError('another process is making this folder', self.folder, 'wait until it ends; what it makes '
                            'is then used here')

    def finish(self, outputs: Iterable[Path] = (), **facts: Any) -> None:
        """Mark the folder as complete and keep facts about it (checkpoint, thresholds, ...).

        Args:
            outputs: Files without which it would not be complete.
            facts: JSON-ready facts.
        """
        self._write(done=True, outputs={os.path.relpath(path, self.folder): path.stat().st_size for path in outputs},
                    **facts)
        self.release()

    def release(self) -> None:
        """Let other processes make this folder too, where what it holds bears that."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write(self, done: bool, outputs: dict[str, int] | None = None, **facts: Any) -> None:
        write_json(self.folder / RECORD, dict(fingerprint=self.fingerprint, done=done, git_commit=git_commit(),
                                              outputs=outputs or {}, facts=facts, content=self.content))

    def beside(self) -> 'Artifact':
        """This artifact in a folder of its own beside one that was made from something else."""
        return Artifact(self.folder.with_name(f'{self.folder.name}-{self.fingerprint[:8]}'), self.content)
