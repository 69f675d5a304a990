"""Counts per video, condition and source, and means over them, by hand."""
import numpy as np
import pytest

from mmpose_surgical.datasets.records import Video
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.breakdowns import NOT_GIVEN, group_frames
from mmpose_surgical.evaluation.evaluator import Rules, evaluate
from mmpose_surgical.evaluation.full import evaluate_in_full

CASES = [Video(1, 'a', 'X'), Video(2, 'b', 'X'), Video(3, 'c')]


@pytest.fixture
def scene(frame, tool, table):
    """a: 2 of 2 found. b: one found, one missed, one false. c: clip, missed."""
    def smoky(built, **attributes):
        built.extra['attributes'] = attributes
        return built
    frames = [smoky(frame(1, tool('grasp', tip1=(0, 0), tip2=(50, 0)), video=CASES[0]), smoke=True, tags=['blur']),
              smoky(frame(2, tool('grasp', tip1=(0, 0), tip2=(50, 0)), video=CASES[1]), smoke=False,
                    tags=['blur', 'blood']),
              frame(3, tool('clip', tip1=(0, 0)), video=CASES[2])]
    return frames, table((1, 'tip', 3, 4, .9), (1, 'tip', 50, 1, .9), (2, 'tip', 0, 0, .9), (2, 'tip', 300, 0, .9))


def counts(cell):
    return cell['tp'], cell['fp'], cell['fn']


def test_per_video_and_macro(scene):
    frames, pred = scene
    found = evaluate_in_full(frames, [pred], [None], Rules())
    videos = found['per_video']
    assert {name: (v['source'], v['frames'], *counts(v['tip'])) for name, v in videos.items()} == {
        'a': ('X', 1, 2, 0, 0), 'b': ('X', 1, 1, 1, 1), 'c': (None, 1, 0, 0, 1)}
    assert videos['a']['tip'] == {'tp': 2, 'fp': 0, 'fn': 0, 'precision': 1, 'recall': 1, 'f1': 1, 'l2': 3}
    assert videos['c']['anchor']['f1'] is None
    # grasp: 3 found, 1 false, 1 missed: 6/8; clip 0. Videos 1, 1/2, 0.
    assert found['macro'] == {'tip': {'action_f1': .375, 'video_f1': .5},
                              'anchor': {'action_f1': None, 'video_f1': None}}
    assert found['results']['overall']['tip']['f1'] == pytest.approx(2 / 3)


def test_by_source_and_attributes(scene):
    metrics = evaluate_in_full(scene[0], [scene[1]], [None], Rules())
    assert metrics['meta']['by_videos']['source'] == {'X': 2, NOT_GIVEN: 1}
    assert metrics['meta']['by_videos']['smoke'] == {'true': 1, 'false': 1, NOT_GIVEN: 1}
    found = metrics['by']
    assert {name: {value: counts(row['tip']) for value, row in rows.items()} for name, rows in found.items()} == {
        'source': {'X': (3, 1, 1), NOT_GIVEN: (0, 0, 1)},
        'smoke': {'true': (2, 0, 0), 'false': (1, 1, 1), NOT_GIVEN: (0, 0, 1)},
        # A frame counts under each of its tags.
        'tags': {'blur': (3, 1, 1), 'blood': (1, 1, 1), NOT_GIVEN: (0, 0, 1)}}


def test_only_what_is_asked_for(scene):
    found = evaluate_in_full(scene[0], [scene[1]], [None], Rules(), by=['smoke'])
    assert list(found['by']) == ['smoke']
    with pytest.raises(UserError, match='attribute fog.*source, smoke, tags'):
        evaluate_in_full(scene[0], [scene[1]], [None], Rules(), by=['fog'])


def test_groups_of_many_values(frame):
    frames = [frame(i) for i in range(12)]
    for i, built in enumerate(frames):
        built.extra = {'conditions': {'smoke': 0.0 if i < 6 else i / 10}, 'file': f'{i}.txt', 'grade': i % 3,
                       'license': 7}
    groups, left_out = group_frames(frames)
    # Seven values are few.
    assert list(groups['conditions.smoke']) == ['0', '0.6', '0.7', '0.8', '0.9', '1', '1.1']
    assert list(groups) == ['source', 'conditions.smoke', 'grade'] and left_out == ['file']
    assert groups['grade']['1'].tolist() == [i % 3 == 1 for i in range(12)]
    assert len(group_frames(frames, ['file'])[0]['file']) == 12
    for i, built in enumerate(frames):
        built.extra = {'severity': float(i)}
    # Zero stands by itself.
    assert {name: int(of.sum()) for name, of in group_frames(frames)[0]['severity'].items()} == {
        '0': 1, '1 to 4': 4, '5 to 7': 3, '8 to 11': 4}
    for i, built in enumerate(frames):
        built.extra = {'severity': max(0, i - 2.5)} if i else {}
    # A third that equal numbers fill is not torn apart; a frame without the number is told.
    assert {name: int(of.sum()) for name, of in group_frames(frames)[0]['severity'].items()} == {
        '0': 2, '0.5 to 2.5': 3, '3.5 to 5.5': 3, '6.5 to 8.5': 3, NOT_GIVEN: 1}


def test_everything_adds_up_over_videos_and_seeds(frame, tool, table):
    rng = np.random.default_rng(0)
    videos = [Video(v, f'v{v}', f's{v % 2}') for v in range(7)]
    frames = [frame(i, tool(rng.choice(['grasp', 'clip']), active=i % 5 > 0, tip1=(100, 100), anchor=(200, 200)),
                    video=videos[i % 7]) for i in range(70)]

    def run():
        return table(*((i, kind, at + rng.normal(0, 9), at, rng.random())
                       for i in range(70) for kind, at in (('tip', 100), ('anchor', 200)) if rng.random() < .8))
    runs = [run() for _ in range(3)]
    found = evaluate_in_full(frames, runs, [.2, .3, None], Rules())
    single = [evaluate(frames, r, score_thr=t)['results'] for r, t in zip(runs, [.2, .3, None])]
    for landmark in ('tip', 'anchor'):
        for key in ('tp', 'fp', 'fn'):
            overall = found['results']['overall'][landmark][key]
            assert overall == sum(one['overall'][landmark][key] for one in single)
            assert overall == sum(v[landmark][key] for v in found['per_video'].values())
            assert overall == sum(v[landmark][key] for v in found['by']['source'].values())
            for action, row in found['results'].items():
                assert row[landmark][key] == sum(one[action][landmark][key] for one in single if action in one)
        for number, one in enumerate(single):
            seed = found['per_seed'][number][landmark]
            assert seed == {key: pytest.approx(one['overall'][landmark][key]) for key in seed}
        cell = found['results']['overall'][landmark]
        assert all(cell['ci95'][name][0] < cell[name] < cell['ci95'][name][1] for name in ('f1', 'recall', 'l2'))
        # The same draws, so the same interval: where the curve is at the tolerance, and of one action alone.
        assert found['tolerance_curve']['ci95'][landmark][4] == pytest.approx(cell['ci95']['f1'])
        for name, value in found['macro'][landmark].items():
            if name != 'ci95':
                low, high = found['macro'][landmark]['ci95'][name]
                assert low < value < high
    meta = found['meta']
    assert (meta['frames'], meta['videos'], meta['seeds'], meta['threshold']) == (70, 7, 3, [.2, .3, None])
    assert found['meta']['bootstrap'] == {'resamples': 10_000, 'videos': 7, 'seeds': 3,
                                          'method': "BCa over videos, Student's t over seeds",
                                          'caution': '7 videos are few: the intervals may be too narrow'}
    # One source has four videos, the other three: too few for intervals of their own.
    assert not any('ci95' in row['tip'] for row in found['by']['source'].values())


def test_few_videos_and_no_bootstrap_are_told(scene):
    found = evaluate_in_full(scene[0], [scene[1]], [None], Rules())
    assert '3 video(s), and from fewer than 5 none is reliable' in found['meta']['bootstrap']['note']
    assert 'ci95' not in found['results']['overall']['tip']
    asked_not = evaluate_in_full(scene[0], [scene[1]], [None], Rules(), resamples=0)
    assert asked_not['meta']['bootstrap']['note'] == 'no intervals were asked for'
    assert asked_not['results'] == found['results'] == evaluate(*scene)['results']


def test_score_curves_see_the_points_below_the_threshold(scene):
    frames, pred = scene
    found = [evaluate_in_full(frames, [pred], [t], Rules()) for t in (None, .95)]
    assert found[1]['results']['overall']['tip']['tp'] == 0
    for key in ('average_precision', 'calibration'):
        assert found[0][key] == found[1][key]
    assert found[1]['tolerance_curve']['tip'] == [0] * 11
