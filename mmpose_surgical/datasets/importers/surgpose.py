"""SurgPose (Wu et al. 2025, Zenodo): robotic tools whose joints were painted with a dye that only UV light shows.

    000000/{keypoints_left.yaml, bbox_left.json, regular/left_video.mp4, ...}

    0: {1: [x, y], 2: [x, y], ..., 14: null}

Frames are counted from 0. Points 1 to 7 are of one tool, 8 to 14 the same ones of the other: shaft, wrist, pivot of the
jaws, their two tips, and two more. The left view is read, and each folder is a case.

The type of the tools is not told here and is ``needle_driver``; ``--tool instrument=NAME`` renames it. Points are
named by their number in the tool: ``--landmark 2=anchor 3=skip``.
"""
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.importers.coco import slots_of
from mmpose_surgical.datasets.importers.draft import (
    SKIP,
    Draft,
    Footage,
    ImportOptions,
    LandmarkNames,
    number,
    whole,
)
from mmpose_surgical.datasets.records import Point
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import LANDMARKS

LANDMARK_NAMES = {'1': SKIP, '2': SKIP, '3': 'anchor', '4': 'tip', '5': 'tip', '6': SKIP, '7': SKIP}
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)

Marks = list[tuple[int, float, float]]
"""Points of a tool: number from 0, x, y."""


def read_surgpose(src: Path, options: ImportOptions) -> Draft:
    """Read all cases under a folder.

    Raises:
        UserError: There is none.
    """
    draft = Draft(options)
    files = sorted(src.resolve().rglob('keypoints_left.yaml'))
    if not files:
        raise UserError('there is no keypoints_left.yaml', src, 'name a folder with 000000 and the like in it')
    names = LandmarkNames(LANDMARK_NAMES, options.landmarks)
    slots = slots_of([names(name) for name in LANDMARK_NAMES])
    for file in files:
        _read_case(draft, slots, file)
    draft.remark('actions and types of tools are not told: every tool counts as acting, without an action; '
                 '--tool instrument=NAME names them')
    return draft


def _read_case(draft: Draft, slots: list[tuple[str, str]], file: Path) -> None:
    case = file.parent.name
    if case in draft.videos:
        draft.skip('case', 'another folder has its name', str(file.parent))
        return
    try:
        listed = _load(file)
    except ValueError as error:
        draft.skip('case', f'its keypoints_left.yaml is damaged ({error})', case)
        return
    try:
        footage = Footage.of(file.parent / 'regular/left_video.mp4')
    except UserError as error:
        draft.skip('case', '; '.join(filter(None, (error.what, error.fix))), case)
        return
    pictures = _pictures(draft, listed, footage.count, case)
    if not pictures:
        draft.skip('case', 'none of its pictures was taken', case)
        return
    pattern = f'frames/{draft.folder(case)}/{{frame_id:06d}}.jpg' if draft.options.frames == 'extract' else None
    video = draft.video(case, source='SurgPose', fps=footage.fps, dense=True, frame_pattern=pattern)
    clip = draft.footage(video, footage, 0)
    tool = draft.options.tools.get('instrument', 'needle_driver')
    names = [slot for known in LANDMARKS for slot, landmark in slots if landmark == known]
    for frame_id, tools in pictures.items():
        where = f'{case}, frame {frame_id}'
        frame = draft.frame(video, frame_id, footage.size, clip=clip,
                            file_name=pattern and pattern.format(frame_id=frame_id))
        for marks in tools:
            points = []
            for index, x, y in marks:
                slot, landmark = slots[index]
                if landmark == SKIP:
                    draft.skip('point', f'it is point {index + 1} of its tool', where)
                else:
                    points.append(Point(landmark, slot, x, y, 2))
            draft.tool(frame, tool, points, action=None, where=where, names=names)


def _load(file: Path) -> dict[Any, Any]:
    """The frames; a damaged file is a ValueError."""
    import yaml
    try:
        # The loader in C is ten times as fast; some builds of PyYAML lack it.
        listed = yaml.load(file.read_bytes(), getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None
    if not isinstance(listed, dict):
        raise ValueError('no frames')
    return listed


def _pictures(draft: Draft, listed: dict[Any, Any], count: int, case: str) -> dict[int, list[Marks]]:
    """Tools that are seen, by frame in order."""
    pictures: dict[int, list[Marks]] = {}
    for key, values in listed.items():
        where = f'{case}, frame {key}'
        try:
            frame_id, tools = whole(key), _tools(values or {})
        except _DAMAGE as error:
            # As a whole: a point that is left out would pass for one that is not there.
            draft.skip('picture', f'its points are damaged ({type(error).__name__})', where)
            continue
        if not 0 <= frame_id < count:
            draft.skip('picture', 'its video has no such picture', where)
        elif not tools:
            draft.skip('picture', 'none of its points is given, which does not say that nothing is there', where)
        else:
            pictures[frame_id] = tools
    return dict(sorted(pictures.items()))


def _tools(values: dict[int, list[float] | None]) -> list[Marks]:
    """The tools of which a point is given."""
    tools: list[Marks] = [[], []]
    for key, value in sorted(values.items()):
        tool, index = divmod(whole(key) - 1, len(LANDMARK_NAMES))
        if tool not in (0, 1):
            raise ValueError(f'point {key}')
        if value is not None:
            x, y = map(number, value)
            tools[tool].append((index, x, y))
    return [marks for marks in tools if marks]
