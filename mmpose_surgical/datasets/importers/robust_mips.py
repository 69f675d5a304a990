"""ROBUST-MIPS (Synapse syn64023381): poses and masks of the instruments in pictures of ROBUST-MIS 2019.

    RobustMIPS/Training/<surgery>/<procedure>/<frame>/{raw.png, instrument_instances.png, toolposes.json}
    RobustMIPS/Testing/Stage_<n>/<surgery>/<procedure>/<frame>/...

    [{"nodes": [[x, y], [x, y], [x, y], null], "tags": ["visible", "occluded", "visible", "missing"],
      "edges": [[0, 1], [1, 2], [1, 3]], "transitions": [...]}]

The nodes are entry, hinge and two tips, and may lie outside the picture; ``[]`` says that there is no instrument.
Earlier versions call the file ``raw.json``. Instances in the mask have the grey levels 50, 100, 150, ..., but not in
the order of the poses. Procedures are in several splits of the challenge, so that a case is a procedure, and its
pictures only tell which split they were in.

The tool type is ``instrument``; ``--tool instrument=NAME`` renames it.
"""
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.datasets.importers.coco import slots_of
from mmpose_surgical.datasets.importers.draft import (
    SKIP,
    CopyPicture,
    Draft,
    ImportOptions,
    LandmarkNames,
    number,
)
from mmpose_surgical.datasets.importers.placing import encode_mask
from mmpose_surgical.datasets.records import Point
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import LANDMARKS
from mmpose_surgical.pictures import read_picture

NODES = dict(entry=SKIP, hinge='anchor', tip1='tip', tip2='tip')
VISIBILITY = dict(visible=2, occluded=1, missing=0)
MAX_DISTANCE = 10.0
"""Pixels that a tool's points lie from its mask in the mean, at most."""

_PICTURE, _MASK, _POSES = 'raw.png', 'instrument_instances.png', ('toolposes.json', 'raw.json')
_SPLIT = re.compile(r'Training|Stage_\d+')
_DAMAGE = (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError)

Pose = tuple[list[Point], list[tuple[float, float]]]
"""Landmarks of a tool, and the places at which its mask is looked for."""


def read_robust_mips(src: Path, options: ImportOptions) -> Draft:
    """Read all pictures under a folder.

    Raises:
        UserError: There is none.
    """
    draft = Draft(options)
    names = LandmarkNames(NODES, options.landmarks)
    slots = slots_of([names(name) for name in NODES])
    reader = _Reader(draft, slots)
    found = False
    for folder in _folders(src.resolve()):
        found = True
        reader.read(folder)
    if not found:
        raise UserError('there is no picture of ROBUST-MIPS', src,
                        f'name the folder RobustMIPS, with folders that hold {_PICTURE} and {_POSES[0]}')
    draft.remark('actions are not told: every tool counts as acting, without an action, in pictures that stand alone')
    if reader.without_mask:
        draft.remark(f'{reader.without_mask} tools have no mask: none is at their points, or its file is missing')
    return draft


def _folders(root: Path) -> Iterator[Path]:
    """Folders of pictures; archives of macOS bring shadows of all of them."""
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(name for name in inner if name != '__MACOSX')
        if not {_PICTURE, *_POSES}.isdisjoint(files):
            yield Path(folder)


class _Reader:
    def __init__(self, draft: Draft, slots: list[tuple[str, str]]) -> None:
        self.draft, self.slots = draft, slots
        self.without_mask = 0

    def read(self, folder: Path) -> None:
        split, surgery, procedure, frame = ('', '', '', *folder.parts)[-4:]
        where = f'{split}/{surgery}/{procedure}/{frame}'
        case = f'{surgery}_{procedure}'.replace(' ', '_')
        file = next((folder / name for name in _POSES if (folder / name).is_file()), None)
        why = None
        if file is None:
            why = 'it has no annotation file'
        elif not (folder / _PICTURE).is_file():
            why = f'its {_PICTURE} is missing'
        elif not re.fullmatch(r'[0-9]{1,9}', frame):
            why = 'its folder is not named by its number'
        elif (case, int(frame)) in self.draft.frames:
            why = 'its procedure has this picture already, in another split'
        if why:
            self.draft.skip('picture', why, where)
            return
        try:
            poses = self._poses(file)
            size = _size(folder / _PICTURE)
        except _DAMAGE as error:
            # As a whole: a tool that is left out would pass for one that is not there.
            self.draft.skip('picture', f'it or its annotation is damaged ({type(error).__name__})', where)
            return
        video = self.draft.video(case, source='ROBUST-MIPS', dense=False)
        name = f'frames/{self.draft.folder(case)}/{int(frame):06d}.png'
        self.draft.work.append(CopyPicture(folder / _PICTURE, name))
        record = self.draft.frame(video, int(frame), size, file_name=name, extra=dict(
            attributes=dict(official_split=split)) if _SPLIT.fullmatch(split) else None)
        masks = self._masks(folder / _MASK, [places for _, places in poses], size, where)
        tool = self.draft.options.tools.get('instrument', 'instrument')
        names = [slot for known in LANDMARKS for slot, landmark in self.slots if landmark == known]
        for (points, _), mask in zip(poses, masks):
            self.draft.tool(record, tool, points, action=None, where=where, segmentation=mask, names=names)

    def _poses(self, file: Path) -> list[Pose]:
        """Tools of a picture; any that is not to be understood is an error."""
        records = json.loads(file.read_text(encoding='utf-8'))
        if not isinstance(records, list):
            raise ValueError('no list of tools')
        return [self._pose(record['nodes'], record['tags']) for record in records]

    def _pose(self, nodes: list, tags: list) -> Pose:
        if not len(nodes) == len(tags) == len(self.slots):
            raise ValueError(f'{len(nodes)} nodes and {len(tags)} tags')
        points, seen, hidden = [], [], []
        for (slot, landmark), node, tag in zip(self.slots, nodes, tags):
            v = VISIBILITY[tag]
            if not v:
                continue
            x, y = map(number, node)
            (seen if v == 2 else hidden).append((x, y))
            if landmark != SKIP:
                points.append(Point(landmark, slot, x, y, v))
        return points, seen or hidden  # a mask covers what is seen

    def _masks(self, file: Path, tools: list[list[tuple[float, float]]], size: tuple[int, int],
               where: str) -> list[dict | None]:
        """Segmentation of each tool."""
        found: list[dict | None] = [None] * len(tools)
        try:
            # Grey levels: all channels are the same.
            picture = read_picture(file, size)[:, :, 0]
        except UserError as error:
            self.draft.skip('file of masks', error.what.split(':')[0], where)
        else:
            instances = [picture == level for level in np.unique(picture[picture > 0])]
            owners = match(tools, instances)
            for tool, instance in owners.items():
                found[tool] = encode_mask(instances[instance])
            for _ in range(len(instances) - len(owners)):
                self.draft.skip('mask', 'the points of no tool are at it', where)
        self.without_mask += found.count(None)
        return found


def match(tools: list[list[tuple[float, float]]], instances: list[np.ndarray]) -> dict[int, int]:
    """Tools to the masks at which their points lie, one to one, with the least distance in total.

    Args:
        tools: Points (x, y) of each; those outside the picture do not count.
        instances: Masks, bool (H, W).

    Returns:
        ``{tool: instance}`` of those that lie no more than :data:`MAX_DISTANCE` apart.
    """
    from scipy.optimize import linear_sum_assignment
    if not tools or not instances:
        return {}
    height, width = instances[0].shape
    far = 1e6
    cost = np.full((len(tools), len(instances)), far)
    to_mask = np.stack([cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                        for mask in instances])
    for index, points in enumerate(tools):
        places = np.array(points).reshape(-1, 2)
        places = places[((places >= -0.5) & (places <= [width - 0.5, height - 0.5])).all(axis=1)]
        if len(places):
            columns, rows = places.round().astype(int).clip(0, [width - 1, height - 1]).T
            cost[index] = to_mask[:, rows, columns].mean(axis=1)
    cost[cost > MAX_DISTANCE] = far
    return {int(tool): int(mask) for tool, mask in zip(*linear_sum_assignment(cost)) if cost[tool, mask] < far}


def _size(file: Path) -> tuple[int, int]:
    """Width and height as the header of a PNG tells them: pictures are decoded when they are placed."""
    with file.open('rb') as stream:
        header = stream.read(24)
    size = int.from_bytes(header[16:20], 'big'), int.from_bytes(header[20:24], 'big')
    if header[:8] != b'\x89PNG\r\n\x1a\n' or header[12:16] != b'IHDR' or min(size) < 1:
        raise ValueError('no PNG')
    return size
