"""A tiny data set in the project's format, made in milliseconds: bars on a plain ground, one of them acting.

Not the synthetic data set (that has tests of its own): only enough for what reads the format.
"""
import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

SIZE = (64, 48)


def bar_mask(x: float, y: float) -> np.ndarray:
    """A bar of 16 x 6 px whose left end is the tip at (x, y) and whose right end is the anchor."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    cv2.rectangle(mask, (round(x), round(y) - 3), (round(x) + 16, round(y) + 3), 1, -1)
    return mask


def write_toy_data(root: Path, videos: dict[str, str] | None = None, clips: int = 2, frames: int = 5,
                   synthetic: bool = True, dense: bool = True, seed: int = 0) -> Path:
    """Write a data set: per clip ``frames`` pictures at 10 fps, the middle one annotated; the last clip is idle.

    ``videos`` maps names to splits; folds alternate over the training videos. Frames are numbered from 10 on.
    """
    videos = videos or {'a': 'train', 'b': 'train', 'c': 'val', 'd': 'test'}
    rng = np.random.default_rng(seed)
    data: dict = dict(info=dict(synthetic=synthetic, version='1'), videos=[], clips=[], images=[], annotations=[],
                      categories=[dict(id=1, name='grasper', keypoints=['tip1', 'tip2', 'anchor'])])
    for video_id, name in enumerate(videos, 1):
        data['videos'].append(dict(id=video_id, name=name, source='toy', fps=10, dense=dense,
                                   frame_pattern=f'frames/{name}/{{frame_id:06d}}.png'))
        (root / 'frames' / name).mkdir(parents=True)
        for clip in range(clips):
            first = 10 + clip * frames
            clip_id = len(data['clips']) + 1
            idle = clip == clips - 1
            data['clips'].append(dict(id=clip_id, video_id=video_id, start_frame=first, end_frame=first + frames - 1,
                                      action=None if idle else 'grasp'))
            start = rng.uniform([4, 8], [40, 18], (1, 2)) + [[0, 0], [0, 16]]
            for number in range(first, first + frames):
                picture = np.full((*SIZE[::-1], 3), (40, 60, 150), np.uint8)
                tips = start + [[0 if idle else number - first, 0], [0, 0]]
                for x, y in tips:
                    picture[bar_mask(x, y) > 0] = 220
                cv2.imwrite(str(root / f'frames/{name}/{number:06d}.png'), picture)
                if number == first + frames // 2:
                    _annotate(data, name, video_id, clip_id, number, tips, idle)
    (root / 'annotations.json').write_text(json.dumps(data))
    train = [name for name, split in videos.items() if split == 'train']
    splits = {s: [name for name, split in videos.items() if split == s] for s in ('train', 'val', 'test')}
    (root / 'splits.json').write_text(json.dumps(dict(splits, folds=[train[::2], train[1::2]])))
    return root


def _annotate(data: dict, name: str, video_id: int, clip_id: int, number: int, tips: np.ndarray, idle: bool) -> None:
    image_id = len(data['images']) + 1
    data['images'].append(dict(id=image_id, file_name=f'frames/{name}/{number:06d}.png', width=SIZE[0], height=SIZE[1],
                               video_id=video_id, frame_id=number, clip_id=clip_id, annotated=True))
    for tool, (x, y) in enumerate(tips):
        rle = coco_mask.encode(np.asfortranarray(bar_mask(x, y)))
        active = tool == 0 and not idle
        data['annotations'].append(dict(
            id=len(data['annotations']) + 1, image_id=image_id, category_id=1,
            keypoints=[float(x), float(y), 2, 0, 0, 0, float(x) + 16, float(y), 2], num_keypoints=2,
            segmentation=dict(size=rle['size'], counts=rle['counts'].decode()),
            attributes=dict(active=active, action='grasp' if active else None)))
