"""The predictions table: one row per predicted point, of any method, as JSON or CSV.

A row is ``{image_id, landmark, x, y, score}``, in pixels of the original picture. A frame without a point
simply has no rows.
"""
from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.datasets.annotations import LANDMARKS
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.files import write_atomically

COLUMNS = ('image_id', 'landmark', 'x', 'y', 'score')
FARTHEST = 1e6
"""Pixels: sums of squares stay exact, and no camera has so many."""


@dataclass(frozen=True)
class Predictions:
    """Predicted points as columns of one length P."""

    image_id: np.ndarray
    """(P,) int64."""
    landmark: np.ndarray
    """(P,) str, landmark types."""
    x: np.ndarray
    """(P,) float64, pixels of the original picture."""
    y: np.ndarray
    """(P,) float64."""
    score: np.ndarray
    """(P,) float64; higher is surer."""

    def __len__(self) -> int:
        return len(self.image_id)

    @property
    def xy(self) -> np.ndarray:
        """(P, 2) float64."""
        return np.stack([self.x, self.y], axis=1)

    def select(self, rows: np.ndarray) -> Predictions:
        """The rows of a boolean mask or an index array."""
        return Predictions(*(getattr(self, f.name)[rows] for f in fields(self)))

    def records(self) -> list[dict[str, Any]]:
        """The rows as plain dicts, in the order of :data:`COLUMNS`."""
        columns = (getattr(self, name).tolist() for name in COLUMNS)
        return [dict(zip(COLUMNS, row)) for row in zip(*columns)]

    @classmethod
    def from_records(cls, records: Iterable[Any], source: str | Path = 'predictions', *,
                     known_images: Collection[int] | None = None,
                     landmarks: Collection[str] = LANDMARKS) -> Predictions:
        """Check rows and make a table of them.

        Args:
            records: mappings with the keys of :data:`COLUMNS`; other keys are ignored.
            source: what an error names as the place.
            known_images: image ids that may occur; ``None`` checks none.
            landmarks: landmark types that may occur.

        Raises:
            UserError: some rows are no valid predictions; all of them are named at once.
        """
        named = ((f'record {number}', record) for number, record in enumerate(records, 1))
        return cls._from_named(named, source, known_images, landmarks)

    @classmethod
    def _from_named(cls, named: Iterable[tuple[str, Any]], source: str | Path,
                    known_images: Collection[int] | None, landmarks: Collection[str]) -> Predictions:
        known = None if known_images is None else set(known_images)
        rows: list[tuple] = []
        problems: list[str] = []
        first_at: dict[tuple, str] = {}
        for name, record in named:
            row, wrong = _check(record, known, landmarks)
            if not wrong:
                first = first_at.setdefault(row[:4], name)
                wrong = [f'the same point as {first}'] if first is not name else []
                rows.append(row)
            problems += [f'{name}: {w}' for w in wrong]
        if problems:
            raise UserError(f'{len(problems)} problem(s) in the predictions: {list_problems(problems)}',
                            source, f'give each point the fields {", ".join(COLUMNS)}, image ids of the '
                            f'annotation file, and a landmark among {", ".join(landmarks)}')
        columns = list(zip(*rows)) or [()] * len(COLUMNS)
        types = (np.int64, np.str_, np.float64, np.float64, np.float64)
        return cls(*(np.asarray(column, dtype=dtype) for column, dtype in zip(columns, types)))


def surest_of_equal(points: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points of one picture without those that repeat another of the same landmark at the same place.

    A method with one output per slot can give one point twice, which is one answer; its best score counts.
    """
    best: dict[tuple, Mapping[str, Any]] = {}
    for point in points:
        key = (point['landmark'], point['x'], point['y'])
        if key not in best or point['score'] > best[key]['score']:
            best[key] = point
    return list(best.values())


def _check(record: Any, known: set[int] | None, landmarks: Collection[str]) -> tuple[tuple, list[str]]:
    """The row of a record and what is wrong with it."""
    if not isinstance(record, Mapping):
        return (), [f'{record!r} is not an object']
    if None in record:
        # csv.DictReader's key for surplus cells: a decimal comma would shift all that follows.
        return (), ['more cells than the header names']
    missing = [name for name in COLUMNS if record.get(name) in (None, '')]
    if missing:
        return (), [f'{", ".join(missing)} missing']
    wrong: list[str] = []
    image_id = _integer(record['image_id'])
    if image_id is None:
        wrong.append(f'image_id {record["image_id"]!r} is not a whole number')
    elif known is not None and image_id not in known:
        wrong.append(f'image_id {image_id} is not in the annotations')
    landmark = record['landmark']
    if not isinstance(landmark, str) or landmark not in landmarks:
        wrong.append(f'unknown landmark {landmark!r}')
    numbers = {name: _number(record[name]) for name in ('x', 'y', 'score')}
    wrong += [f'{name} is {record[name]!r}, not a finite number' for name, v in numbers.items() if v is None]
    wrong += [f'{name} is {record[name]!r}, which is in no picture' for name in ('x', 'y')
              if numbers[name] is not None and abs(numbers[name]) > FARTHEST]
    return (image_id, landmark, *numbers.values()), wrong


def _number(value: Any) -> float | None:
    """A finite float, or ``None``."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    """An int64, or ``None``; a text is parsed, because CSV knows no numbers."""
    try:
        whole = int(value) if isinstance(value, str) else value
    except ValueError:
        return None
    number = _number(whole)
    if number is None or number != int(number) or abs(number) >= 2**63:
        return None
    return int(whole)


def read_predictions(path: str | Path, *, known_images: Collection[int] | None = None,
                     landmarks: Collection[str] = LANDMARKS) -> Predictions:
    """Read a predictions file; a name that ends in ``.csv`` is CSV with a header line, all else a JSON list.

    One that ends in ``.gz`` besides is compressed.

    Args:
        path: the file.
        known_images: image ids that may occur; ``None`` checks none.
        landmarks: landmark types that may occur.

    Raises:
        UserError: the file is missing or damaged, or has bad rows; all of them are named at once.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        # Spreadsheets begin UTF-8 files with a byte-order mark.
        text = (gzip.decompress(content) if _is_compressed(path) else content).decode('utf-8-sig')
    except FileNotFoundError:
        raise UserError('predictions file not found', path, 'check the path') from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f'predictions file cannot be read: {error}', path,
                        'give a JSON list or a CSV file in UTF-8') from None
    if _is_csv(path):
        return Predictions._from_named(_csv_rows(text, path), path, known_images, landmarks)
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'predictions file is not valid JSON, perhaps truncated: {error}', path,
                        'write it again') from None
    if not isinstance(records, list):
        raise UserError('predictions file is not a JSON list', path,
                        'write a list of {"image_id", "landmark", "x", "y", "score"}')
    return Predictions.from_records(records, path, known_images=known_images, landmarks=landmarks)


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == '.gz'


def _is_csv(path: Path) -> bool:
    return (path.with_suffix('') if _is_compressed(path) else path).suffix.lower() == '.csv'


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=''), skipinitialspace=True)
    try:
        absent = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if absent:
            raise UserError(f'the CSV header lacks {", ".join(absent)}', path,
                            f'begin the file with the line {",".join(COLUMNS)}')
        for row in reader:
            yield f'line {reader.line_num}', row
    except csv.Error as error:
        raise UserError(f'line {reader.line_num + 1} cannot be read: {error}', path, 'write it again') from None


def write_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write a predictions file, CSV or JSON and compressed or not by its name, whole or not at all.

    Numbers are written so that reading them gives the same bits.
    """
    path, records = Path(path), predictions.records()
    if _is_csv(path):
        out = io.StringIO(newline='')
        writer = csv.DictWriter(out, COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(records)
        text = out.getvalue()
    else:
        lines = ',\n'.join(json.dumps(record, allow_nan=False) for record in records)
        text = f'[\n{lines}\n]\n' if records else '[]\n'
    content = text.encode()
    # Without a time stamp, so that equal points are equal files.
    compressed = gzip.compress(content, mtime=0) if _is_compressed(path) else content
    write_atomically(path, lambda temporary: temporary.write_bytes(compressed))
