"""Predictions of a video as tables: CSV for spreadsheets, JSON for programs (no torch in here)."""
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmpose_surgical.files import write_atomically

COLUMNS = ('frame', 'time', 'state', 'landmark', 'x', 'y', 'score')
SMOOTH_COLUMNS = ('x_smooth', 'y_smooth')


def write_csv(path: Path, frames: Iterable[dict[str, Any]], smooth: bool = False, names: bool = False) -> None:
    """One row a point, in pixels of the picture and seconds from the first frame.

    A frame without a point has one row, whose ``state`` is ``none``, or ``broken`` where it could not be read.

    Args:
        path: The file, which is there whole or not at all.
        frames: Records in the order of time.
        smooth: Whether points have smoothed places.
        names: Whether frames are files, whose names are told too.
    """
    columns = [*COLUMNS, *(SMOOTH_COLUMNS if smooth else ()), *(('name', ) if names else ())]

    def write(temporary: Path) -> None:
        # A file may have a name that is no text.
        with temporary.open('w', newline='', encoding='utf-8', errors='backslashreplace') as file:
            writer = csv.DictWriter(file, columns, restval='', extrasaction='ignore', lineterminator='\n')
            writer.writeheader()
            for frame in frames:
                shown = frame | dict(time=round(frame['time'], 6))
                writer.writerows(shown | point for point in frame['points'] or [{}])

    write_atomically(path, write)


def write_frames_json(path: Path, meta: dict[str, Any], frames: Iterable[dict[str, Any]]) -> None:
    """``{meta, frames: [{frame, time, state, points: [{landmark, x, y, score}]}]}``, one line a frame."""

    def lines() -> Iterator[str]:
        yield '{\n"meta": ' + json.dumps(meta, allow_nan=False) + ',\n"frames": ['
        comma = ''
        for frame in frames:
            told = {key: value for key, value in frame.items() if key not in ('outline', 'heat')}
            yield f'{comma}\n{json.dumps(told, allow_nan=False)}'
            comma = ','
        yield '\n]\n}\n'

    def write(temporary: Path) -> None:
        with temporary.open('w', encoding='utf-8') as file:
            file.writelines(lines())

    write_atomically(path, write)
