"""Which file a foreign name of a picture means, and which case and frame it says."""
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from mmpose_surgical.datasets.importers.draft import Draft
from mmpose_surgical.datasets.records import Video
from mmpose_surgical.pictures import PICTURE_ENDINGS

# Folders that say how a program sorts its export, not which case a picture is of.
_GENERIC = {'', '.', 'images', 'image', 'img', 'imgs', 'data', 'default', 'frames', 'frame', 'train', 'val', 'test',
            'train2017', 'val2017', 'raw', 'pictures', 'upload', 'media'}
# Label Studio's folder of an upload, which is none of the user's.
_UPLOAD = re.compile(r'.*media/upload/\d+/')
_ABSOLUTE = re.compile(r'[A-Za-z]:|[/\\\\]')


class PictureFinder:
    """Picture files by the names that annotations give them, wherever an export put them.

    Args:
        names: All names. The end of one finds a file only where it is the end of no other: of ``a/0001.jpg`` and
            ``b/0001.jpg`` neither is just any file called ``0001.jpg``.
        roots: Folders to look in.
    """

    def __init__(self, names: Iterable[Any], *roots: Path) -> None:
        self.roots = roots
        self._ends = Counter(parts[-length:] for parts in {_parts(str(name)) for name in names}
                             for length in range(1, len(parts) + 1))

    def find(self, name: str) -> Path | None:
        """The file; ``None`` if none or several fit."""
        parts = _parts(name)
        if not parts:
            return None
        for root in self.roots:
            for folder in (root, root / 'images', root / 'data'):
                if os.path.isfile(folder.joinpath(*parts)):
                    return folder.joinpath(*parts)
        for length in range(len(parts), 0, -1):
            fitting = [path for path in self._by_name.get(parts[-1], []) if path.parts[-length:] == parts[-length:]]
            if fitting:
                return fitting[0] if len(fitting) == 1 == self._ends[parts[-length:]] else None
        return None

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted({path for root in self.roots for path in root.rglob('*')
                            if path.suffix.lower() in PICTURE_ENDINGS}):
            found[path.name].append(path)
        return found


def _parts(name: str) -> tuple[str, ...]:
    """Folders and name of a path of any system, from its root, drive or upload on."""
    path = PurePosixPath(_UPLOAD.sub('', name.replace('\\', '/')))
    return tuple(part for part in path.parts if part not in ('/', '..', '.') and not re.fullmatch('[A-Za-z]:', part))


class Places:
    """Case and number of pictures that say neither, by their paths.

    Args:
        draft: Gets the videos.
        fallback: Name of the case where paths tell none.
    """

    def __init__(self, draft: Draft, fallback: str) -> None:
        self.draft, self.fallback = draft, fallback
        self._taken: dict[tuple[str, int], str] = {}

    def __call__(self, name: str) -> tuple[Video, int]:
        """Video and frame number of a picture.

        Raises:
            ValueError: ``--video-from`` does not fit.
        """
        parts = _parts(name)
        path = PurePosixPath(*parts)
        last = re.search(r'(\d+)(?!.*\d)', path.stem)
        frame_id = int(last[1]) if last and len(last[1]) < 16 else len(self._taken)
        rule = self.draft.options.video_from
        if rule is not None:
            match = rule.search(str(path))
            if match is None:
                raise ValueError(f'--video-from does not fit "{name}"')
            case = match[1] if match.re.groups else match[0]
        else:
            folders = [part for part in parts[:-1] if part.lower() not in _GENERIC]
            if _ABSOLUTE.match(name):
                folders = folders[-1:]  # the others are those of somebody's disk
            before = path.stem[:last.start()].strip('_-. ') if last else path.stem
            case = '_'.join(folders) or ('' if before.lower() in _GENERIC else before) or self.fallback
            self.draft.remark('videos are told apart by the folders, else the names, of their pictures: look at the '
                              'list, and give --video-from REGEX if it is wrong')
        # Pictures of one case that share a number, as in cut-up exports, still are different pictures.
        while self._taken.setdefault((case, frame_id), name) != name:
            frame_id += 1
        return self.draft.video(case, dense=False), frame_id
