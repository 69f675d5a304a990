"""What the scenes promise, without drawing them."""
import numpy as np
import pytest
from scipy.stats import ks_2samp

from mmpose_surgical.datasets.synthetic.render import render_frame
from mmpose_surgical.datasets.synthetic.scene import (
    ACTIONS,
    RESTING,
    SIZE,
    TISSUE_DEPTH,
    ClipScene,
    project,
    sample_clip,
    sample_look,
)
from mmpose_surgical.datasets.synthetic.tissue import MARGIN


@pytest.fixture(scope='module')
def clips():
    rng = np.random.default_rng(0)
    return [sample_clip(rng, sample_look(rng), ACTIONS[i % 3], 25 / 3, 1.0) for i in range(900)]


def statistics(scene: ClipScene, tool, frame: int) -> dict[str, float]:
    """Single-frame geometry of one tool: place, jaw opening, direction of the shaft, depth."""
    pose = tool.pose(frame / scene.fps)
    points = {name: project(point, np.zeros(2))[0] for name, point in pose.landmarks.items()}
    centre = np.linalg.norm(points['anchor'] - np.array(SIZE) / 2)
    opening = np.linalg.norm(points['tip1'] - points.get('tip2', points['anchor']))
    shaft = points['anchor'] - project(tool.trocar, np.zeros(2))[0] if tool.trocar[2] > 0 else np.ones(2)
    return dict(centre=centre, opening=opening, direction=np.arctan2(*shaft), depth=pose.landmarks['tip1'][2])


@pytest.mark.parametrize('action', ACTIONS)
@pytest.mark.parametrize('name', ['centre', 'opening', 'direction', 'depth'])
def test_one_frame_does_not_tell_which_tool_acts(clips, action, name):
    rng = np.random.default_rng(1)
    values = {True: [], False: []}
    for scene in (c for c in clips if c.action == action):
        frame = int(rng.integers(scene.frames))
        for tool in scene.tools:
            values[tool.acting].append(statistics(scene, tool, frame)[name])
    assert min(map(len, values.values())) > 100
    assert ks_2samp(values[True], values[False]).pvalue > 0.001


def test_motion_tells_which_tool_acts(clips):
    """Relative to the camera the acting working end moves more than every resting one in most clips."""
    right = total = 0
    for scene in clips:
        if len(scene.tools) < 2:
            continue
        paths = [np.stack([np.stack(list(tool.pose(n / scene.fps).landmarks.values())) for n in range(scene.frames)])
                 for tool in scene.tools]
        motion = [np.diff(path, axis=0).std(axis=(0, 1)).sum() for path in paths]
        right += bool(scene.tools[int(np.argmax(motion))].acting)
        total += 1
    assert total > 200 and right / total > 0.95


def test_without_ambiguity_looks_alone_tell_who_acts():
    rng = np.random.default_rng(2)
    for action in ('grasp', None) * 25:
        scene = sample_clip(rng, sample_look(rng), action, 10.0, 0.0)
        assert [tool.kind == 'grasper' for tool in scene.tools] == [tool.acting for tool in scene.tools]
        assert all(tool.kind == RESTING for tool in scene.tools if not tool.acting)


def test_a_resting_tube_is_drawn_where_its_points_are():
    rng = np.random.default_rng(4)
    look = sample_look(rng)
    tool = next(t for t in sample_clip(rng, look, None, 10.0, 0.0).tools)
    scene, tissue = flat_scene([tool])
    drawn = render_frame(scene, look, tissue, 0)
    for name, (x, y, v) in drawn.landmarks[0].items():
        assert v == 2, name
        assert (drawn.owner[int(y) - 4:int(y) + 5, int(x) - 4:int(x) + 5] == 0).any()


def test_projection_by_hand():
    assert project(np.array([0.5, -0.25, 10.0]), np.array([2.0, 0.0]))[0].tolist() == [350.0, 226.0]


def test_degradation_scales_what_is_laid_over_a_clip_and_nothing_else():
    def clips(scale):
        rng = np.random.default_rng(3)
        return [sample_clip(rng, sample_look(rng), 'clip', 10.0, 0.5, degradation=scale) for _ in range(40)]
    clean, usual, heavy = (clips(scale) for scale in (0.0, 1.0, 4.0))
    assert not any(v for clip in clean for v in clip.conditions.values())
    assert any(v for clip in usual for v in clip.conditions.values())
    for one, other in zip(usual, heavy):
        assert one.texture_seed == other.texture_seed and one.annotated == other.annotated
        for name, value in one.conditions.items():
            assert other.conditions[name] == pytest.approx(min(4 * value, 1), abs=0.003)


def test_only_several_tools_can_look_alike():
    rng = np.random.default_rng(4)
    clips = [sample_clip(rng, sample_look(rng), 'grasp', 10.0, 0.5) for _ in range(60)]
    assert {clip.alike for clip in clips} == {True, False}
    for clip in clips:
        kinds = {tool.kind for tool in clip.tools}
        assert clip.alike == (len(clip.tools) > 1 and len(kinds) == 1)


def flat_scene(tools):
    tissue = (np.full((SIZE[1] + 2 * MARGIN, SIZE[0] + 2 * MARGIN, 3), 0.3, np.float32),
              np.full((SIZE[1] + 2 * MARGIN, SIZE[0] + 2 * MARGIN), TISSUE_DEPTH, np.float32))
    return ClipScene('grasp', 8, 10.0, tools, np.zeros((4, 2)), 0, {}, False, None, [0]), tissue


def test_tool_behind_the_tissue_is_hidden(clips):
    rng = np.random.default_rng(3)
    look = sample_look(rng)
    tool = next(c for c in clips if c.action == 'grasp').tools[0]
    scene, tissue = flat_scene([tool])
    shown = render_frame(scene, look, tissue, 0)
    assert (shown.owner == 0).sum() > 500
    hidden = render_frame(scene, look, (tissue[0], np.full_like(tissue[1], 1.5)), 0)
    assert (hidden.owner == 0).sum() < 0.2 * (shown.owner == 0).sum()
    assert all(v < 2 for _, _, v in hidden.landmarks[0].values())


def test_nearer_tool_covers_the_farther_one(clips):
    import copy
    look = sample_look(np.random.default_rng(4))
    far = next(c for c in clips if c.action == 'grasp').tools[0]
    near = copy.deepcopy(far)
    near.target, near.trocar = far.target * 0.8, far.trocar * 0.8
    for tools, front in (([far, near], 1), ([near, far], 0)):
        scene, tissue = flat_scene(tools)
        owner = render_frame(scene, look, tissue, 0).owner
        assert (owner == front).sum() > 5 * (owner == 1 - front).sum()


@pytest.mark.parametrize('rule', ['nearest to the centre', 'farthest from the centre', 'lowest', 'deepest'])
def test_no_rule_on_one_frame_finds_the_acting_tool(clips, rule):
    """Within a clip, which a test on pooled values cannot see: each rule is right as often as chance."""
    rng = np.random.default_rng(3)
    right, chance = 0, []
    for scene in clips:
        if len(scene.tools) < 2 or not any(tool.acting for tool in scene.tools):
            continue
        frame = int(rng.integers(scene.frames))
        poses = [tool.pose(frame / scene.fps).landmarks['tip1'] for tool in scene.tools]
        places = [project(pose, np.zeros(2))[0] for pose in poses]
        away = [np.linalg.norm(place - np.array(SIZE) / 2) for place in places]
        score = {'nearest to the centre': -np.array(away), 'farthest from the centre': away,
                 'lowest': [place[1] for place in places], 'deepest': [pose[2] for pose in poses]}[rule]
        right += bool(scene.tools[int(np.argmax(score))].acting)
        chance.append(1 / len(scene.tools))
    chance = np.array(chance)
    spread = np.sqrt((chance * (1 - chance)).sum())
    assert len(chance) > 200 and abs(right - chance.sum()) < 3.5 * spread
