import cv2
import numpy as np
import pytest
from data_tools import imported

from mmpose_surgical.errors import UserError

HEAD = 'video,frame_id,file_name,width,height,tool,action,keypoint,x,y,v\n'


def write(src, lines, head=HEAD):
    for name in ('a_1.png', 'a_2.png'):
        src.mkdir(exist_ok=True)
        cv2.imwrite(str(src / name), np.full((48, 64, 3), 99, np.uint8))
    (src / 'points.csv').write_text(head + ''.join(f'{line}\n' for line in lines))
    return src


def test_a_table_by_hand(tmp_path):
    data = imported('csv', write(tmp_path / 'src', [
        'a,1,a_1.png,64,48,hook,dissect,tool_tip,5,6,2', 'a,1,a_1.png,64,48,hook,dissect,hinge,15,6.5,1',
        'a,1,a_1.png,64,48,grasper,grasping,tip,30,31,', 'a,2,a_2.png,64,48,,,,,,']), tmp_path / 'out')
    assert [(f.frame_id, f.annotated, [(t.tool, t.action, t.active, [(p.name, p.x, p.y, p.v) for p in t.points])
                                       for t in f.tools]) for f in data.frames] == [
        (1, True, [('hook', 'dissect', True, [('tip1', 5, 6, 2), ('anchor', 15, 6.5, 1)]),
                   ('grasper', 'grasp', True, [('tip1', 30, 31, 2)])]), (2, True, [])]


def test_a_damaged_line_takes_its_picture_with_it(tmp_path, capsys):
    data = imported('csv', write(tmp_path / 'src', [
        'a,1,a_1.png,64,48,hook,dissect,tip,5,6,2', 'a, 1,a_1.png,64,48,hook,dissect,anchor,word,6,2',
        'a,2,a_2.png,64,48,hook,dissect,tip,7,8,2', 'a,3,gone.png,64,48,hook,dissect,tip,7,8,2']), tmp_path / 'out')
    assert [f.frame_id for f in data.frames] == [2]
    said = capsys.readouterr().out
    assert 'line 1: damaged (ValueError) (e.g. line 3)' in said and 'picture 1: a record of it is damaged' in said
    assert 'line 1: its picture is missing' in said


@pytest.mark.parametrize('head, message', [('x,y\n', 'the table has no video'), ('', 'the table has no video')])
def test_tables_that_are_none(tmp_path, head, message):
    with pytest.raises(UserError, match=message):
        imported('csv', write(tmp_path / 'src', [], head), tmp_path / 'out')
    (tmp_path / 'src/points.csv').write_bytes(b'\xff\xfe\0')
    with pytest.raises(UserError, match='cannot be read'):
        imported('csv', tmp_path / 'src', tmp_path / 'out')
