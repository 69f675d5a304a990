"""Threshold choice by hand and against a sweep that evaluates anew at every score."""
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Frame, Point, Tool, Video
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.evaluator import evaluate
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.evaluation.thresholds import (
    choose_thresholds,
    read_thresholds,
    refuse_seen_videos,
    write_thresholds,
)


def test_by_hand(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(0, 0), anchor=(100, 100))), frame(2, tool('grasp', tip1=(0, 0))),
              frame(3)]
    pred = table((1, 'tip', 0, 0, .9), (3, 'tip', 0, 0, .8), (2, 'tip', 1, 0, .7), (3, 'tip', 9, 9, .2),
                 (1, 'anchor', 300, 100, .5), (1, 'anchor', 100, 100, .5))
    # Tips: 2 points. Kept 1: 2/3; kept 2: 2/4; kept 3: 4/5; kept 4: 4/6. Anchors come and go together: 2/3.
    found = choose_thresholds(frames, pred, source={'split': 'val'})
    assert (found['tip'], found['anchor']) == (.7, .5)
    assert found['meta']['f1'] == {'tip': 4 / 5, 'anchor': 2 / 3}
    assert found['meta']['frames'] == 3 and found['meta']['split'] == 'val'


def test_of_equally_good_ones_the_highest(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(0, 0), tip2=(50, 0)))]
    pred = table((1, 'tip', 0, 0, .9), (1, 'tip', 200, 0, .8), (1, 'tip', 300, 0, .7), (1, 'tip', 50, 0, .6))
    # Kept 1: 2/3; kept 4: 4/6.
    assert choose_thresholds(frames, pred)['tip'] == .9


def test_no_prediction_and_no_true_one(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(0, 0)))]
    found = choose_thresholds(frames, table((1, 'tip', 99, 0, .3), (1, 'tip', 99, 9, .6)))
    assert (found['tip'], found['anchor']) == (.6, None)
    assert found['meta']['f1'] == {'tip': 0.0, 'anchor': None}


spots = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=3, unique=True)
scored = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from([.1, .2, .3, .4, .5])),
                  max_size=5, unique_by=lambda p: p[:2])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(spots, scored), min_size=1, max_size=4), st.sampled_from(['max_pairs', 'global']))
def test_equals_evaluating_at_every_score(scenes, protocol):
    video = Video(1, 'case1')
    frames = [Frame(i, None, 640, 480, video, i, True, None,
                    [Tool(0, 'hook', 'cut', True, [Point('tip', 'tip1', x, y, 2) for x, y in gt])])
              for i, (gt, _) in enumerate(scenes)]
    pred = Predictions.from_records({'image_id': i, 'landmark': 'tip', 'x': x, 'y': y, 'score': s}
                                    for i, (_, points) in enumerate(scenes) for x, y, s in points)
    found = choose_thresholds(frames, pred, tolerance=8, protocol=protocol)
    swept = []
    for threshold in np.unique(pred.score):
        at = evaluate(frames, pred, tolerance=8, protocol=protocol, score_thr=threshold)
        swept.append((at['results']['overall']['tip']['f1'], threshold))
    if swept:
        assert (found['meta']['f1']['tip'], found['tip']) == max(swept)
    else:
        assert found['tip'] is None


def test_file_round_trip(tmp_path, frame, tool, table):
    found = choose_thresholds([frame(1, tool('grasp', tip1=(0, 0)))], table((1, 'tip', 0, 0, 1 / 3)))
    write_thresholds(tmp_path / 'thr.json', found)
    values, meta = read_thresholds(tmp_path / 'thr.json')
    assert values == {'tip': 1 / 3, 'anchor': None} and meta == json.loads(json.dumps(found['meta']))


@pytest.mark.parametrize('content', ['[]', '{"tip": "high"}', '{"nose": 0.1}', '{"tip": NaN}',
                                     '{"tip": true}', '{"tip": 0.1', '{"tip": 0.1, "meta": 3}', '{}', '[' * 100_000,
                                     '{"tip": 1' + 400 * '0' + '}',
                                     '{"tip": 0.1, "meta": {"data": "d"}}', '{"tip": 0.1, "meta": {"videos": 3}}',
                                     '{"tip": 0.1, "meta": {"videos": [["a"]]}}',
                                     '{"tip": 0.1, "meta": {"split": ["val"]}}'])
def test_damaged_file(tmp_path, content):
    (tmp_path / 'thr.json').write_text(content)
    with pytest.raises(UserError, match='file is not.*thr.json.*Fix'):
        read_thresholds(tmp_path / 'thr.json')


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match='cannot be read.*Fix'):
        read_thresholds(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match='not found'):
        read_thresholds(tmp_path / 'thr.json')


VAL = {'split': 'val', 'data': {'name': 'd', 'sha256': 'ab'}}


@pytest.mark.parametrize('meta, values, source', [
    (dict(VAL, threshold={'tip': .3, 'anchor': None}, threshold_from='this data'), {'tip': .3, 'anchor': None},
     dict(VAL, videos=['a', 'b'])),
    # Used on test, chosen on val.
    (dict(split='test', data={}, threshold=.25, threshold_from=dict(VAL, file='t.json', videos=['c'])),
     {'tip': .25, 'anchor': .25}, dict(VAL, videos=['c'])),
    (dict(VAL, threshold={'tip': .3}, threshold_from='command line'), {'tip': .3},
     {'split': None, 'data': None, 'videos': None})])
def test_thresholds_of_a_metrics_file(tmp_path, meta, values, source):
    path = tmp_path / 'val_metrics.json'
    path.write_text(json.dumps({'meta': meta, 'results': {}, 'per_video': {'b': {}, 'a': {}}}))
    assert read_thresholds(path) == (values, source)


@pytest.mark.parametrize('meta', [{'threshold': None}, {'threshold': [.1, .2]}, ['threshold'], None])
def test_a_metrics_file_without_one_threshold(tmp_path, meta):
    path = tmp_path / 'val_metrics.json'
    path.write_text(json.dumps({'meta': meta, 'results': {}}))
    with pytest.raises(UserError, match='not one threshold per landmark.*--score-thr best'):
        read_thresholds(path)


@pytest.mark.parametrize('chosen_on, reported, refused', [
    ('val', 'val', True), ('val', 'test', False), (None, 'test', True), ('all', 'test', True)])
def test_a_threshold_of_reported_videos_is_refused(data_set, chosen_on, reported, refused):
    annotations = load_annotations(data_set)
    frames = [f for f in annotations.frames if f.video.name == {'test': 'case1', 'val': 'case2'}[reported]]
    meta = {'split': chosen_on, 'data': {'sha256': annotations.sha256}}
    if refused:
        with pytest.raises(UserError, match='t.json.*choose it on other videos'):
            refuse_seen_videos('t.json', meta, annotations, frames)
    else:
        refuse_seen_videos('t.json', meta, annotations, frames)
    # The same data set, annotated anew: by name, and by the videos that were written down.
    name = annotations.path.resolve().parent.name
    anew = {'data': {'sha256': 'other', 'name': name}, 'split': 'val', 'videos': [frames[0].video.name]}
    with pytest.raises(UserError, match='choose it on other videos'):
        refuse_seen_videos('t.json', anew, annotations, frames)
    refuse_seen_videos('t.json', dict(anew, videos=['another']), annotations, frames)
    # Another data set, whose videos may have the same names, or no record of one.
    refuse_seen_videos('t.json', dict(anew, data={'sha256': 'other', 'name': 'other'}), annotations, frames)
    refuse_seen_videos('t.json', {}, annotations, frames)
