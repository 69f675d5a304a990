"""The per-clip layout of groups in this field: ``clips/<action>_<start>_<end>.mp4`` and ``annotation/<same>.json``.

    {"imageDimensions": {"width": 854, "height": 480},
     "points": [{"frameIndex": 561, "type": "tool_tip" | "tool_anchor" | "contact", "x": 393, "y": 321, "vis": true}]}

``frameIndex`` counts from the start of the whole video, not of the clip. A folder with ``clips`` and ``annotation`` is
one case; cases may lie in folders, and these in folders of their source.
"""
import json
import re
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.importers.draft import (
    SKIP,
    SPOILT,
    Draft,
    Footage,
    ImportOptions,
    LandmarkNames,
    action_of,
    flag,
    number,
    pack,
    whole,
)
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import FolderNames
from mmpose_surgical.landmarks import TOOL_OF_ACTION

LANDMARK_NAMES = dict(tool_tip='tip', tool_anchor='anchor', contact=SKIP)
VIDEO_ENDINGS = ('.mp4', '.avi', '.mkv', '.mov', '.m4v', '.webm', '.mpg', '.mpeg')
_NAME = re.compile(r'(?P<action>.+)_(?P<start>\d+)_(?P<end>\d+)')


def read_native(src: Path, options: ImportOptions) -> Draft:
    """Read all cases under a folder.

    Raises:
        UserError: There is no case.
    """
    draft, names = Draft(options), LandmarkNames(LANDMARK_NAMES, options.landmarks)
    clips = sorted(path for path in (src / 'clips', *src.rglob('clips')) if path.is_dir())
    cases = {folder.parent: found for folder in clips for name in ('annotation', 'annotations')
             if (found := folder.parent / name).is_dir()}
    if not cases:
        raise UserError('there is no case in the native layout', src,
                        'name a folder with clips/ and annotation/, or one with such folders in it')
    for folder in dict.fromkeys(path.parent for path in clips if path.parent not in cases):
        draft.skip('case', 'it has no folder "annotation" beside "clips"', str(folder))
    unique = FolderNames(str)
    for folder, annotation in cases.items():
        parts = folder.relative_to(src).parts
        case = unique(str(folder), '_'.join(parts) or src.resolve().name)
        _read_case(draft, names, case, parts[0] if len(parts) > 1 else None, folder, annotation)
    return draft


def _read_case(draft: Draft, names: LandmarkNames, case: str, source: str | None, folder: Path,
               annotation: Path) -> None:
    files: dict[str, Path] = {}
    for path in sorted((folder / 'clips').iterdir()):
        if path.suffix.lower() in VIDEO_ENDINGS and files.setdefault(path.stem, path) != path:
            draft.skip('clip', 'another file has its name, but for the ending', f'{case}/{path.name}')
    records = {path.stem: path for path in sorted(annotation.glob('*.json'))}
    for stem in sorted(files.keys() | records.keys(), key=_order):
        where = f'{case}/{stem}'
        if stem not in records:
            draft.skip('clip', 'it has no annotation file', where)
        elif stem not in files:
            draft.skip('clip', 'its video is missing', where)
        elif not (match := _NAME.fullmatch(stem)):
            draft.skip('clip', 'its name is not <action>_<start>_<end>', where)
        else:
            _read_clip(draft, names, case, source, files[stem], records[stem], match)


def _order(stem: str) -> tuple:
    match = _NAME.fullmatch(stem)
    return (0, int(match['start']), stem) if match else (1, 0, stem)


def _read_clip(draft: Draft, names: LandmarkNames, case: str, source: str | None, file: Path, record: Path,
               name: re.Match) -> None:
    where = f'{case}/{file.stem}'
    action = action_of(name['action'], draft.options, draft)
    if action == SKIP:
        draft.skip('clip', f'--action {name["action"]}=skip', where)
        return
    start, end = int(name['start']), int(name['end'])
    if start > end:
        draft.skip('clip', 'the end in its name is before the start', where)
        return
    try:
        data = json.loads(record.read_text(encoding='utf-8'))
        annotated_size = tuple(whole(data['imageDimensions'][key]) for key in ('width', 'height'))
        listed = data['points']
        if not isinstance(listed, list):
            raise ValueError('no list of points')
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        draft.skip('clip', f'its annotation is damaged ({type(error).__name__})', where)
        return
    points = _points_of(listed, draft, names, where)
    try:
        footage = Footage.of(file)
    except UserError as error:
        draft.skip('clip', f'its video is no good: {error.what}', where)
        return
    if annotated_size != footage.size:
        draft.skip('clip', 'its video has another size than its annotation', where)
        return
    if footage.count < end - start + 1:
        draft.remark(f'{where}: its video has {footage.count} of {end - start + 1} frames; the clip ends with them')
        end = start + footage.count - 1
    _take(draft, case, source, footage, points, action, start, end)


def _take(draft: Draft, case: str, source: str | None, footage: Footage, points: dict[int, list], action: str,
          start: int, end: int) -> None:
    pattern = f'frames/{draft.folder(case)}/{{frame_id:06d}}.jpg' if draft.options.frames == 'extract' else None
    video = draft.video(case, source=source, fps=footage.fps, dense=True, frame_pattern=pattern)
    if abs(video.fps - footage.fps) > 0.01 * footage.fps:
        draft.remark(f'{case}: clips differ in frame rate ({video.fps:g} and {footage.fps:g}); the first is taken for '
                     'all')
    clip = draft.footage(video, footage, start, count=end - start + 1, action=action)
    tool = draft.options.tools.get(action) or TOOL_OF_ACTION.get(action, action)
    for frame_id, own in sorted(points.items()):
        where = f'{case}/{footage.file.stem}, frame {frame_id}'
        if not start <= frame_id <= end:
            for _ in own:
                draft.skip('point', 'its frameIndex is not in the clip (it counts from the start of the video)', where)
            continue
        if (case, frame_id) in draft.frames:
            draft.remark(f'{case}: clips overlap, e.g. in frame {frame_id}; it is one picture with the tools of both')
        frame = draft.frame(video, frame_id, footage.size, clip=clip,
                            file_name=pattern and pattern.format(frame_id=frame_id))
        for tool_points in pack(own):
            draft.tool(frame, tool, tool_points, action=action, where=where)


def _points_of(listed: list[Any], draft: Draft, names: LandmarkNames,
               where: str) -> dict[int, list[tuple[str, float, float, int]]]:
    """Landmarks by frame; a frame with a damaged one has none."""
    by_frame: dict[int, list] = {}
    unknown, spoilt = set(), {}
    for index, point in enumerate(listed):
        place = f'{where}, point {index}'
        try:
            landmark = names(point['type'])
            if landmark is None:
                unknown.add(point['type'])
            elif landmark == SKIP:
                draft.skip('point', f'it is of type {point["type"]}', place)
            else:
                by_frame.setdefault(whole(point['frameIndex']), []).append(
                    (landmark, number(point['x']), number(point['y']), 2 if flag(point.get('vis', True)) else 1))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            draft.skip('point', 'type, frameIndex, x, y or vis is missing or none', place)
            if isinstance(point, dict) and isinstance(point.get('frameIndex'), int):
                spoilt[point['frameIndex']] = place
    names.refuse(unknown, where)
    for frame_id, place in spoilt.items():
        for _ in by_frame.pop(frame_id, ()):
            draft.skip('point', f'its picture is left out: {SPOILT}', place)
    return by_frame
