"""The MMEngine metric: slots to points, scalars, and the same numbers as the command line."""
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.metric import LandmarkMatchingMetric
from mmpose_surgical.evaluation.thresholds import write_thresholds

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'evaluate.py'
NAMES = {0: 'tip1', 1: 'tip2', 2: 'anchor'}


def sample(image_id, xy, scores, as_tensor=False):
    instances = {'keypoints': np.array([xy], dtype=np.float32),
                 'keypoint_scores': np.array([scores], dtype=np.float32)}
    if as_tensor:
        instances = {k: torch.from_numpy(v) for k, v in instances.items()}
    return {'img_id': image_id, 'pred_instances': instances}


def samples():
    return [sample(1, [[101.3, 100.7], [9, 9], [310, 125]], [.8, 0, .3]),
            sample(2, [[50, 50], [60.25, 70], [0, 0]], [.9, .2, 0], as_tensor=True),
            sample(3, [[0, 0], [0, 0], [0, 0]], [0, 0, 0])]


def metric(data_set, **kwargs):
    built = LandmarkMatchingMetric(data_set.name, str(data_set.parent), **kwargs)
    built.dataset_meta = {'keypoint_id2name': NAMES}
    return built


def run(built, batches):
    for batch in batches:
        built.process(None, batch)
    return built.evaluate(size=sum(map(len, batches)))


def test_slots_become_points(data_set):
    built = metric(data_set)
    built.process(None, samples())
    assert [r['image_id'] for r in built.results] == [1, 2, 3]
    assert [(p['landmark'], p['score']) for p in built.results[0]['points']] == [
        ('tip', pytest.approx(.8)), ('anchor', pytest.approx(.3))]
    assert [p['x'] for p in built.results[1]['points']] == [50.0, 60.25] and built.results[2]['points'] == []


def test_scalars_by_hand(data_set):
    # Image 1 has tips at (100, 100), (140, 100) and an anchor at (300, 120) of 1280x480.
    # Nothing acts in image 2.
    found = run(metric(data_set), [samples()[:2], samples()[2:]])
    assert found['surgical/tip_P'] == 1 / 3 and found['surgical/tip_R'] == 1 / 2
    assert found['surgical/tip_F1'] == 2 / 5
    assert found['surgical/tip_L2'] == pytest.approx(np.hypot(.65, .7), rel=1e-5)
    assert found['surgical/anchor_F1'] == 1 and found['surgical/mean_F1'] == pytest.approx(.7)
    assert found['surgical/active_tool_accuracy'] == 1
    assert found['surgical/false_points_per_idle_minute'] == 2 * 25 * 60


def test_undefined_scalars_are_left_out_and_f1_never(data_set):
    found = run(metric(data_set), [[sample(3, [[0, 0]] * 3, [0] * 3)]])
    assert found == {'surgical/tip_F1': 0, 'surgical/anchor_F1': 0, 'surgical/mean_F1': 0}


def test_best_threshold_is_recorded_as_chosen_on_this_data(data_set):
    built = metric(data_set, score_thr='best', split='val')
    found = run(built, [samples()])
    # Tips .9 (false), .8 (true), .2 (false): F1 0, 2/4, 2/5.
    assert found['surgical/tip_F1'] == .5
    assert built.last_metrics['meta']['threshold']['tip'] == pytest.approx(.8)
    assert built.last_metrics['meta']['threshold_from'] == 'this data'
    assert built.last_thresholds['meta']['split'] == 'val'
    assert built.last_thresholds['meta']['data']['synthetic'] is True


def test_threshold_file_names_its_source(data_set, tmp_path):
    source = {'split': 'val', 'data': {'name': 'd'}, 'videos': ['a']}
    write_thresholds(tmp_path / 'thr.json', {'tip': .85, 'anchor': None, 'meta': source})
    built = metric(data_set, score_thr=str(tmp_path / 'thr.json'))
    assert run(built, [samples()])['surgical/tip_R'] == 0
    assert built.last_metrics['meta']['threshold_from'] == {'file': 'thr.json', **source}


def test_an_image_twice_or_unknown_is_an_error(data_set):
    with pytest.raises(UserError, match=r'repeated or not in the annotations: \[1, 99\]'):
        run(metric(data_set), [[samples()[0], samples()[0], sample(99, [[0, 0]] * 3, [0] * 3)]])


def test_a_diverged_model_is_an_error(data_set):
    with pytest.raises(UserError, match='score is nan'):
        run(metric(data_set), [[sample(1, [[1, 1]] * 3, [np.nan, 0, 0])]])


@pytest.mark.parametrize('options, rules', [
    ([], {}),
    (['--score-thr', 'tip=0.25,anchor=0.1', '--canvas', 'none', '--tolerance', '40'],
     dict(score_thr={'tip': .25, 'anchor': .1}, canvas=None, tolerance=40)),
    (['--score-thr', '0.5', '--visible-only', '--match', 'global'],
     dict(score_thr=.5, visible_only=True, protocol='global'))])
def test_same_numbers_as_the_command_line(data_set, tmp_path, options, rules):
    spec = importlib.util.spec_from_file_location('evaluate_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    built = metric(data_set, out_predictions=str(tmp_path / 'pred.json'), **rules)
    # Images 1 to 3 are case1 = test; image 3 has no annotation and does not count.
    run(built, [samples()])
    code = tool.main(['--gt', str(data_set), '--pred', str(tmp_path / 'pred.json'), '--split', 'test',
                      '--out', str(tmp_path / 'metrics.json'), *options])
    there, here = json.loads((tmp_path / 'metrics.json').read_text()), built.last_metrics
    assert code == 0
    for key in ('results', 'active_tool_accuracy', 'false_points_per_idle_minute'):
        assert there[key] == here[key]
    same = set(here['meta']) - {'split', 'threshold_from'}
    assert {k: there['meta'][k] for k in same} == {k: here['meta'][k] for k in same}


def test_slots_that_give_one_point_twice_are_one_answer(data_set):
    built = metric(data_set)
    built.process(None, [sample(1, [[9, 9], [9, 9], [9, 9]], [.2, .7, .3])])
    assert [(p['landmark'], p['score']) for p in built.results[0]['points']] == [
        ('tip', pytest.approx(.7)), ('anchor', pytest.approx(.3))]
