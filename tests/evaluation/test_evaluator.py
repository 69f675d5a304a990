"""Counts, attribution and the two further measures, by hand."""
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.datasets.records import Clip, Frame, Point, Tool, Video
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.evaluator import evaluate
from mmpose_surgical.evaluation.predictions import Predictions


def counts(metrics, action='overall', landmark='tip'):
    cell = metrics['results'][action][landmark]
    return cell['tp'], cell['fp'], cell['fn']


def test_counts_rates_and_distances(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(100, 100), tip2=(140, 100), anchor=(200, 200)))]
    found = evaluate(frames, table((1, 'tip', 103, 104, .9), (1, 'tip', 140, 109, .8),
                                   (1, 'tip', 400, 400, .7), (1, 'anchor', 240, 200, .5)))
    assert found['results']['overall'] == found['results']['grasp'] == {
        'tip': {'tp': 2, 'fp': 1, 'fn': 0, 'precision': 2 / 3, 'recall': 1.0, 'f1': 0.8, 'l2': 7.0,
                'l2_median': 7.0, 'l2_assigned': 7.0},
        'anchor': {'tp': 0, 'fp': 1, 'fn': 1, 'precision': 0.0, 'recall': 0.0, 'f1': 0.0, 'l2': None,
                   'l2_median': None, 'l2_assigned': 40.0}}
    assert found['meta']['frames'] == 1 and found['meta']['idle_frames'] == 0
    assert found['meta']['threshold'] is None and found['meta']['canvas'] == [640, 480]


def test_landmark_types_do_not_match_each_other(frame, tool, table):
    found = evaluate([frame(1, tool('grasp', tip1=(100, 100)))], table((1, 'anchor', 100, 100, 1)))
    assert counts(found) == (0, 0, 1) and counts(found, landmark='anchor') == (0, 1, 0)


def test_undefined_is_none(frame, table):
    cell = evaluate([frame(1)], table())['results']['overall']['tip']
    assert cell == {'tp': 0, 'fp': 0, 'fn': 0, 'precision': None, 'recall': None, 'f1': None, 'l2': None,
                    'l2_median': None, 'l2_assigned': None}


def test_nothing_predicted_is_a_defined_f1_of_zero(frame, tool, table):
    cell = evaluate([frame(1, tool('grasp', tip1=(1, 1)))], table())['results']['overall']['tip']
    assert (cell['precision'], cell['recall'], cell['f1']) == (None, 0.0, 0.0)


def test_points_on_resting_tools_are_wrong(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(100, 100)), tool('clip', active=False, tip1=(300, 300)))]
    found = evaluate(frames, table((1, 'tip', 300, 300, 1)))
    assert counts(found) == counts(found, 'grasp') == (0, 1, 1)
    assert 'clip' not in found['results']


def test_attribution_to_actions(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(100, 100))),
              frame(2, tool('grasp', tip1=(100, 100)), tool('clip', tip1=(300, 300))),
              frame(3, tool(None, active=False, tip1=(50, 50))),
              frame(4, tool('clip', tip1=(10, 10)), tool('clip'))]
    found = evaluate(frames, table(
        (1, 'tip', 400, 400, 1),                             # unmatched, one action acts: grasp
        (2, 'tip', 300, 301, 1), (2, 'tip', 500, 500, 1),    # matched: clip; unmatched: ambiguous
        (3, 'tip', 50, 50, 1),                               # nothing acts
        (4, 'tip', 200, 200, 1)))                            # two tools of one action: clip
    assert counts(found, 'grasp') == (0, 1, 2)
    assert counts(found, 'clip') == (1, 1, 1)
    assert counts(found, 'ambiguous') == counts(found, 'none') == (0, 1, 0)
    assert counts(found) == (1, 4, 3)
    assert list(found['results']) == ['overall', 'clip', 'grasp', 'ambiguous', 'none']


def test_a_tool_without_an_action_takes_that_of_its_clip(frame, tool, table):
    frames = [frame(1, tool(tip1=(1, 1)), clip=Clip(1, 1, 0, 9, 'dissect')), frame(2, tool(tip1=(1, 1)))]
    assert list(evaluate(frames, table())['results']) == ['overall', 'dissect', 'unnamed']


def test_an_action_may_not_be_named_like_a_row(frame, tool, table):
    with pytest.raises(UserError, match="'overall'.*rename"):
        evaluate([frame(1, tool('overall', tip1=(1, 1)))], table())


def test_only_annotated_frames_count(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(1, 1))), frame(2, tool('grasp', tip1=(1, 1)), annotated=False)]
    found = evaluate(frames, table((1, 'tip', 1, 1, 1), (2, 'tip', 9, 9, 1), (7, 'tip', 1, 1, 1),
                                   (7, 'tip', 2, 1, 1)), known_images=[7])
    assert counts(found) == (1, 0, 0)
    assert found['meta']['ignored_predictions'] == {'outside_split': 2, 'frame_does_not_count': 1,
                                                    'landmark_not_annotated': 0}


def test_unknown_images_are_named(frame, table):
    with pytest.raises(UserError, match='2 predicted image.*image 7; image 8'):
        evaluate([frame(1)], table((8, 'tip', 1, 1, 1), (7, 'tip', 1, 1, 1), (7, 'tip', 2, 2, 1)))


def test_a_landmark_that_the_data_never_annotates_is_ignored(frame, tool, table):
    found = evaluate([frame(1, tool('grasp', tip1=(1, 1)))],
                     table((1, 'anchor', 1, 1, 1), (1, 'tip', 1, 1, 1)), landmarks=['tip'])
    assert list(found['results']['overall']) == ['tip'] and counts(found) == (1, 0, 0)
    assert found['meta']['ignored_predictions']['landmark_not_annotated'] == 1


def test_visible_only(frame, tool, table):
    frames = [frame(1, tool('grasp', v=1, tip1=(1, 1)), tool('grasp', tip1=(99, 99)))]
    pred = table((1, 'tip', 1, 1, 1), (1, 'tip', 99, 99, 1))
    assert counts(evaluate(frames, pred)) == (2, 0, 0)
    assert counts(evaluate(frames, pred, visible_only=True)) == (1, 1, 0)


def test_complete_frames_only(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(1, 1), anchor=(9, 9)), tool(active=False, v=1, tip1=(70, 70))),
              frame(2, tool('grasp', tip1=(1, 1))),
              frame(3, tool('grasp', v=1, tip1=(1, 1), anchor=(9, 9))), frame(4)]
    found = evaluate(frames, table((2, 'tip', 1, 1, 1)), complete_only=True)
    assert found['meta']['frames'] == 1 and found['meta']['ignored_predictions']['frame_does_not_count'] == 1


def test_canvas_of_a_picture_that_is_not_4_to_3(frame, tool, table):
    # 1280x480: 24 px in x are 12 canvas px, 9 px in y stay 9: distance 15, a match at the tolerance.
    frames = [frame(1, tool('grasp', tip1=(100, 100)), width=1280)]
    pred = table((1, 'tip', 124, 109, 1))
    cell = evaluate(frames, pred)['results']['overall']['tip']
    assert (cell['tp'], cell['l2']) == (1, 15.0)
    original = evaluate(frames, pred, canvas=None)
    assert counts(original) == (0, 1, 1)
    assert original['results']['overall']['tip']['l2_assigned'] == pytest.approx(np.hypot(24, 9))
    # 640x960: y is halved instead.
    assert evaluate([frame(1, tool('grasp', tip1=(100, 100)), height=960)], table((1, 'tip', 109, 124, 1))
                    )['results']['overall']['tip']['l2'] == 15.0


def test_thresholds_drop_points_below(frame, tool, table):
    frames = [frame(1, tool('grasp', tip1=(1, 1), anchor=(50, 50)))]
    pred = table((1, 'tip', 1, 1, .5), (1, 'tip', 200, 200, .4), (1, 'anchor', 50, 50, .1))
    assert counts(evaluate(frames, pred, score_thr=.5)) == (1, 0, 0)
    assert counts(evaluate(frames, pred, score_thr=.5), landmark='anchor') == (0, 0, 1)
    per_landmark = evaluate(frames, pred, score_thr={'tip': .6, 'anchor': None})
    assert counts(per_landmark) == (0, 0, 1) and counts(per_landmark, landmark='anchor') == (1, 0, 0)
    assert per_landmark['meta']['threshold'] == {'tip': .6, 'anchor': None}


def test_protocols_are_told_apart(frame, tool, table):
    # The most-pairs example of test_matching.py: two pairs against one.
    frames = [frame(1, tool('grasp', tip1=(0, 0), tip2=(0, 14))), frame(2, tool('grasp', tip1=(0, 0)))]
    pred = table((1, 'tip', 0, 0, 1), (1, 'tip', 14.5, 0, 1), (2, 'tip', 0, 0, 1))
    most, least = evaluate(frames, pred), evaluate(frames, pred, protocol='global')
    assert counts(most) == (3, 0, 0) and counts(least) == (2, 1, 1)
    for found in (most, least):
        assert found['meta']['groups_where_protocols_differ'] == 1


def test_active_tool_accuracy(frame, tool, table):
    acting = dict(tip1=(100, 100), anchor=(200, 100))
    frames = [frame(i, tool('grasp', **acting), tool(active=False, tip1=(400, 100), anchor=(300, 100)))
              for i in (1, 2, 3, 4, 8)]
    frames += [frame(5, tool('grasp', **acting)),  # no other tool
               frame(6, tool('grasp', **acting), tool('clip', tip1=(400, 100))),  # two act
               frame(7, tool(active=False, tip1=(1, 1)), tool(active=False, tip1=(9, 9)))]  # none acts
    found = evaluate(frames, table(
        (1, 'tip', 240, 100, .9), (1, 'tip', 400, 100, .8),  # best: 40 to the acting anchor, 60 to the other
        (2, 'tip', 100, 100, .8), (2, 'tip', 290, 100, .9),  # best is on the other tool
        (3, 'tip', 250, 100, .9),  # equally near: not nearer
        (4, 'anchor', 100, 100, 1),  # no tip
        (8, 'tip', 290, 100, .1), (8, 'tip', 100, 100, .2),  # best is on the acting tool
        (5, 'tip', 100, 100, 1), (6, 'tip', 100, 100, 1), (7, 'tip', 1, 1, 1)))
    assert found['active_tool_accuracy'] == {'accuracy': 2 / 5, 'answered': 4 / 5, 'frames': 5}
    nothing_to_ask = evaluate(frames[5:], table())['active_tool_accuracy']
    assert nothing_to_ask == {'accuracy': None, 'answered': None, 'frames': 0}


def test_active_tool_accuracy_measures_on_the_canvas(frame, tool, table):
    # 60 px in x to the acting tool, 40 px in y to the other; on the canvas 30 against 40.
    frames = [frame(1, tool('grasp', tip1=(160, 100)), tool(active=False, tip1=(100, 140)), width=1280)]
    pred = table((1, 'tip', 100, 100, 1))
    assert evaluate(frames, pred)['active_tool_accuracy']['accuracy'] == 1
    assert evaluate(frames, pred, canvas=None)['active_tool_accuracy']['accuracy'] == 0


def test_false_points_per_idle_minute(frame, tool, table):
    slow, sparse = Video(2, 'slow', fps=10.0, dense=True), Video(3, 'sparse', fps=25.0)
    unknown = Video(4, 'unknown', dense=True)
    resting = tool(active=False, tip1=(1, 1))
    frames = [frame(1, resting), frame(2), frame(3, resting, video=slow), frame(4, video=sparse),
              frame(5, video=unknown), frame(6, tool('grasp', tip1=(1, 1)))]
    pred = table((1, 'tip', 1, 1, 1), (1, 'tip', 9, 1, 1), (3, 'anchor', 1, 1, 1),
                 *((i, 'tip', 1, 1, 1) for i in (4, 5)), (6, 'tip', 99, 99, 1))
    found = evaluate(frames, pred)
    # Three frames count: (2 x 25 + 0 x 25 + 1 x 10) x 60 / 3.
    assert found['false_points_per_idle_minute'] == {'all': 1200.0, 'tip': 1000.0, 'anchor': 200.0,
                                                     'frames': 3}
    assert found['meta']['idle_frames'] == 5
    assert evaluate(frames[3:], pred.select(pred.image_id > 3))['false_points_per_idle_minute'] == {
        'all': None, 'tip': None, 'anchor': None, 'frames': 0}


coordinate = st.integers(0, 40)
spots = st.lists(st.tuples(coordinate, coordinate), max_size=3, unique=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(spots, st.sampled_from(['grasp', 'clip']), st.booleans(), spots), max_size=6))
def test_sums_add_up(scenes):
    """Actions sum to overall, tp + fn is the ground truth, tp + fp the predictions, F1 the harmonic mean."""
    video = Video(1, 'case1')
    frames = [Frame(i, None, 640, 480, video, i, True, None,
                    [Tool(0, 'hook', action, active, [Point('tip', 'tip1', x, y, 2) for x, y in gt])])
              for i, (gt, action, active, _) in enumerate(scenes)]
    pred = Predictions.from_records({'image_id': i, 'landmark': 'tip', 'x': x, 'y': y, 'score': 1}
                                    for i, (*_, spots) in enumerate(scenes) for x, y in spots)
    results = evaluate(frames, pred)['results']
    overall = results['overall']['tip']
    for key in ('tp', 'fp', 'fn'):
        assert overall[key] == sum(row['tip'][key] for name, row in results.items() if name != 'overall')
    assert overall['tp'] + overall['fn'] == sum(len(gt) for gt, _, active, _ in scenes if active)
    assert overall['tp'] + overall['fp'] == len(pred)
    p, r = overall['precision'], overall['recall']
    if p and r:
        assert overall['f1'] == pytest.approx(2 * p * r / (p + r))


def independent(scenes, tolerance, protocol):
    """tp, fp, fn per action, frame by frame, by trying every pairing: shares no code with the evaluator."""
    counts = {}

    def add(action, which):
        for name in ('overall', action):
            counts.setdefault(name, [0, 0, 0])[which] += 1
    for tools, pred in scenes:
        gt = [(*xy, action) for action, active, points in tools if active for xy in points]
        acting = {action for action, active, _ in tools if active}
        best, chosen = None, []
        slots = [*range(len(pred)), *[None] * len(gt)]
        for partners in set(itertools.permutations(slots, len(gt))):
            pairs = [(g, p) for g, p in enumerate(partners) if p is not None]
            away = [math.dist(gt[g][:2], pred[p]) for g, p in pairs]
            if protocol == 'max_pairs':
                rank = (-len(pairs), sum(away)) if all(d <= tolerance for d in away) else (1, 0)
            else:
                rank = (-len(pairs), sum(away))
            if best is None or rank < best:
                best, chosen = rank, [pair for pair, d in zip(pairs, away) if d <= tolerance]
        for g, (_, _, action) in enumerate(gt):
            add(action, 0 if g in [pair[0] for pair in chosen] else 2)
        false = 'none' if not acting else 'ambiguous' if len(acting) > 1 else next(iter(acting))
        for _ in range(len(pred) - len(chosen)):
            add(false, 1)
    return {action: tuple(values) for action, values in counts.items()}


# Fractions that differ from point to point: two pairings of equal length have no right answer to compare with.
few = st.lists(st.tuples(st.floats(0, 40, width=32), st.floats(0, 40, width=32)), max_size=3, unique=True)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.lists(st.tuples(st.sampled_from(['grasp', 'clip']), st.booleans(), few), max_size=1),
                          few), max_size=3),
       st.sampled_from(['grasp', 'clip']), few, st.sampled_from([4, 15]), st.sampled_from(['max_pairs', 'global']),
       st.randoms(use_true_random=False))
def test_equals_an_independent_evaluator(scenes, action, extra, tolerance, protocol, random):
    def jitter(points):
        return [(x + random.random(), y + random.random()) for x, y in points]
    scenes = [([(a, active, jitter(points)) for a, active, points in tools], jitter(pred)) for tools, pred in scenes]
    # A second acting tool in the first frame.
    if scenes:
        scenes[0][0].append((action, True, jitter(extra[:1])))
    video = Video(1, 'case1')
    frames = [Frame(i, None, 640, 480, video, i, True, None,
                    [Tool(0, 'hook', action, active, [Point('tip', f'tip{n}', x, y, 2) for n, (x, y) in enumerate(gt)])
                     for action, active, gt in tools]) for i, (tools, _) in enumerate(scenes)]
    pred = Predictions.from_records({'image_id': i, 'landmark': 'tip', 'x': x, 'y': y, 'score': 1}
                                    for i, (_, points) in enumerate(scenes) for x, y in points)
    found = evaluate(frames, pred, tolerance=tolerance, protocol=protocol)
    ours = {name: counts(found, name) for name in found['results'] if sum(counts(found, name))}
    assert ours == independent(scenes, tolerance, protocol)
