"""Two methods on the same frames."""
import numpy as np
import pytest

from mmpose_surgical.datasets.records import Video
from mmpose_surgical.evaluation.comparison import compare
from mmpose_surgical.evaluation.evaluator import Rules, match_runs

VIDEOS = [Video(v, f'v{v}') for v in range(10)]


@pytest.fixture
def scene(frame, tool):
    return [frame(i, tool(('grasp', 'clip')[i // 10 % 2], tip1=(100, 100)), tool(active=False, tip1=(400, 100)),
                  video=VIDEOS[i % 10]) for i in range(60)]


@pytest.fixture
def method(table, scene):
    """``method(share found, seed, ...)``: the rest of the tips is placed on the resting tool."""
    def build(share, *seeds, frames=scene):
        runs = []
        for seed in seeds:
            found = np.random.default_rng(seed).random(60) < share
            runs.append(table(*((i, 'tip', 100 if found[i] else 400, 100, 1) for i in range(60))))
        return match_runs(frames, runs, [None] * len(runs), Rules(known_images=range(60)))
    return build


def test_a_method_equals_itself(method):
    found = compare(method(.7, 0), method(.7, 0), margin=.03)
    cell = found['f1']['overall']['tip']
    assert cell['a'] == cell['b'] and cell['difference'] == 0 and cell['p_permutation'] == 1
    # No resample differs, so the bootstrap can tell nothing.
    assert cell['ci95'] is None and cell['p'] is None and cell['equivalence']['equivalent'] is None


def test_a_difference_has_a_sign_an_interval_and_a_p(method):
    good, poor = method(.9, 0), method(.4, 1)
    there, back = compare(good, poor), compare(poor, good)
    for action in ('overall', 'grasp', 'clip'):
        cell, mirrored = (found['f1'][action]['tip'] for found in (there, back))
        assert cell['difference'] == cell['a'] - cell['b'] == -mirrored['difference'] > .2
        low, high = cell['ci95']
        assert 0 < low < cell['difference'] < high
        assert cell['p'] == max(cell['p_permutation'], cell['p_bootstrap']) < .05
        assert mirrored['ci95'] == pytest.approx([-high, -low], abs=.01)
    # Every tip answers, on the acting tool or on the resting one: the accuracy is the F1 here.
    assert there['active_tool_accuracy']['difference'] == pytest.approx(there['f1']['overall']['tip']['difference'])
    assert there['f1']['overall']['anchor']['difference'] is None
    # Ten videos: 1,024 swaps, all of them tried; of these two at least are as extreme.
    assert there['f1']['overall']['tip']['p_permutation'] >= 2 / 1024
    assert (there['f1']['overall']['tip']['p_permutation'] * 1024).is_integer()


def test_five_videos_are_not_enough_however_sure_the_bootstrap_is(method, scene):
    few = [f for f in scene if f.video in VIDEOS[:5]]
    cell = compare(method(1, 0, frames=few), method(0, 0, frames=few))['f1']['overall']['tip']
    assert cell['difference'] == 1 and cell['p'] is None  # all resamples alike
    cell = compare(method(.95, 0, frames=few), method(.2, 1, frames=few))['f1']['overall']['tip']
    assert cell['p_bootstrap'] < .001 and cell['p'] == cell['p_permutation'] == 2 / 32


def test_seeds_of_both_are_taken_together(method):
    cell = compare(method(.7, 0, 1, 2), method(.7, 3, 4))['f1']['overall']['tip']
    assert cell['a'] == pytest.approx(np.mean([np.mean(np.random.default_rng(s).random(60) < .7) for s in (0, 1, 2)]))
    assert cell['p'] > .05 and cell['ci95'][0] < 0 < cell['ci95'][1]


def test_equivalence_needs_a_margin_that_the_interval_keeps(method):
    a, b = method(.7, 0, 1, 2, 3), method(.7, 4, 5, 6, 7)
    wide, narrow = (compare(a, b, margin=m)['f1']['overall']['tip']['equivalence'] for m in (.5, .001))
    assert wide['equivalent'] and wide['p'] < .05 and -.5 < wide['ci90'][0] < wide['ci90'][1] < .5
    assert not narrow['equivalent'] and narrow['p'] > .3


def test_other_frames_are_refused(method, scene):
    with pytest.raises(ValueError, match='different frames'):
        compare(method(.7, 0), method(.7, 0, frames=scene[:30]))
