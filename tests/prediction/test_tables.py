import csv
import json

from mmpose_surgical.prediction.tables import write_csv, write_frames_json

FRAMES = [
    dict(frame=0, time=0., state='point', points=[dict(landmark='tip', x=1.5, y=2., score=0.75),
                                                  dict(landmark='anchor', x=3., y=4., score=0.5)], outline=[[1, 2]]),
    dict(frame=1, time=1 / 3, state='none', points=[], name='b.png'),
    dict(frame=2, time=2 / 3, state='broken', points=[], problem='gone')]


def test_csv_has_a_row_for_every_point_and_every_frame_without(tmp_path):
    write_csv(tmp_path / 'p.csv', FRAMES)
    assert (tmp_path / 'p.csv').read_text() == (
        'frame,time,state,landmark,x,y,score\n'
        '0,0.0,point,tip,1.5,2.0,0.75\n0,0.0,point,anchor,3.0,4.0,0.5\n1,0.333333,none,,,,\n2,0.666667,broken,,,,\n')


def test_csv_tells_smoothed_places_and_names_where_there_are_any(tmp_path):
    smooth = [dict(FRAMES[0], points=[dict(FRAMES[0]['points'][0], x_smooth=1., y_smooth=2.)]), FRAMES[1]]
    write_csv(tmp_path / 'p.csv', smooth, smooth=True, names=True)
    with (tmp_path / 'p.csv').open() as file:
        first, second = csv.DictReader(file)
    assert (first['x'], first['x_smooth'], first['name']) == ('1.5', '1.0', '') and second['name'] == 'b.png'


def test_json_holds_the_same_without_what_is_for_the_eye(tmp_path):
    write_frames_json(tmp_path / 'p.json', dict(fps=3), FRAMES)
    found = json.loads((tmp_path / 'p.json').read_text())
    assert found['meta'] == dict(fps=3) and len(found['frames']) == 3
    assert found['frames'][0] == {key: value for key, value in FRAMES[0].items() if key != 'outline'}
    write_frames_json(tmp_path / 'p.json', {}, [])
    assert json.loads((tmp_path / 'p.json').read_text())['frames'] == []
