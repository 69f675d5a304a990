import cv2
import numpy as np
from data_tools import data_set, data_tool

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Point
from mmpose_surgical.datasets.splits import Splits
from mmpose_surgical.datasets.statistics import positions, tables

CASES = dict(v1=('Cholec80', ['grasp', 'grasp', None]), v2=('Cholec80', ['dissect']), v3=('SurgVU', ['cut', 'grasp']))


def test_tables_by_hand():
    data = data_set(CASES)
    clips, pictures, splits, points, sizes = tables(data, Splits(('v1',), ('v2',), ('v3',), (('v1',), ())))
    assert clips.title == 'Clips by action and source (6 in all)'
    assert clips.columns == ['action', 'Cholec80', 'SurgVU', 'total']
    assert clips.rows == pictures.rows == [['grasp', 2, 1, 3], ['dissect', 1, 0, 1], ['cut', 0, 1, 1],
                                           ['idle', 1, 0, 1], ['videos', 2, 1, 3]]
    assert splits.rows[0] == ['train', 1, 3, 3, '2 (67 %)', '0 (0 %)', '0 (0 %)', '1 (33 %)']
    assert splits.rows[3] == ['fold0', 1, 3, 3, '2 (67 %)', '0 (0 %)', '0 (0 %)', '1 (33 %)']
    assert points.rows[0] == ['pictures in which nothing acts', '1 (16.7 %)']
    assert sizes.rows == [['64x48', '6 pictures'], ['25 fps', '3 videos']]


def test_points_are_counted_over_acting_tools():
    data = data_set(CASES)
    data.frames[0].tools[0].points = [Point('tip', 'tip1', 31.5, 23.5, 2), Point('tip', 'tip2', 3, 4, 1),
                                      Point('anchor', 'anchor', 5, 6, 2)]
    rows = dict((row[0], row[1]) for row in tables(data, Splits())[3].rows)
    assert rows['tips'] == 2 and rows['anchors'] == 1 and rows['tips that are hidden (v = 1)'] == 1
    assert rows['pictures with 0, 1, 2 ... tips, where a tool acts'] == '4, 0, 1'
    assert positions(data.frames, 'tip')['grasp'][0].tolist() == [0.5, 0.5]  # the middle of the picture
    assert list(positions(data.frames, 'anchor')) == ['grasp']


def test_the_verb_prints_and_draws(toy_data, tmp_path, capsys):
    assert data_tool('stats', toy_data, '--out', tmp_path / 's.md', '--picture', tmp_path / 's.png') == 0
    said = capsys.readouterr().out
    assert said.startswith((tmp_path / 's.md').read_text()[:40]) and '(synthetic)' in said
    # Four videos with an acting and an idle clip each.
    assert '| grasp | 4 | 4 |' in said and '| idle | 4 | 4 |' in said and '| train | 2 | 4 | 4 |' in said
    picture = cv2.imread(str(tmp_path / 's.png'))
    assert picture.shape[0] > 300 and len(np.unique(picture)) > 50
    assert load_annotations(toy_data).landmarks == ('tip', 'anchor')
