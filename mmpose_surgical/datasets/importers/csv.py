"""The table that ``export --format csv`` writes, also by hand: a line for each point."""
import csv
from pathlib import Path

from mmpose_surgical.datasets.exporters.csv import COLUMNS
from mmpose_surgical.datasets.importers.draft import (
    SKIP,
    SPOILT,
    CopyPicture,
    Draft,
    ImportOptions,
    LandmarkNames,
    action_of,
    number,
)
from mmpose_surgical.datasets.importers.pictures import PictureFinder
from mmpose_surgical.datasets.records import Frame, Point
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import SLOTS
from mmpose_surgical.pictures import MAX_SIDE

NEEDED = ('video', 'frame_id', 'file_name', 'width', 'height')
_DAMAGE = (KeyError, TypeError, ValueError, OverflowError)


def read_csv(src: Path, options: ImportOptions) -> Draft:
    """Read ``points.csv`` of a folder, or a table.

    Raises:
        UserError: It is missing, no text, or lacks a column.
    """
    file = src / 'points.csv' if src.is_dir() else src
    try:
        with file.open(newline='', encoding='utf-8-sig') as lines:
            table = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f'the table cannot be read: {error}', file, 'name a CSV in UTF-8') from None
    if missing := [name for name in NEEDED if name not in (table[0] if table else {})]:
        raise UserError(f'the table has no {", ".join(missing)}', file, f'give it the columns {", ".join(COLUMNS)}')
    draft, finder = Draft(options), PictureFinder((row['file_name'] for row in table), file.parent)
    names = LandmarkNames({}, options.landmarks)
    names.refuse({row['keypoint'] for row in table if row.get('keypoint') and names(row['keypoint']) is None}, file)
    tools: dict[tuple, tuple[Frame, dict[str, str], list[Point], str]] = {}
    spoilt: dict[tuple[str | None, str | None], str] = {}
    for index, row in enumerate(table, 2):
        where = f'line {index}'
        try:
            frame = _frame(draft, finder, row, where)
            if frame is not None and (row.get('tool_id') or row.get('tool')):
                own = tools.setdefault((frame.image_id, row.get('tool_id') or row.get('tool')), (frame, row, [], where))
                _add_point(draft, names, row, own[2], where)
        except _DAMAGE as error:
            draft.skip('line', f'damaged ({type(error).__name__})', where)
            spoilt[row.get('video'), row.get('frame_id')] = where
    for frame, row, points, where in tools.values():
        try:
            _tool(draft, frame, row, points, where)
        except ValueError:
            draft.skip('tool', 'active is neither 0 nor 1', where)
            spoilt[frame.video.name, str(frame.frame_id)] = where
    for (video, frame_id), where in spoilt.items():
        try:
            draft.drop(draft.frames[video, int(frame_id)], SPOILT, where)
        except (KeyError, TypeError, ValueError):
            continue  # its picture is not there either
    return draft


def _frame(draft: Draft, finder: PictureFinder, row: dict[str, str], where: str) -> Frame | None:
    frame_id, size = int(row['frame_id']), (int(row['width']), int(row['height']))
    known = draft.frames.get((row['video'], frame_id))
    if known is not None:
        if (known.width, known.height) != size:
            raise ValueError('another size')
        return known
    if not 1 <= min(size) <= max(size) <= MAX_SIDE or not row['video']:
        raise ValueError('no size or no video')
    source = finder.find(row['file_name'])
    if source is None:
        draft.skip('line', 'its picture is missing, or several have its name', f'{where}: {row["file_name"]}')
        return None
    video = draft.video(row['video'], source=row.get('source') or None, dense=False)
    name = f'frames/{draft.folder(video.name)}/{frame_id:06d}{source.suffix.lower()}'
    draft.work.append(CopyPicture(source, name))
    return draft.frame(video, frame_id, size, file_name=name, annotated=_truth(row.get('annotated'), True),
                       image_id=_id(row.get('image_id')))


def _add_point(draft: Draft, names: LandmarkNames, row: dict[str, str], points: list[Point], where: str) -> None:
    keypoint = row.get('keypoint')
    if not keypoint:
        return
    landmark = names(keypoint)
    if landmark == SKIP:
        draft.skip('point', f'it is of type {keypoint}', where)
        return
    v = int(row.get('v') or 2)
    if v not in (0, 1, 2):
        raise ValueError(f'visibility {v}')
    taken = {point.name for point in points}
    free = [slot for slot in SLOTS if slot.startswith(landmark) and slot not in taken]
    slot = keypoint if keypoint in free else next(iter(free), None)
    if slot is None:
        draft.skip('point', f'the tool has its {landmark}s already', where)
    elif v:
        points.append(Point(landmark, slot, number(float(row['x'])), number(float(row['y'])), v))


def _tool(draft: Draft, frame: Frame, row: dict[str, str], points: list[Point], where: str) -> None:
    active = _truth(row.get('active'), True)
    action = action_of(row.get('action') or None, draft.options, draft)
    if action == SKIP:
        draft.skip('tool', f'--action {row["action"]}=skip', where)
        return
    tool = row.get('tool') or 'tool'
    draft.tool(frame, draft.options.tools.get(tool, tool), points, action=action, active=active, where=where,
               tool_id=_id(row.get('tool_id')))


def _truth(text: str | None, default: bool) -> bool:
    if not text:
        return default
    words = {'1': True, '0': False, 'true': True, 'false': False}
    if text.lower() not in words:
        raise ValueError(f'{text} is neither 0 nor 1')
    return words[text.lower()]


def _id(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
