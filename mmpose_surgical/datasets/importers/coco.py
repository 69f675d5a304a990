"""COCO keypoints, as CVAT, Label Studio, FiftyOne, SLEAP and this package write them.

Traps of these programs that are known here: CVAT leaves gaps in the category ids and coordinates behind v = 0; Label
Studio puts rectangles beside keypoints as annotations of their own, writes Windows paths, and lists a picture once per
annotator; FiftyOne names no keypoints; SLEAP may write v = 1 for visible; ROBUST-MIPS has an annotation of zeros for a
picture without tools.
"""
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from mmpose_surgical.datasets.annotations import check_inside, check_mask, check_pattern
from mmpose_surgical.datasets.importers.draft import (
    ACTION_OF_TOOL,
    SKIP,
    SPOILT,
    CopyPicture,
    CopyVideo,
    Draft,
    ImportOptions,
    LandmarkNames,
    action_of,
    flag,
    number,
    whole,
)
from mmpose_surgical.datasets.records import Clip, Frame, Point, Video
from mmpose_surgical.datasets.video_file import index_of
from mmpose_surgical.datasets.windows import pattern_files
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import SLOTS
from mmpose_surgical.pictures import MAX_SIDE

PICTURE_ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
# Folders that say how a program sorts its export, not which case a picture is of.
_GENERIC = {'', '.', 'images', 'image', 'img', 'imgs', 'data', 'default', 'frames', 'frame', 'train', 'val', 'test',
            'train2017', 'val2017', 'raw', 'pictures', 'upload', 'media'}
# Label Studio's folder of an upload, which is none of the user's.
_UPLOAD = re.compile(r'.*media/upload/\d+/')
_ABSOLUTE = re.compile(r'[A-Za-z]:|[/\\\\]')
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError)


def read_coco(src: Path, options: ImportOptions) -> Draft:
    """Read a COCO keypoints file, or the one in a folder.

    Raises:
        UserError: There is none or several, it is no COCO file, or a keypoint is neither tip nor anchor.
    """
    file = find_file(src)
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'the file is not valid JSON: {error}', file, 'export it again') from None
    lists = ('images', 'annotations', 'categories')
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise UserError('the file is no COCO object', file, 'it must hold the lists images, annotations, categories')
    return _Coco(file, data, options).read()


def find_file(src: Path) -> Path:
    """The annotation file that is named, or that lies in the folder that is named."""
    if src.is_file():
        return src
    for name in ('annotations.json', 'result.json', 'labels.json'):
        if (src / name).is_file():
            return src / name
    found = sorted(src.glob('annotations/*.json')) or sorted(src.glob('*.json'))
    if len(found) != 1:
        raise UserError(f'{len(found)} annotation files are there', src,
                        'name the file: tools/data.py import coco FILE --out DIR')
    return found[0]


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


class _Coco:
    def __init__(self, file: Path, data: dict[str, Any], options: ImportOptions) -> None:
        self.file, self.data = file, data
        self.draft = Draft(options)
        self.options = options
        self.names = LandmarkNames({}, options.landmarks)
        folder = file.parent
        listed = [record.get('file_name') for record in data['images'] if isinstance(record, dict)]
        self.finder = PictureFinder(listed, folder, *([folder.parent] if folder.name == 'annotations' else []))
        self.videos: dict[Any, tuple[Video, dict]] = {}
        self.clips: dict[Any, Clip] = {}
        self.frames: dict[Any, Frame] = {}
        self.spoilt: dict[Any, str] = {}
        self.lost: set[str] = set()
        """Places of video files that are missing, or none."""
        self.places = Places(self.draft, file.resolve().parent.name)

    def read(self) -> Draft:
        self.draft.info = self.data.get('info') if isinstance(self.data.get('info'), dict) else {}
        categories = self._categories()
        self._each('videos', self._video)
        self._each('clips', self._clip)
        self._each('images', self._image)
        # Some programs know but one degree of visibility, and call it 1; ours says what it means.
        marks = {v for record in self.data['annotations'] if isinstance(record, dict)
                 and isinstance(record.get('keypoints'), list) for v in (1, 2) if v in record['keypoints'][2::3]}
        seen = 1 if 1 in marks and 2 not in marks and not self.data.get('videos') else 2
        if seen == 1:
            self.draft.remark('no point has v = 2: v = 1 is taken for visible')
        self._each('annotations', lambda record, where: self._annotation(record, where, categories, seen))
        for image_id, where in self.spoilt.items():
            if image_id in self.frames:
                self.draft.drop(self.frames.pop(image_id), SPOILT, where)
        for record in self.data['images']:
            frame = self.frames.get(record.get('id')) if isinstance(record, dict) and _hashable(record) else None
            if frame is not None and 'annotated' not in record:
                frame.annotated = bool(frame.tools)
        return self.draft

    def _each(self, key: str, take: Any) -> None:
        what = dict(videos='video', clips='clip', images='picture', annotations='tool')[key]
        records = self.data.get(key, [])
        for index, record in enumerate(records if isinstance(records, list) else []):
            where = f'{key}[{index}]'
            try:
                take(record, f'{where} (id {record.get("id")})')
            except _DAMAGE as error:
                self.draft.skip(what, f'damaged: {error!r}'[:120], where)
                if isinstance(record, dict) and isinstance(record.get('image_id'), int | str):
                    self.spoilt[record['image_id']] = where

    # -- records ---------------------------------------------------------------------------------------------
    def _categories(self) -> dict[Any, tuple[str, list[tuple[str, str]]]]:
        """Tool, and per keypoint its foreign name and landmark, by category id."""
        found, unknown = {}, set()
        for index, record in enumerate(self.data['categories']):
            try:
                names = [str(name) for name in record.get('keypoints') or []]
                landmarks = [self.names(name) for name in names]
                unknown |= {name for name, landmark in zip(names, landmarks) if landmark is None}
                tool = str(record['name'])
                found[record['id']] = (self.options.tools.get(tool, tool), slots_of(landmarks))
            except _DAMAGE as error:
                self.draft.skip('category', f'damaged: {error!r}'[:120], f'categories[{index}]')
        self.names.refuse(unknown, self.file)
        if not any(slots for _, slots in found.values()):
            raise UserError('no category lists keypoints, so nothing tells tip from anchor', self.file,
                            'add "keypoints": ["tip1", "tip2", "anchor"] to the categories')
        return found

    def _video(self, record: dict, where: str) -> None:
        name, fps = str(record['name']), record.get('fps')
        video = self.draft.video(name, source=record.get('source'), fps=None if fps is None else number(fps),
                                 dense=flag(record.get('dense', bool(record.get('frame_pattern')
                                                                     or record.get('video_file')))))
        if video.fps is not None and video.fps <= 0:
            raise ValueError(f'fps {fps}')
        self.videos[record['id']] = (video, record)
        if pattern := record.get('frame_pattern'):
            check_pattern(pattern)
            self._dense_pictures(video, pattern, where)
        elif file := record.get('video_file'):
            check_inside(file, 'video_file')
            video.video_file = f'videos/{self.draft.folder(name)}{Path(file).suffix}'
            self._copy_video(file, video.video_file, where)

    def _dense_pictures(self, video: Video, pattern: str, where: str) -> None:
        """Neighbours that no record lists come along."""
        ending = Path(pattern).suffix
        video.frame_pattern = f'frames/{self.draft.folder(video.name)}/{{frame_id:06d}}{ending}'
        found = pattern_files(self.file.parent, pattern)
        for frame_id, path in found.items():
            self.draft.work.append(CopyPicture(path, video.frame_pattern.format(frame_id=frame_id)))
            self.draft.taken['neighbouring pictures'] += 1
        if not found:
            self.draft.skip('neighbouring pictures', 'there are none', f'{where}: {pattern}')

    def _copy_video(self, file: str, target: str, where: str) -> None:
        source = self.file.parent / file
        try:
            index_of(source)
        except UserError as error:
            self.lost.add(target)
            self.draft.skip('video file', error.what.split(':')[0], f'{where}: {file}')
            return
        if self.options.short_side is not None:
            raise UserError('--short-side scales pictures, and these lie in videos', source,
                            'leave it out, or extract the frames before')
        self.draft.work.append(CopyVideo(source, target))

    def _clip(self, record: dict, where: str) -> None:
        video, _ = self.videos[record['video_id']]
        start, end = whole(record['start_frame']), whole(record['end_frame'])
        if start > end:
            raise ValueError('start_frame is after end_frame')
        action = record.get('action')
        action = None if action is None else action_of(str(action), self.options, self.draft)
        if action == SKIP:
            self.draft.skip('clip', f'--action {record["action"]}=skip', where)
            return
        target = None
        if file := record.get('video_file'):
            check_inside(file, 'video_file')
            # By its place: files of several clips may have one name.
            target = f'videos/{self.draft.folder(video.name)}/{start:06d}_{end:06d}{Path(file).suffix}'
            self._copy_video(file, target, where)
        self.clips[record['id']] = self.draft.clip(video, start, end, action, target)

    def _image(self, record: dict, where: str) -> None:
        size = whole(record['width']), whole(record['height'])
        if not 1 <= min(size) <= max(size) <= MAX_SIDE:
            raise ValueError(f'size {size[0]}x{size[1]}')
        if record['id'] in self.frames:
            self.draft.skip('picture', 'its id occurs twice', where)
            return
        name = record.get('file_name')
        if name is None and not self.videos:
            self.draft.skip('picture', 'it has no file_name', where)
            return
        if self.videos:
            video, _ = self.videos[record['video_id']]
            frame_id = whole(record['frame_id']) if 'frame_id' in record or video.dense else len(self.frames)
        else:
            video, frame_id = self.places(str(name))
        clip_id = record.get('clip_id')
        if clip_id is not None and clip_id not in self.clips:
            self.draft.skip('picture', 'its clip was not taken', where)
            return
        if (video.name, frame_id) in self.draft.frames:
            self.draft.skip('picture', 'it is listed twice (by several annotators?)', where)
            return
        file_name = None
        if name is not None and not (video.frame_pattern and self._is_neighbour(video, frame_id)):
            source = self.finder.find(str(name))
            if source is None:
                self.draft.skip('picture', 'its file is missing, or several have its name', f'{where}: {name}')
                return
            file_name = f'frames/{self.draft.folder(video.name)}/{frame_id:06d}{source.suffix.lower()}'
            self.draft.work.append(CopyPicture(source, file_name))
        elif video.frame_pattern:
            file_name = video.frame_pattern.format(frame_id=frame_id)
        elif self.lost & {video.video_file, clip_id in self.clips and self.clips[clip_id].video_file}:
            self.draft.skip('picture', 'its video file is missing, or none', where)
            return
        known = {'id', 'file_name', 'width', 'height', 'video_id', 'frame_id', 'clip_id', 'annotated'}
        self.frames[record['id']] = self.draft.frame(
            video, frame_id, size, file_name=file_name, clip=self.clips.get(clip_id), image_id=record['id'],
            annotated=flag(record.get('annotated', True)),
            extra={key: value for key, value in record.items() if key not in known})

    def _is_neighbour(self, video: Video, frame_id: int) -> bool:
        """Whether the picture is among those that the pattern of its video leads to."""
        return video.frame_pattern.format(frame_id=frame_id) in self._targets

    @cached_property
    def _targets(self) -> set[str]:
        return {item.target for item in self.draft.work if isinstance(item, CopyPicture)}

    def _annotation(self, record: dict, where: str, categories: dict, seen: int) -> None:
        if record['image_id'] not in self.frames:
            self.draft.skip('tool', 'its picture was not taken', where)
            return
        frame = self.frames[record['image_id']]
        tool, slots = categories[record['category_id']]
        attributes = record.get('attributes') or {}
        active = flag(attributes.get('active', True))
        flat = record.get('keypoints', [])
        if not isinstance(flat, list):
            raise ValueError('keypoints are no list')
        if not flat and active:
            self.draft.skip('tool', 'it has no keypoints (a box or mask alone)', where)
            return
        if not any(flat) and not any(record.get('bbox') or [0]) and not attributes:
            self.draft.skip('tool', 'it is all zero, which says that there is no tool', where)
            return
        if len(flat) not in (0, 3 * len(slots)):
            raise ValueError(f'{len(flat)} keypoint numbers for {len(slots)} keypoints')
        points = []
        for (slot, landmark), x, y, v in zip(slots, flat[::3], flat[1::3], flat[2::3]):
            if v not in (0, 1, 2):
                raise ValueError(f'visibility {v!r}')
            if landmark == SKIP or not v:
                continue
            points.append(Point(landmark, slot, number(x), number(y), int(v) if seen == 2 else 2))
        # In a file that knows videos, hence actions, what is not said is not meant.
        implied = ACTION_OF_TOOL.get(tool) if active and not self.videos else None
        action = attributes.get('action', implied)
        if action is not None and active:
            action = action_of(str(action), self.options, self.draft)
        if action == SKIP:
            self.draft.skip('tool', f'--action {attributes.get("action")}=skip', where)
            return
        self.draft.tool(frame, tool, points, action=action, where=where, active=active, tool_id=record.get('id'),
                        segmentation=check_mask(record.get('segmentation'), [frame.height, frame.width]),
                        attributes=attributes,
                        names=[slot for slot, landmark in slots if landmark != SKIP])


def slots_of(landmarks: list[str | None]) -> list[tuple[str, str]]:
    """Our keypoint name and landmark of each foreign keypoint, in its order: tip1, tip2, anchor."""
    counts: dict[str, int] = defaultdict(int)
    slots = []
    for landmark in landmarks:
        known = landmark or SKIP
        counts[known] += 1
        first = next((slot for slot in SLOTS if slot.startswith(known)), known)
        slots.append((f'{known}{counts[known]}' if first != known or counts[known] > 1 else known, known))
    return slots


def _hashable(record: dict) -> bool:
    return isinstance(record.get('id'), int | str)
