"""What part of a picture the network sees, and that it is told."""
import json

import numpy as np
import pytest

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.boxes import Box, box_content, box_label, boxes_of
from mmpose_surgical.datasets.records import Frame, Point, Tool, Video
from mmpose_surgical.errors import UserError


def write(path, records):
    path.write_text(json.dumps(records))
    return str(path)


def frame(*tools):
    return Frame(1, 'x', 200, 100, Video(1, 'v'), 0, True, tools=[
        Tool(i, 'hook', None, active, [Point('tip', 'tip1', x, y, 2) for x, y in points])
        for i, (active, points) in enumerate(tools)])


@pytest.mark.parametrize('tools, corners', [
    ([], (0, 0, 200, 100)),
    ([(False, [(50, 50)])], (0, 0, 200, 100)),  # nothing acts
    ([(True, [(50, 60)])], (30, 40, 70, 80)),  # the least margin: a tenth of 200
    ([(True, [(0, 50)]), (True, [(160, 90)]), (False, [(190, 0)])], (-40, 10, 200, 130)),  # a quarter of 160
])
def test_oracle_box_by_hand(tools, corners):
    assert boxes_of('oracle', [frame(*tools)], None)[1] == Box(corners)


def test_surest_detection_counts_and_others_have_none(toy_data, tmp_path):
    annotations = load_annotations(toy_data)
    path = write(tmp_path / 'boxes.json', [dict(image_id=2, bbox=[1, 2, 10, 20], score=0.3),
                                           dict(image_id=2, bbox=[4, 5, 30, 20], score=0.8),
                                           dict(image_id=5, bbox=[0, 0, 9, 9], score=0.5)])
    assert boxes_of(path, annotations.frames[:3], annotations) == {2: Box((4, 5, 34, 25), 0.8)}


def test_bad_boxes_are_all_named(toy_data, tmp_path):
    annotations = load_annotations(toy_data)
    path = write(tmp_path / 'boxes.json', [dict(image_id=99, bbox=[1, 2, 3, 4], score=1), dict(image_id=1, score=1),
                                           dict(image_id=1, bbox=[1, 2, -3, 4], score=1), 7,
                                           dict(image_id=1, bbox=[1, 2, 3], score=1)])
    with pytest.raises(UserError, match=r"5 problem.*record 1: image_id 99 is not.*record 2: 'bbox' missing.*record 3: "
                                        r'box \[1, 2, -3, 4\].*record 4: 7 is not an object.*record 5: .*box=picture'):
        boxes_of(path, annotations.frames, annotations)
    with pytest.raises(UserError, match='not a JSON list'):
        boxes_of(write(tmp_path / 'boxes.json', {}), annotations.frames, annotations)


def test_names_and_content(tmp_path):
    path = write(tmp_path / 'mine.json', [])
    assert box_label('picture') == 'whole picture' and box_label('oracle') == 'oracle box'
    assert box_label(path) == f'detector boxes mine.json ({box_content(path)["box"][:12]})'
    assert box_content('picture') == {} and box_content('oracle') == {'box': 'oracle'}
    with pytest.raises(UserError, match='file of boxes not found.*nothing.json.*box=oracle'):
        box_label(str(tmp_path / 'nothing.json'))


def test_the_picture_is_cut_to_the_box(plugin, toy_data, tmp_path, monkeypatch):
    from mmpose.registry import DATASETS

    from mmpose_surgical.datasets import clip_dataset
    pipeline = [dict(type='LoadClip'), dict(type='GetBBoxCenterScale', padding=1.0),
                dict(type='TopdownAffine', input_size=(32, 24))]

    def build(box):
        return DATASETS.build(dict(type='SurgicalClipDataset', data_root=str(toy_data), split='train', box=box,
                                   pipeline=pipeline))
    path = write(tmp_path / 'boxes.json', [dict(image_id=1, bbox=[16, 12, 32, 24], score=0.5)])
    told = []
    monkeypatch.setattr(clip_dataset, 'print_log', lambda message, **kwargs: told.append(message))
    cut, whole = build(path), build('picture')
    assert len(told) == 1 and told[0].startswith('3 of 4 pictures of split "train" have no box')
    assert cut.get_data_info(0)['bbox_score'] == [0.5]
    # A box of half the size at full resolution shows the same pixels; without a box it is the whole picture.
    from mmpose_surgical.pictures import read_picture
    picture = read_picture(whole.get_data_info(0)['img_path'])
    assert np.abs(cut[0]['img'].astype(int) - picture[12:36, 16:48]).max() <= 1
    np.testing.assert_allclose(cut[0]['transformed_keypoints'][0, 0], cut[0]['keypoints'][0, 0] - [16, 12], atol=1e-4)
    assert (cut[1]['img'] == whole[1]['img']).all()
