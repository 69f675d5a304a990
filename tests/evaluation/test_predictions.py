"""Predictions files: round trips, and errors that name every bad row at once."""
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import (
    Predictions,
    read_predictions,
    write_predictions,
)
from mmpose_surgical.files import write_text

GOOD = {'image_id': 1, 'landmark': 'tip', 'x': 10.5, 'y': 20, 'score': 0.9}
number = st.floats(allow_nan=False, allow_infinity=False)
place = st.floats(-1e6, 1e6)
row = st.fixed_dictionaries({'image_id': st.integers(0, 2**62), 'x': place, 'y': place, 'score': number,
                             'landmark': st.sampled_from(['tip', 'anchor'])})
rows = st.lists(row, max_size=5, unique_by=lambda r: (r['image_id'], r['landmark'], r['x'], r['y']))


def written(tmp_path, content, name='pred.json'):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@settings(max_examples=40, deadline=None)
@given(records=rows, name=st.sampled_from(['p.json', 'p.csv']))
def test_round_trip_to_the_bit(tmp_path_factory, records, name):
    path = tmp_path_factory.mktemp('round') / name
    write_predictions(path, Predictions.from_records(records))
    assert read_predictions(path).records() == records
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_csv_of_a_spreadsheet(tmp_path):
    path = tmp_path / 'pred.CSV'
    path.write_bytes(b'\xef\xbb\xbfscore, y, x, landmark, image_id, note\r\n0.9, 20, 10.5, tip, 1, hello\r\n')
    assert read_predictions(path).records() == [GOOD]


@pytest.mark.parametrize('name, content', [('p.json', '[]'), ('p.csv', 'image_id,landmark,x,y,score\n')])
def test_no_point_at_all(tmp_path, name, content):
    table = read_predictions(written(tmp_path, content, name))
    assert len(table) == 0 and table.xy.shape == (0, 2)


def test_all_problems_in_one_error(tmp_path):
    records = [GOOD, {**GOOD, 'x': math.nan}, {**GOOD, 'score': math.inf}, {**GOOD, 'landmark': 'tip1'},
               {'image_id': 1, 'landmark': 'tip', 'y': 20}, {**GOOD, 'image_id': 7}, dict(GOOD),
               5, {**GOOD, 'image_id': 1.5, 'y': 'low'}, {**GOOD, 'x': True}]
    path = written(tmp_path, records)
    with pytest.raises(UserError) as error:
        read_predictions(path, known_images={1})
    message = str(error.value)
    for part in ('10 problem(s)', 'record 2: x is nan', 'record 3: score is inf',
                 "record 4: unknown landmark 'tip1'", 'record 5: x, score missing',
                 'record 6: image_id 7 is not in the annotations',
                 'record 7: the same point as record 1', 'record 8: 5 is not an object',
                 'record 9: image_id 1.5 is not a whole number', "record 9: y is 'low'",
                 'record 10: x is True', str(path)):
        assert part in message
    assert '\n' not in message


def test_a_place_beyond_any_picture(tmp_path):
    with pytest.raises(UserError, match=r'record 1: y is -1e\+200, which is in no picture'):
        read_predictions(written(tmp_path, [{**GOOD, 'y': -1e200}]))


def test_the_first_ten_and_a_count(tmp_path):
    with pytest.raises(UserError, match=r'25 problem\(s\).*record 10: .*; and 15 more'):
        read_predictions(written(tmp_path, [{**GOOD, 'y': None, 'image_id': i} for i in range(25)]))


def test_same_place_with_another_score_is_a_duplicate(tmp_path):
    with pytest.raises(UserError, match='record 2: the same point as record 1'):
        read_predictions(written(tmp_path, [GOOD, {**GOOD, 'score': 0.1}]))


def test_csv_problems_name_the_line(tmp_path):
    text = 'image_id,landmark,x,y,score\n1,tip,10,5,20,0.9\n1,tip,3\nx,tip,1,2,3\n'
    with pytest.raises(UserError) as error:
        read_predictions(written(tmp_path, text, 'p.csv'))
    for part in ('line 2: more cells', 'line 3: y, score missing',
                 "line 4: image_id 'x' is not a whole number"):
        assert part in str(error.value)
    with pytest.raises(UserError, match='header lacks landmark, score'):
        read_predictions(written(tmp_path, 'image_id,x,y\n1,2,3\n', 'q.csv'))


@pytest.mark.parametrize('content, message', [('[{"image_id": 1', 'not valid JSON'),
                                              ('{}', 'not a JSON list'), ('', 'not valid JSON'),
                                              ('[' * 100_000, 'not valid JSON')])
def test_damaged_file(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_predictions(written(tmp_path, content))


@pytest.mark.parametrize('rows, line', [(['t' * 200_000], 1), (['image_id,landmark,x,y,score', 't' * 200_000], 2)])
def test_a_cell_without_end(tmp_path, rows, line):
    with pytest.raises(UserError, match=f'line {line} cannot be read.*p.csv'):
        read_predictions(written(tmp_path, '\n'.join(rows), 'p.csv'))


@pytest.mark.parametrize('name', ['p.csv.gz', 'p.json.gz'])
def test_compressed_file(tmp_path, name):
    points = Predictions.from_records([dict(image_id=1, landmark='tip', x=1.25, y=2, score=0.1)])
    write_predictions(tmp_path / name, points)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(b'\x1f\x8b') and read_predictions(tmp_path / name).records() == points.records()
    write_predictions(tmp_path / name, points)
    assert (tmp_path / name).read_bytes() == content
    for damaged in (content[:-9], b'no archive', content[:20] + b'\x00' * 9 + content[29:]):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(UserError, match='cannot be read'):
            read_predictions(tmp_path / name)


def test_missing_and_binary_file(tmp_path):
    with pytest.raises(UserError, match='not found'):
        read_predictions(tmp_path / 'no.json')
    (tmp_path / 'b.csv').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='cannot be read'):
        read_predictions(tmp_path / 'b.csv')


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / 'new' / 'file.json'
    write_text(path, 'old')

    def full(*_args):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr('os.replace', full)
    with pytest.raises(UserError, match='No space left'):
        write_text(path, 'new')
    assert path.read_text() == 'old' and [p.name for p in path.parent.iterdir()] == ['file.json']
    with pytest.raises(UserError, match='cannot be written'):
        write_text(path / 'below', 'text')
