"""Small scenes and data sets for the evaluation tests."""
import json

import pytest

from mmpose_surgical.datasets.annotations import landmark_of
from mmpose_surgical.datasets.records import Frame, Point, Tool, Video
from mmpose_surgical.evaluation.predictions import COLUMNS, Predictions

DENSE = Video(1, 'case1', fps=25.0, dense=True)


@pytest.fixture
def tool():
    """``tool('grasp', tip1=(x, y), anchor=(x, y), active=True, v=2)``."""
    def build(action=None, active=True, v=2, **points):
        return Tool(0, 'grasper', action, active,
                    [Point(landmark_of(name), name, float(x), float(y), v)
                     for name, (x, y) in points.items()])
    return build


@pytest.fixture
def frame():
    """``frame(image_id, tool, tool, ...)``: an annotated frame of 640x480 in a dense video of 25 fps."""
    def build(image_id, *tools, width=640, height=480, video=DENSE, annotated=True, clip=None):
        return Frame(image_id, None, width, height, video, image_id, annotated, clip, list(tools))
    return build


@pytest.fixture
def table():
    """``table((image_id, landmark, x, y, score), ...)``."""
    def build(*rows):
        return Predictions.from_records(dict(zip(COLUMNS, row)) for row in rows)
    return build


@pytest.fixture
def data_set(tmp_path):
    """Annotation file: case1 (``test``) with two tools, idle, unannotated; case2 (``val``) with one tool."""
    def image(image_id, video_id, **more):
        return dict(id=image_id, file_name=f'{image_id}.jpg', width=1280, height=480, video_id=video_id,
                    frame_id=image_id, **more)

    def instrument(number, image_id, keypoints, action=None, active=True):
        return dict(id=number, image_id=image_id, category_id=1, keypoints=keypoints,
                    attributes=dict(action=action, active=active))
    raw = {
        'info': {'synthetic': True},
        'videos': [{'id': 1, 'name': 'case1', 'fps': 25, 'dense': True}, {'id': 2, 'name': 'case2'}],
        'images': [image(1, 1), image(2, 1, annotated=True), image(3, 1), image(4, 2)],
        'categories': [{'id': 1, 'name': 'grasper', 'keypoints': ['tip1', 'tip2', 'anchor']}],
        'annotations': [
            instrument(1, 1, [100, 100, 2, 140, 100, 2, 300, 120, 1], 'grasp'),
            instrument(2, 1, [900, 300, 2, 0, 0, 0, 800, 320, 2], active=False),
            instrument(3, 4, [500, 50, 2, 0, 0, 0, 520, 90, 2], 'clip'),
        ],
    }
    path = tmp_path / 'tiny' / 'annotations.json'
    path.parent.mkdir()
    path.write_text(json.dumps(raw))
    (path.parent / 'splits.json').write_text(json.dumps({'test': ['case1'], 'val': ['case2']}))
    return path
