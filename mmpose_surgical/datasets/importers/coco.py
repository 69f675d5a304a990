"""COCO keypoints, as CVAT, Label Studio, FiftyOne, SLEAP and this package write them.

Traps of these programs that are known here: CVAT leaves gaps in the category ids and coordinates behind v = 0; Label
Studio puts rectangles beside keypoints as annotations of their own, writes Windows paths, and lists a picture once per
annotator; FiftyOne names no keypoints; SLEAP may write v = 1 for visible; ROBUST-MIPS has an annotation of zeros for a
picture without tools.
"""
import json
from collections import defaultdict
from functools import cached_property
from pathlib import Path
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
from mmpose_surgical.datasets.importers.pictures import PictureFinder, Places
from mmpose_surgical.datasets.records import Clip, Frame, Point, Video
from mmpose_surgical.datasets.video_file import index_of
from mmpose_surgical.datasets.windows import pattern_files
from mmpose_surgical.errors import UserError
from mmpose_surgical.landmarks import SLOTS
from mmpose_surgical.pictures import MAX_SIDE

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
        clip = self.clips.get(clip_id)
        if clip and (clip.video_id != video.id or not clip.start_frame <= frame_id <= clip.end_frame):
            raise ValueError(f'frame {frame_id} of video "{video.name}" is not in clip {clip_id}')
        held_by = clip.video_file if clip and clip.video_file else video.video_file
        if file_name is None and held_by in self.lost:
            self.draft.skip('picture', 'its video file is missing, or none', where)
            return
        if file_name is None and held_by is None:
            self.draft.skip('picture', 'it has no file_name, and its video leads to none', where)
            return
        known = {'id', 'file_name', 'width', 'height', 'video_id', 'frame_id', 'clip_id', 'annotated'}
        self.frames[record['id']] = self.draft.frame(
            video, frame_id, size, file_name=file_name, clip=clip, image_id=record['id'],
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
        if action is not None and not isinstance(action, str):
            raise ValueError(f'action {action!r}')
        if action is not None and active:
            action = action_of(action, self.options, self.draft)
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
