"""Splits by surgical video (paper, section 3.1): a leak between them cannot be written down."""
from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.errors import UserError, list_problems

SPLIT_NAMES = ('train', 'val', 'test')


@dataclass(frozen=True)
class Splits:
    """Video names per split; ``folds`` partition the training videos."""
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    folds: tuple[tuple[str, ...], ...] = field(default=())

    def of(self, names: Collection[str]) -> Splits:
        """The same with these videos alone."""
        parts = self.train, self.val, self.test, *self.folds
        keep = [tuple(name for name in part if name in names) for part in parts]
        return Splits(*keep[:3], folds=tuple(fold for fold in keep[3:] if fold))

    def videos(self, name: str) -> tuple[str, ...]:
        """Video names of ``train``, ``val``, ``test``, ``foldK`` (held out) or ``not-foldK`` (the rest of train).

        Raises:
            UserError: There is no such split or fold.
        """
        if name in SPLIT_NAMES:
            return getattr(self, name)
        rest, _, number = name.rpartition('fold')
        if number.isdigit() and int(number) < len(self.folds) and rest in ('', 'not-'):
            fold = self.folds[int(number)]
            return fold if not rest else tuple(v for v in self.train if v not in fold)
        raise UserError(f'there is no split "{name}"', None,
                        f'use train, val, test, or one of {len(self.folds)} folds (fold0, not-fold0, ...)')


def load_splits(data_root: str | Path, annotations: Annotations) -> Splits:
    """Read ``splits.json``; without one, every video is a test video.

    Raises:
        UserError: The file is damaged, names an unknown video, names one twice, or its folds are no partition
            of the training videos.
    """
    path = Path(data_root) / 'splits.json'
    known = {video.name for video in annotations.videos.values()} | {f.video.name for f in annotations.frames}
    if not path.exists():
        return Splits(test=tuple(sorted(known)))
    try:
        raw = json.loads(path.read_text())
        splits = Splits(*(_names(raw.get(name, [])) for name in SPLIT_NAMES),
                        folds=tuple(_names(fold) for fold in raw.get('folds', [])))
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f'split file is damaged: {error}', path,
                        'write {"train": [...], "val": [...], "test": [...], "folds": [[...], ...]}') from None
    problems = []
    listed = [video for name in SPLIT_NAMES for video in getattr(splits, name)]
    twice = sorted({video for video in listed if listed.count(video) > 1})
    problems += [f'video "{v}" is in two splits or listed twice' for v in twice]
    problems += [f'video "{v}" is not in the annotations' for v in sorted(set(listed) - known)]
    if splits.folds:
        folded = [video for fold in splits.folds for video in fold]
        if sorted(folded) != sorted(splits.train):
            wrong = sorted(set(folded) ^ set(splits.train)) or ['a video in two folds']
            problems.append(f'the folds are no partition of the training videos: {wrong}')
    if problems:
        raise UserError(list_problems(problems), path, 'correct the split file')
    return splits


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f'{str(value)[:60]} is no list of video names')
    return tuple(value)


def shared_files(annotations: Annotations, splits: Splits) -> list[str]:
    """Files that two splits share by name although their videos have different names; copies are not found."""
    owner: dict[str, str] = {}
    problems = []
    for split in SPLIT_NAMES:
        names = set(splits.videos(split))
        files = {str(frame.file(annotations.root)) for frame in annotations.annotated_frames(names)}
        for video in annotations.videos.values():
            if video.name in names:
                files |= {str(source) for source in (video.video_file, video.frame_pattern) if source}
        for file in sorted(files):
            first = owner.setdefault(file, split)
            if first != split:
                problems.append(f'{file} is in {first} and in {split}')
    return problems


def count_line(annotations: Annotations) -> str:
    """How many annotated pictures each split holds, and how many none does, in words."""
    splits = load_splits(annotations.root, annotations)
    counts = {name: len(annotations.annotated_frames(splits.videos(name))) for name in SPLIT_NAMES}
    left = len(annotations.annotated_frames()) - sum(counts.values())
    words = ', '.join(f'{name} {count}' for name, count in counts.items())
    return f'pictures: {words}' + (f'; {left} in no split' if left else '')


def frames_of_split(annotations: Annotations, split: str) -> list[Frame]:
    """Annotated frames of a split (names as in :meth:`Splits.videos`, or ``all``), in file order."""
    if split == 'all':
        return annotations.annotated_frames()
    return annotations.annotated_frames(load_splits(annotations.root, annotations).videos(split))
