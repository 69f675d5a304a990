"""What is known of the frames of a video so far, in a file that a kill cannot spoil (no torch in here)."""
import errno
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mmpose_surgical.errors import UserError


class Journal:
    """One line a frame, in order, each with its checksum; what a kill left of a line is cut off by the next call.

    Args:
        path: The file.
        made_from: What the frames were made from, in the first line; a journal of something else counts as empty.
    """

    def __init__(self, path: Path, made_from: str) -> None:
        self.path = path
        self.made_from = made_from
        self.next_frame = 0
        """The frame that comes next."""
        self._whole = 0
        for line, record in self._lines():
            self.next_frame += 'frame' in record
            self._whole += len(line)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Whole lines in order, the first of which says what the others were made from."""
        if not self.path.exists():
            return
        with self.path.open('rb') as file:
            for number, line in enumerate(file, -1):
                record = _decode(line)
                if record != dict(made_from=self.made_from) if number < 0 else (record or {}).get('frame') != number:
                    return
                yield line, record

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Records of all frames, read as they are asked for."""
        for _, record in self._lines():
            if 'frame' in record and record['frame'] < self.next_frame:
                yield record

    def __enter__(self) -> 'Journal':
        """Open for appending.

        Raises:
            UserError: The place cannot be written.
        """
        try:
            self._file: IO[bytes] = self.path.open('ab', buffering=0)
            self._file.truncate(self._whole)
            if not self._whole:
                self._write(dict(made_from=self.made_from))
        except OSError as error:
            raise UserError(f'file cannot be written: {error.strerror}', self.path,
                            'name a place that can be written') from None
        return self

    def append(self, record: dict[str, Any]) -> None:
        """Add the next frame; what was added survives the end of this process.

        Raises:
            UserError: The disk is full.
        """
        if record['frame'] != self.next_frame:
            raise ValueError(f'frame {self.next_frame} is due, not {record["frame"]}')
        try:
            self._write(record)
        except OSError as error:
            raise UserError(f'file cannot be written: {error.strerror}', self.path, 'make room, and call again: it '
                            'goes on from here') from None
        self.next_frame += 1

    def _write(self, record: dict[str, Any]) -> None:
        line = _encode(record)
        if self._file.write(line) != len(line):  # unbuffered, so that a full disk may take a part without a word
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole += len(line)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()


def _encode(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, allow_nan=False, separators=(',', ':')).encode()
    return b'%08x %s\n' % (zlib.crc32(text), text)


def _decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line, ``None`` if the line is not whole."""
    checksum, _, text = line.rstrip(b'\n').partition(b' ')
    if not line.endswith(b'\n') or checksum != b'%08x' % zlib.crc32(text):
        return None
    return json.loads(text)
