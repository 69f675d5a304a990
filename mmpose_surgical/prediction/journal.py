"""What is known of the frames of a video so far, in a file that a kill cannot spoil (no torch in here)."""
import json
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
        start: Number of the first frame.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        self.start = start
        self.next_frame = start
        """The frame that comes next."""
        self._whole = 0
        for line, record in self._lines():
            if record['frame'] != self.next_frame:
                break
            self.next_frame += 1
            self._whole += len(line)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Whole lines from the beginning, up to the first that is not."""
        if not self.path.exists():
            return
        with self.path.open('rb') as file:
            for line in file:
                record = _decode(line)
                if record is None:
                    return
                yield line, record

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Records of all frames, read as they are asked for."""
        for number, (_, record) in enumerate(self._lines(), self.start):
            if number >= self.next_frame:
                return
            yield record

    def __enter__(self) -> 'Journal':
        """Open for appending.

        Raises:
            UserError: The place cannot be written.
        """
        try:
            self._file: IO[bytes] = self.path.open('ab', buffering=0)
            self._file.truncate(self._whole)
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
        line = _encode(record)
        try:
            self._file.write(line)
        except OSError as error:
            raise UserError(f'file cannot be written: {error.strerror}', self.path, 'make room, and call again: it '
                            'goes on from here') from None
        self.next_frame += 1
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
