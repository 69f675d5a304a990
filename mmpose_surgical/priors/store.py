"""Crash-safe store of what is made once per picture: coarse heatmaps and mask priors.

A store is a folder with ``store.json`` (the fingerprint of what made it) and append-only shards, one per
writing process. A value record maps a content key to arrays and scalars, a link record maps a picture to a
key, and the last link of a picture wins. Every record carries a checksum. ``kill -9`` at any moment loses at
most the record in hand; several processes, on several machines with a common file system, may write at once.
"""
import contextlib
import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.records import decode, encode, scan

MANIFEST = 'store.json'

_SYNC_SECONDS = 5.
"""A process that dies loses nothing that was written; a machine without power at most these seconds."""

_REMAKE = 'repeat the command, which makes again what is missing or damaged, and nothing else'


def content_key(pixels: bytes, points_xy: np.ndarray, labels: np.ndarray, fingerprint: str) -> str:
    """Key of a value: 32 hex digits.

    Args:
        pixels: Digest of the picture, see :meth:`MaskPriorBackend.frame_digest`.
        points_xy: (P, 2), already rounded to the prompt grid.
        labels: (P,).
        fingerprint: The backend's.
    """
    digest = hashlib.sha256()
    for part in (pixels, np.asarray(points_xy, '<f4').tobytes(), np.asarray(labels, '<i8').tobytes(),
                 fingerprint.encode()):
        # Lengths in between, so that no two different sets of parts give the same stream of bytes.
        digest.update(len(part).to_bytes(8, 'little') + part)
    return digest.hexdigest()[:32]


class RecordStore:
    """One store, open for reading (``'r'``) or also for appending (``'a'``, made where there is none).

    It may be pickled, forked, and read from DataLoader workers: each process opens files of its own when it
    needs them. An index is read at opening (every checksum is verified then); :meth:`refresh` takes in what
    others wrote since.

    Args:
        root: Folder.
        fingerprint: What makes the content, in words, e.g. ``{'backend': 'sam3', 'weights': '1f0c...'}``.
            ``None`` takes whatever is there (reading only).
        mode: ``'r'`` or ``'a'``.

    Attributes:
        fingerprint: The fingerprint of ``store.json``.

    Raises:
        UserError: No such store, an unreadable one, or one with another fingerprint.
    """

    def __init__(self, root: str | Path, fingerprint: Mapping[str, str] | None = None,
                 mode: Literal['r', 'a'] = 'r') -> None:
        if mode not in ('r', 'a'):
            raise ValueError(f"mode is {mode!r}, not 'r' or 'a'")
        if mode == 'a' and fingerprint is None:
            raise ValueError('a store that is written to needs a fingerprint')
        self.root = Path(root)
        self.mode = mode
        if mode == 'a':
            self._create(dict(fingerprint))
        self.fingerprint = self._read_manifest()
        if fingerprint is not None:
            self._compare(dict(fingerprint))
        self._shards: dict[str, int] = {}
        self._damage: dict[str, set[int]] = {}
        self._values: dict[str, tuple[str, int, int]] = {}
        self._links: dict[Hashable, tuple[tuple[int, str, int], str, str]] = {}
        self._reset_handles()
        self.refresh()

    # -- manifest

    @property
    def _manifest(self) -> Path:
        return self.root / MANIFEST

    def _create(self, fingerprint: dict[str, str]) -> None:
        """Put ``store.json`` in place at one stroke; of several processes that try, one succeeds."""
        self.root.mkdir(parents=True, exist_ok=True)
        if self._manifest.exists():
            return
        if any(self.root.glob('shard-*.bin')):
            raise UserError('the store has records but no store.json', self.root,
                            'remove this folder, or name another')
        temporary = self.root / f'.store-{os.getpid()}-{secrets.token_hex(4)}.json'
        with temporary.open('w') as file:
            json.dump({'format': 1, 'fingerprint': fingerprint}, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, self._manifest)
        except OSError:
            # A file system without hard links: the last of several writers wins, and all compare afterwards.
            os.replace(temporary, self._manifest)
        finally:
            temporary.unlink(missing_ok=True)

    def _read_manifest(self) -> dict[str, str]:
        try:
            content = json.loads(self._manifest.read_text())
            if content['format'] != 1:
                raise ValueError(f'format {content["format"]} is not 1')
            return dict(content['fingerprint'])
        except FileNotFoundError:
            raise UserError('there is no store here', self.root,
                            'make it with tools/train.py') from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'store.json cannot be used: {error}', self._manifest,
                            'remove this folder, or name another') from None

    def _compare(self, wanted: dict[str, str]) -> None:
        names = sorted(name for name in wanted.keys() | self.fingerprint.keys()
                       if wanted.get(name) != self.fingerprint.get(name))
        if names:
            told = '; '.join(f'{name} is {self.fingerprint.get(name, "absent")} in the store and '
                             f'{wanted.get(name, "absent")} in this run' for name in names)
            raise UserError(f'the store was made by something else: {told}', self.root,
                            'use another folder, or remove this one')

    # -- index

    def refresh(self) -> None:
        """Take in the records that were written, here or by others, since the last look."""
        for path in sorted(self.root.glob('shard-*.bin')):
            for found in scan(path, self._shards.get(path.name, 0)):
                if isinstance(found, int):
                    self._damage.setdefault(path.name, set()).add(found)
                else:
                    self._enter(path.name, found.header, found.offset, found.size)
            self._shards.setdefault(path.name, 0)

    def _enter(self, shard: str, header: dict[str, Any], offset: int, size: int) -> None:
        if header['kind'] == 'value':
            # A later record of the same key replaces an earlier one, which may have been found unreadable.
            self._values[header['key']] = (shard, offset, size)
        elif header['kind'] == 'link':
            order = (header['time'], shard, offset)
            known = self._links.get(header['image_id'])
            if known is None or order > known[0]:
                self._links[header['image_id']] = (order, header['key'], header.get('note', ''))
        self._shards[shard] = offset + size

    @property
    def damaged(self) -> int:
        """Number of torn or altered stretches that are skipped, an unfinished end of a shard included.

        While another process is writing, its record in the making counts too.
        """
        torn = sum((self.root / name).stat().st_size > known for name, known in self._shards.items())
        return torn + sum(map(len, self._damage.values()))

    def __len__(self) -> int:
        """Number of pictures that can be read."""
        return sum(key in self._values for _, key, _ in self._links.values())

    def has(self, image_id: Hashable) -> bool:
        """Whether this picture can be read."""
        link = self._links.get(image_id)
        return link is not None and link[1] in self._values

    @property
    def unreadable(self) -> int:
        """Number of pictures whose value is damaged or was never written."""
        return len(self._links) - len(self)

    def has_value(self, key: str) -> bool:
        """Whether a value is stored under this content key."""
        return key in self._values

    def note(self, image_id: Hashable) -> str | None:
        """The note of the picture's link; ``None`` where the picture cannot be read."""
        return self._links[image_id][2] if self.has(image_id) else None

    def missing(self, image_ids: Iterable[Hashable]) -> list[Hashable]:
        """Those pictures that cannot be read, in the given order."""
        return [image_id for image_id in image_ids if not self.has(image_id)]

    # -- reading

    def get(self, image_id: Hashable) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and scalars of a picture.

        Raises:
            UserError: The picture is missing, or its record no longer matches its checksum.
        """
        if not self.has(image_id):
            raise UserError(f'image {image_id} is missing in the store', self.root, _REMAKE)
        return self.value(self._links[image_id][1])

    def value(self, key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and scalars under a content key; errors as in :meth:`get`."""
        if key not in self._values:
            raise UserError(f'value {key} is missing in the store', self.root, _REMAKE)
        shard, offset, size = self._values[key]
        decoded = decode(os.pread(self._handle(shard), size, offset))
        if decoded is None or decoded[0].get('key') != key:
            raise UserError(f'value {key} in {shard} was altered after it was written', self.root, _REMAKE)
        return decoded[1], decoded[0]['scalars']

    def _handle(self, shard: str) -> int:
        if self._pid != os.getpid():
            self._reset_handles()
        if shard not in self._handles:
            try:
                self._handles[shard] = os.open(self.root / shard, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise UserError(f'{shard} was removed from the store', self.root, _REMAKE) from None
        return self._handles[shard]

    # -- writing

    def put(self, key: str, arrays: Mapping[str, np.ndarray], scalars: Mapping[str, Any]) -> None:
        """Store a value. A key that is there already is left as it is: equal keys mean equal content.

        Args:
            key: See :func:`content_key`.
            arrays: Numbers or booleans of any shape.
            scalars: JSON values.
        """
        if key not in self._values:
            self._append({'kind': 'value', 'key': key, 'scalars': dict(scalars)}, dict(arrays))

    def link(self, image_id: Hashable, key: str, note: str = '') -> None:
        """Let a picture point to a value; a later link replaces an earlier one.

        Args:
            image_id: int or str.
            key: Of a value that was put before.
            note: Whatever tells later whether the link is still the right one, e.g. a hash of the prompts.
        """
        if key not in self._values:
            raise ValueError(f'value {key} was not put before it was linked')
        image_id = image_id.item() if isinstance(image_id, np.generic) else image_id
        known = self._links.get(image_id)
        # Times order the links of several writers; a clock that was set back must not make an old link win.
        order = max(time.time_ns(), known[0][0] + 1 if known else 0)
        self._append({'kind': 'link', 'image_id': image_id, 'key': key, 'note': note, 'time': order})

    def _append(self, header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
        if self.mode != 'a':
            raise ValueError("the store is open for reading; open it with mode='a'")
        data = encode(header, arrays)
        if self._pid != os.getpid():
            self._reset_handles()
        if self._writer is None:
            # Never an old shard again: its end may be torn.
            self._shard = f'shard-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.bin'
            self._writer = os.open(self.root / self._shard,
                                   os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
            folder = os.open(self.root, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            self._synced = time.monotonic()
        offset = os.fstat(self._writer).st_size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._writer, view):]
        except OSError as error:
            os.ftruncate(self._writer, offset)
            raise UserError(f'the store cannot be written to: {error.strerror}', self.root,
                            'make room or correct the permissions, then repeat the command') from error
        self._enter(self._shard, header, offset, len(data))
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._writer)
            self._synced = time.monotonic()

    # -- life cycle

    def _reset_handles(self) -> None:
        """Forget the handles of another process (a fork inherits them; they are its parent's to close)."""
        self._pid = os.getpid()
        self._handles: dict[str, int] = {}
        self._writer: int | None = None
        self._shard = ''
        self._synced = 0.

    def close(self) -> None:
        """Write through to the disk and close the files; the store may be used again."""
        if self._pid == os.getpid():
            if self._writer is not None:
                os.fsync(self._writer)
                os.close(self._writer)
            for handle in self._handles.values():
                os.close(handle)
        self._reset_handles()

    def __enter__(self) -> 'RecordStore':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items()
                if name not in ('_pid', '_handles', '_writer', '_shard', '_synced')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset_handles()
