"""Records of an append-only file, each with a checksum: what is torn or altered is found, never read.

Layout: ``magic (8) | crc32 (4) | header length (4) | payload length (8) | header (JSON) | payload``; the
checksum covers all that follows it.
"""
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAGIC = b'\x93mpsrec\n'
_HEAD = struct.Struct('<8sIIQ')
_MAX_HEADER = 1 << 20
_MAX_PAYLOAD = 1 << 32


@dataclass(frozen=True)
class Record:
    """A sound record and its place in the file."""
    header: dict[str, Any]
    offset: int
    size: int


def encode(header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> bytes:
    """One record as bytes. Arrays hold numbers or booleans; names, types and shapes go to the header."""
    payload = b''
    if arrays is not None:
        entries, chunks = [], []
        for name, array in arrays.items():
            # Little-endian on every machine; note that ascontiguousarray would turn a scalar into a vector.
            array = np.asarray(array, order='C')
            if array.dtype.kind not in 'biuf':
                raise TypeError(f'array "{name}" has type {array.dtype}; a record holds numbers only')
            array = array.astype(array.dtype.newbyteorder('<'), copy=False)
            entries.append([name, array.dtype.str, list(array.shape)])
            chunks.append(array.tobytes())
        header = header | {'arrays': entries}
        payload = zlib.compress(b''.join(chunks), 6)
    head = json.dumps(header, separators=(',', ':'), allow_nan=False).encode()
    if len(head) > _MAX_HEADER or len(payload) > _MAX_PAYLOAD:
        raise ValueError(f'a record of {len(head)} + {len(payload)} bytes is too large')
    rest = struct.pack('<IQ', len(head), len(payload)) + head + payload
    return MAGIC + struct.pack('<I', zlib.crc32(rest)) + rest


def decode(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Header and arrays of one whole record; ``None`` where it is not sound."""
    header = _sound_header(data)
    if header is None:
        return None
    payload = data[_HEAD.size + _HEAD.unpack_from(data)[2]:]
    raw = zlib.decompress(payload) if payload else b''
    arrays, start = {}, 0
    for name, dtype, shape in header.get('arrays', []):
        size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
        # A copy, since frombuffer gives a read-only view.
        arrays[name] = np.frombuffer(raw[start:start + size], dtype).reshape(shape).copy()
        start += size
    return header, arrays


def _sound_header(data: bytes) -> dict[str, Any] | None:
    if len(data) < _HEAD.size:
        return None
    magic, crc, header_size, payload_size = _HEAD.unpack_from(data)
    whole = _HEAD.size + header_size + payload_size
    if magic != MAGIC or len(data) != whole or zlib.crc32(memoryview(data)[12:]) != crc:
        return None
    return json.loads(data[_HEAD.size:_HEAD.size + header_size])


def scan(path: Path, start: int = 0) -> Iterator[Record | int]:
    """Walk through a file from byte ``start``, which must be where a record begins or began to be written.

    Yields:
        Sound records, and for each damaged stretch that a sound record follows its first byte. A damaged
        stretch at the end is not reported: it may be a record in the making, so scan again from the end of
        the last sound one.
    """
    with path.open('rb') as file:
        end = file.seek(0, 2)
        position, damage = start, None
        while position < end:
            record = _read_record(file, position, end)
            if record is None:
                damage = position if damage is None else damage
                position = _next_magic(file, position + 1, end)
                continue
            if damage is not None:
                yield damage
                damage = None
            yield record
            position += record.size


def _read_record(file: BinaryIO, position: int, end: int) -> Record | None:
    file.seek(position)
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, _, header_size, payload_size = _HEAD.unpack(head)
    size = _HEAD.size + header_size + payload_size
    if magic != MAGIC or header_size > _MAX_HEADER or payload_size > _MAX_PAYLOAD or position + size > end:
        return None
    header = _sound_header(head + file.read(size - _HEAD.size))
    return None if header is None else Record(header, position, size)


def _next_magic(file: BinaryIO, position: int, end: int) -> int:
    """First place at or after ``position`` where a record may begin; ``end`` where there is none."""
    while position < end:
        file.seek(position)
        window = file.read(1 << 20)
        found = window.find(MAGIC)
        if found >= 0:
            return position + found
        if len(window) < 1 << 20:
            break
        # Windows overlap, since the magic may lie across their seam.
        position += len(window) - len(MAGIC) + 1
    return end
