import json

import cv2
import numpy as np
import pytest
from data_tools import imported

from mmpose_surgical.errors import UserError


def write(src, layout='images/{split}', **more):
    for k, split in ((1, 'train'), (2, 'val')):
        image = src / layout.format(split=split) / f'case{k}_000{k}.png'
        label = src / layout.format(split=split).replace('images', 'labels') / f'case{k}_000{k}.txt'
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.full((50, 100, 3), 99, np.uint8))
        label.write_text(f'{k - 1} 0.5 0.5 0.1 0.1 0.25 0.5 2 0 0 0 0.3 0.9 1\n')
    (src / 'data.yaml').write_text(json.dumps(dict(names={1: 'hook', 0: 'grasper'}, kpt_shape=[3, 3]) | more))
    return src


@pytest.mark.parametrize('layout', ['images/{split}', '{split}/images', 'images'])
def test_layouts(tmp_path, layout):
    data = imported('yolo', write(tmp_path / 'src', layout), tmp_path / 'out')
    assert {(f.video.name, f.frame_id): [(t.tool, t.action, [(p.name, p.x, p.y, p.v) for p in t.points])
                                         for t in f.tools] for f in data.frames} == {
        ('case1', 1): [('grasper', 'grasp', [('tip1', 25, 25, 2), ('anchor', 30, 45, 1)])],
        ('case2', 2): [('hook', 'dissect', [('tip1', 25, 25, 2), ('anchor', 30, 45, 1)])]}


def test_own_names_of_keypoints_and_damage(tmp_path, capsys):
    src = write(tmp_path / 'src', kpt_names=['hinge', 'shaft', 'tip'])
    with pytest.raises(UserError, match='neither tip nor anchor: shaft'):
        imported('yolo', src, tmp_path / 'out')
    (src / 'labels/val/case2_0002.txt').write_text('9 0.5 0.5 0.1 0.1 0.25 0.5 2 0 0 0 0.3 0.9 1\n')
    frame, = imported('yolo', src, tmp_path / 'out', '--landmark', 'shaft=skip').frames
    assert [(p.name, p.x) for p in frame.tools[0].points] == [('anchor', 25), ('tip1', 30)]
    assert 'tool 1: damaged (KeyError)' in capsys.readouterr().out


@pytest.mark.parametrize('more', [dict(kpt_shape=[3, 2]), dict(names=None), dict(kpt_names=['tip'])])
def test_files_that_are_none(tmp_path, more):
    with pytest.raises(UserError, match='no data.yaml of a pose data set'):
        imported('yolo', write(tmp_path / 'src', **more), tmp_path / 'out')
    (tmp_path / 'src/data.yaml').write_text(json.dumps(dict(names=['x'], kpt_shape=[3, 3])))
    (tmp_path / 'src/images').rename(tmp_path / 'src/pictures')
    with pytest.raises(UserError, match='no picture in a folder called "images"'):
        imported('yolo', tmp_path / 'src', tmp_path / 'out')
