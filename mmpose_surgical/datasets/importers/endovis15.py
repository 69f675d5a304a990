"""Joints of EndoVis'15 (Du et al. 2018, EndoVisPoseAnnotation), on the videos of its robotic tracking challenge.

    train_labels/train<n>_labels.json, test_labels/test<n>_labels.json
    Tracking_Robotic_Training/Training/Dataset<n>/Video.avi, Tracking_Robotic_Testing/[.../]Dataset<n>/Video.avi

    [{"filename": ".../Tracking_Robotic_Training/Training/Dataset1/Raw/img_000060_raw.png", "class": "image",
      "annotations": [{"class": "LeftClasperPoint", "id": "tool2", "x": 345.6, "y": 221.3}, ...]}, ...]

All of it lies in one folder, in any order. Pictures are counted from 1, and may be given as such, in
``Dataset<n>/Raw``, instead of a video. Most are not labelled: an empty list does not say that nothing is there.
``Dataset<n>`` of both parts are one recording, hence one case, in which the test part comes behind the other.

The type of the tools is not told and is ``needle_driver``; ``--tool instrument=NAME`` renames them all,
``--tool tool3=NAME`` those of this id.
"""
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.importers.coco import slots_of
from mmpose_surgical.datasets.importers.draft import (
    SKIP,
    CopyPicture,
    Draft,
    Footage,
    ImportOptions,
    LandmarkNames,
    flag,
    number,
)
from mmpose_surgical.datasets.importers.native import VIDEO_ENDINGS
from mmpose_surgical.datasets.records import Point
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import LANDMARKS
from mmpose_surgical.pictures import PICTURE_ENDINGS, read_picture

LANDMARK_NAMES = dict(LeftClasperPoint='tip', RightClasperPoint='tip', HeadPoint='anchor', ShaftPoint=SKIP,
                      EndPoint=SKIP, TrackedPoint=SKIP)
FPS = 25.0
SPLITS = dict(train='training', test='testing')
"""The two parts of a case, in their order, and the word in the paths of their videos."""

_LABELS = re.compile(r'(train|test)\d+_labels\.json')
_PICTURE = re.compile(r'/Dataset(\d{1,4})/.*?(\d{1,9})\D*\Z')
_DAMAGE = (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)

Tools = dict[str, list[Point]]
"""Points of each tool id in a picture."""


def read_endovis15(src: Path, options: ImportOptions) -> Draft:
    """Read all label files under a folder, and their videos.

    Raises:
        UserError: There is no label file, or a class is not known.
    """
    draft = Draft(options)
    files = sorted(path for path in src.rglob('*_labels.json') if _LABELS.fullmatch(path.name))
    if not files:
        raise UserError('there is no label file', src,
                        'name a folder with train1_labels.json or the like, and with the videos, in it or in folders')
    labels = _Labels(draft)
    for file in files:
        labels.read(file)
    labels.names.refuse(labels.unknown, src)
    folders = _folders(src.resolve())
    for dataset, parts in sorted(labels.found.items()):
        _take(draft, labels, folders, dataset, parts)
    draft.remark('actions and types of tools are not told: every tool counts as acting, without an action; '
                 '--tool instrument=NAME names them')
    return draft


# -- labels ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Label:
    slot: str
    landmark: str
    tool: str | None
    xy: tuple[float, float] | None
    v: int
    where: str


class _Labels:
    """Labelled pictures, ``found[dataset][split][number]``, with numbers from 0."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.names = LandmarkNames(LANDMARK_NAMES, draft.options.landmarks)
        known = self.names.names
        self.slots = dict(zip(known, slots_of(list(known.values()))))
        self.unknown: set[str] = set()
        self.found: dict[int, dict[str, dict[int, tuple[Tools, str]]]] = {}

    def read(self, file: Path) -> None:
        try:
            entries = json.loads(file.read_text(encoding='utf-8'))
            if not isinstance(entries, list):
                raise ValueError('no list of pictures')
        except _DAMAGE as error:
            self.draft.skip('label file', f'it is damaged ({type(error).__name__})', file.name)
            return
        split = _LABELS.fullmatch(file.name)[1]
        unlabelled = 0
        for index, entry in enumerate(entries):
            where = f'{file.name}[{index}]'
            try:
                if not isinstance(entry['annotations'], list):
                    raise ValueError('no list of points')
                if not entry['annotations']:
                    unlabelled += 1
                else:
                    self._entry(entry, split, where)
            except _DAMAGE as error:
                # As a whole: a point that is left out would pass for one that is not there.
                self.draft.skip('picture', f'its labels are damaged ({type(error).__name__})', where)
        if unlabelled:
            self.draft.skip('unlabelled pictures', 'an empty list does not say that nothing is there',
                            f'{file.name}: {unlabelled} of {len(entries)}')

    def _entry(self, entry: dict[str, Any], split: str, where: str) -> None:
        match = _PICTURE.search(entry['filename'].replace('\\', '/'))
        if match is None or not int(match[2]):
            self.draft.skip('picture', 'its name has no Dataset<n> and number from 1', where)
            return
        labels = [label for index, record in enumerate(entry['annotations'])
                  if (label := self._label(record, f'{where}, point {index}'))]
        pictures = self.found.setdefault(int(match[1]), {}).setdefault(split, {})
        if int(match[2]) - 1 in pictures:
            self.draft.skip('picture', 'it is labelled twice', where)
        else:
            pictures[int(match[2]) - 1] = self._tools(labels), where

    def _label(self, record: dict[str, Any], where: str) -> _Label | None:
        name = record['class']
        if name not in self.slots:
            self.unknown.add(str(name))
            return None
        slot, landmark = self.slots[name]
        tool = record.get('id') or None
        if not isinstance(tool, str | None):
            raise ValueError(f'id {tool!r}')
        if landmark == SKIP:
            return _Label(name, landmark, tool, None, 0, where)
        return _Label(slot, landmark, tool, (number(record['x']), number(record['y'])),
                      1 if flag(record.get('occluded', False)) else 2, where)

    def _tools(self, labels: list[_Label]) -> Tools:
        """Points by tool; one of which only parts are seen that are no landmarks is there too."""
        tools: Tools = {label.tool: [] for label in labels if label.tool}
        owners = {label.tool for label in labels if label.tool and label.landmark != SKIP}
        for label in sorted(labels, key=lambda label: label.tool is None):  # those that say whose they are go first
            tool = label.tool or (next(iter(owners)) if len(owners) == 1 else None)
            if label.landmark == SKIP:
                self.draft.skip('point', f'it is of type {label.slot}', label.where)
            elif tool is None:
                self.draft.skip('point', 'it has no id, and not just one tool is there', label.where)
            elif any(point.name == label.slot for point in tools[tool]):
                self.draft.skip('point', 'its tool has one of this class already', label.where)
            else:
                tools[tool].append(Point(label.landmark, label.slot, *label.xy, label.v))
        return tools


# -- pictures --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Part:
    """The frames of one part of a case: a video file, or pictures by their number from 0."""
    count: int
    size: tuple[int, int]
    footage: Footage | None = None
    pictures: dict[int, Path] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return self.footage is not None or len(self.pictures) == self.count

    def __contains__(self, index: int) -> bool:
        return index < self.count if self.footage else index in self.pictures


def _folders(src: Path) -> dict[tuple[int, str], list[Path]]:
    """Folders by dataset and split, told by the word that comes last in the path."""
    found: dict[tuple[int, str], list[Path]] = {}
    for path in sorted(src.rglob('[Dd]ataset*')):
        match = re.fullmatch(r'dataset(\d{1,4})', path.name.lower())
        # The challenge of segmentation has folders of the same names.
        if match and path.is_dir() and 'segmentation' not in str(path.relative_to(src)).lower():
            place, split = max((str(path.parent).lower().rfind(word), split) for split, word in SPLITS.items())
            if place >= 0:
                found.setdefault((int(match[1]), split), []).append(path)
    return found


def _part(folders: list[Path]) -> _Part:
    """What the folders hold.

    Raises:
        UserError: No video, several, or one that cannot be read.
    """
    files = sorted(path for folder in folders for path in folder.iterdir())
    videos = [path for path in files if path.suffix.lower() in VIDEO_ENDINGS and not path.name.startswith('.')
              and 'segmentation' not in path.name.lower()]
    if len(videos) > 1:
        raise UserError('several videos are in its folder')
    if videos:
        footage = Footage.of(videos[0])
        return _Part(footage.count, footage.size, footage)
    pictures = {}
    for path in (path for raw in files if raw.name.lower() == 'raw' and raw.is_dir() for path in sorted(raw.iterdir())):
        last = re.search(r'(\d{1,9})\D*$', path.stem)
        if path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith('.') and last and int(last[1]):
            pictures[int(last[1]) - 1] = path
    if not pictures:
        raise UserError('its video is missing')
    height, width = read_picture(next(iter(pictures.values()))).shape[:2]
    return _Part(max(pictures) + 1, (width, height), pictures=pictures)


def _take(draft: Draft, labels: _Labels, folders: dict[tuple[int, str], list[Path]], dataset: int,
          labelled: dict[str, dict[int, tuple[Tools, str]]]) -> None:
    """A case: its parts one behind the other."""
    parts: dict[str, _Part] = {}
    wanted: dict[str, dict[int, tuple[Tools, str]]] = {}
    for split in [split for split in SPLITS if split in labelled]:
        try:
            part, why = _part(folders.get((dataset, split), [])), 'its video has no such picture'
        except UserError as error:
            part, why = None, '; '.join(filter(None, (error.what, error.fix)))
        wanted[split] = {index: entry for index, entry in sorted(labelled[split].items()) if part and index in part}
        for index in sorted(labelled[split].keys() - wanted[split].keys()):
            draft.skip('picture', why, labelled[split][index][1])
        if wanted[split]:
            parts[split] = part
    if not parts:
        return
    case = f'dataset{dataset}'
    pictures = [path for part in parts.values() for path in part.pictures.values()]
    ending = pictures[0].suffix.lower() if not any(part.footage for part in parts.values()) else '.jpg'
    # One pattern leads to all of a case: videos stay as they are only where there is nothing else.
    pattern = f'frames/{case}/{{frame_id:06d}}{ending}' if pictures or draft.options.frames == 'extract' else None
    video = draft.video(case, source='EndoVis15', dense=all(part.whole for part in parts.values()),
                        fps=next((part.footage.fps for part in parts.values() if part.footage), FPS),
                        frame_pattern=pattern)
    names = [slot for known in LANDMARKS for slot, landmark in labels.slots.values() if landmark == known]
    tool_names = draft.options.tools
    first = 0
    for split, part in parts.items():
        if part.footage:
            clip = draft.footage(video, part.footage, first)
        else:
            clip = draft.clip(video, first, first + part.count - 1, None)
            draft.work += [CopyPicture(path, pattern.format(frame_id=first + index))
                           for index, path in part.pictures.items() if video.dense or index in wanted[split]]
        for index, (tools, where) in wanted[split].items():
            frame = draft.frame(video, first + index, part.size, clip=clip, extra=dict(
                attributes=dict(official_split=split)), file_name=pattern and pattern.format(frame_id=first + index))
            for tool, points in tools.items():
                draft.tool(frame, tool_names.get(tool) or tool_names.get('instrument', 'needle_driver'), points,
                           action=None, where=where, names=names)
        first += part.count
