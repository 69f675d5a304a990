"""Small sources in every foreign format, and ways to damage their annotation files."""
import copy
import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import yaml
from video_files import picture, write_video

Tree = Any
"""What JSON and YAML hold."""
BAD = (None, float('nan'), float('inf'), -float('inf'), 'word', '', [], {}, [[]], True, 1e308, -1, 0.5, 10**20, '7')
NO_NUMBERS = tuple(value for value in BAD if not isinstance(value, int | float) or value != value or abs(value) > 1e300)


def write_source(name: str, root: Path) -> Path:
    """A source of two pictures or a clip in this format; returns the annotation file that is to be damaged."""
    writers = {'native': _native, 'coco': _coco, 'coco with videos': _coco_with_videos, 'csv': _csv, 'yolo': _yolo,
               'robust_mips': _robust_mips, 'endovis15': _endovis, 'surgpose': _surgpose}
    return writers[name](root)


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _video(path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, 4, **options)


def _picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(number))


def _native(root: Path) -> Path:
    _video(root / 'clips/grasp_10_13.mp4')
    points = [dict(frameIndex=number, type=kind, x=x + number, y=y, vis=True) for number in (11, 12)
              for kind, x, y in (('tool_tip', 3.5, 9), ('tool_tip', 4, 11), ('tool_anchor', 30, 9), ('contact', 1, 1))]
    return _text(root / 'annotation/grasp_10_13.json', json.dumps(
        dict(imageDimensions=dict(width=96, height=64), points=points)))


def _coco(root: Path) -> Path:
    for number in (3, 4):
        _picture(root / f'images/v/{number:06d}.png', number)
    return _text(root / 'annotations.json', json.dumps(dict(
        images=[dict(id=number, file_name=f'v/{number:06d}.png', width=96, height=64) for number in (3, 4)],
        categories=[dict(id=1, name='grasper', keypoints=['tip1', 'tip2', 'anchor'])],
        annotations=[dict(id=k, image_id=number, category_id=1, keypoints=[10 * k, 12.5, 2, 0, 0, 0, 10 * k + 5, 20, 1],
                          bbox=[1, 2, 3, 4], segmentation=[[1, 1, 20, 1, 20, 9]],
                          attributes=dict(action='grasp', active=k < 3))
                     for k, number in ((1, 3), (2, 4), (3, 4))])))


def _coco_with_videos(root: Path) -> Path:
    """A case of pictures, one in a video file, and one whose clip has a file of its own; masks as run lengths."""
    for number in range(3):
        _picture(root / f'p/{number:04d}.png', number)
    _video(root / 'b.mp4')
    _video(root / 'c.mp4', first=7)
    mask = dict(size=[64, 96], counts=[100, 20, 64 * 96 - 120])
    return _text(root / 'annotations.json', json.dumps(dict(
        videos=[dict(id=1, name='a', fps=25, frame_pattern='p/{frame_id:04d}.png', source='x'),
                dict(id=2, name='b', fps=25, video_file='b.mp4'), dict(id=3, name='c', fps=25, dense=True)],
        clips=[dict(id=1, video_id=1, start_frame=0, end_frame=2, action='grasp'),
               dict(id=2, video_id=3, start_frame=7, end_frame=10, action='clip', video_file='c.mp4')],
        images=[dict(id=1, file_name='p/0001.png', width=96, height=64, video_id=1, frame_id=1, clip_id=1),
                dict(id=2, width=96, height=64, video_id=2, frame_id=3, annotated=True),
                dict(id=3, width=96, height=64, video_id=3, frame_id=8, clip_id=2)],
        categories=[dict(id=1, name='grasper', keypoints=['tip1', 'tip2', 'anchor'])],
        annotations=[dict(id=k, image_id=k, category_id=1, keypoints=[9 * k, 12.5, 2, 0, 0, 0, 9 * k + 5, 20, 1],
                          segmentation=mask, attributes=dict(action='grasp', active=True)) for k in (1, 2, 3)])))


def _csv(root: Path) -> Path:
    from mmpose_surgical.datasets.exporters.csv import COLUMNS
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for number in (3, 4):
        _picture(root / f'frames/v/{number:06d}.png', number)
        for keypoint, x, y in (('tip1', 5.5, 6), ('anchor', 30, 7)):
            writer.writerow(dict(
                image_id=number, video='v', source='ours', frame_id=number, file_name=f'frames/v/{number:06d}.png',
                width=96, height=64, annotated=1, tool_id=number, tool='hook', action='dissect', active=1,
                keypoint=keypoint, x=x + number, y=y, v=2))
    return _text(root / 'points.csv', text.getvalue())


def _yolo(root: Path) -> Path:
    for number in (3, 4):
        _picture(root / f'images/train/v_{number:06d}.png', number)
    _text(root / 'data.yaml', json.dumps(dict(train='images/train', names=['grasper'], kpt_shape=[3, 3])))
    _text(root / 'labels/train/v_000004.txt', '0 0.5 0.5 0.2 0.2 0.5 0.5 2 0 0 0 0.6 0.5 1\n')
    return _text(root / 'labels/train/v_000003.txt', '0 0.4 0.5 0.2 0.2 0.4 0.5 2 0 0 0 0.7 0.5 1\n'
                                                     '0 0.3 0.5 0.2 0.2 0.3 0.25 2 0.1 0.1 2 0 0 0\n')


def _robust_mips(root: Path) -> Path:
    folder = root / 'RobustMIPS/Training/Rectal resection/2/100'
    _picture(folder / 'raw.png', 5)
    cv2.imwrite(str(folder / 'instrument_instances.png'), picture(5)[:, :, 0] * 0)
    return _text(folder / 'toolposes.json', json.dumps([dict(
        nodes=[[2, 3], [20 + k, 21], [30, 31 + k], None], tags=['visible', 'visible', 'occluded', 'missing'],
        edges=[[0, 1]], transitions=[]) for k in (0, 4)]))


def _endovis(root: Path) -> Path:
    _video(root / 'Tracking_Robotic_Training/Training/Dataset1/Video.avi', codec='mpeg4')
    return _text(root / 'train_labels/train1_labels.json', json.dumps([dict(
        filename=f'/x/Tracking_Robotic_Training/Training/Dataset1/Raw/img_{number:06d}_raw.png', **{'class': 'image'},
        annotations=[{'class': kind, 'id': 'tool1', 'x': x + number, 'y': 9.5} for kind, x in (
            ('LeftClasperPoint', 3), ('RightClasperPoint', 5), ('HeadPoint', 30), ('ShaftPoint', 50))])
        for number in (1, 3)]))


def _surgpose(root: Path) -> Path:
    _video(root / '000000/regular/left_video.mp4')
    return _text(root / '000000/keypoints_left.yaml', yaml.safe_dump({number: {
        index: None if index == 6 else [10.0 + index, 20.5 + number] for index in range(1, 15)} for number in (0, 2)}))


# -- damage ----------------------------------------------------------------------------------------------------
def mutate(file: Path, rng: random.Random) -> bool:
    """Damage a file in place, at one to three places; returns whether a new value may be meant."""
    text = file.read_text()
    if rng.random() < 0.15:
        file.write_bytes(_bytes(text.encode(), rng))
        return True
    load, dump = _FORMATS[file.suffix]
    tree, plausible = load(text), False
    for _ in range(rng.choice((1, 1, 2, 3))):
        plausible |= _change(tree, rng, null=file.name.startswith('keypoints_'))
    file.write_text(dump(tree))
    return plausible


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Cut off, with a bit turned, or with a piece of something else."""
    at = rng.randrange(len(content))
    return rng.choice((content[:at], content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1:],
                       content[:at] + rng.choice((b'\0', b'\xff\xfe', b'[' * 3000, b'\n\n', b'NaN')) + content[at:]))


def _change(tree: Tree, rng: random.Random, null: bool) -> bool:
    places = list(_places(tree))
    if not places:
        return False
    holder, key = rng.choice(places)
    if isinstance(holder, dict) and rng.random() < 0.3:
        del holder[key]
        return True
    old, new = holder[key], copy.deepcopy(rng.choice(BAD))
    holder[key] = new
    # A word may be another word, a list or an object empty; and YAML of SurgPose says with null that a point is absent.
    empty = new in ([], {}) and isinstance(old, type(new))
    return isinstance(old, str) or empty or (null and new is None) or not any(
        new is bad or new == bad for bad in NO_NUMBERS)


def _places(tree: Tree) -> Iterator[tuple[Tree, Any]]:
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def _load_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def _dump_csv(rows: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(row if isinstance(row, list) else [row] for row in rows)
    return out.getvalue()


_FORMATS: dict[str, tuple[Callable[[str], Tree], Callable[[Tree], str]]] = {
    '.json': (json.loads, json.dumps), '.yaml': (yaml.safe_load, yaml.safe_dump), '.csv': (_load_csv, _dump_csv),
    '.txt': (lambda text: [line.split(' ') for line in text.splitlines()],
             lambda lines: '\n'.join(' '.join(map(str, line)) if isinstance(line, list) else str(line)
                                     for line in lines))}
