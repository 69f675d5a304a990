import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from data_tools import imported
from video_files import number_of, picture

from mmpose_surgical.datasets.importers.draft import ImportOptions
from mmpose_surgical.datasets.importers.robust_mips import match, read_robust_mips
from mmpose_surgical.errors import UserError

VISIBLE = ('visible',) * 4


def pose(*nodes, tags=VISIBLE):
    return dict(nodes=list(nodes), tags=list(tags), edges=[[0, 1], [1, 2], [1, 3]], transitions=[])


def block(left, top, right, bottom):
    mask = np.zeros((64, 96), bool)
    mask[top:bottom, left:right] = True
    return mask


def write(folder, poses, masks=(), file='toolposes.json'):
    """A picture that shows its number, with the masks given as {grey level: bool}."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / 'raw.png'), picture(int(folder.name)))
    instances = np.zeros((64, 96), np.uint8)
    for level, mask in dict(masks).items():
        instances[mask] = level
    cv2.imwrite(str(folder / 'instrument_instances.png'), instances)
    (folder / file).write_text(poses if isinstance(poses, str) else json.dumps(poses))
    return folder


LEFT, RIGHT = block(0, 10, 30, 20), block(60, 30, 96, 40)


@pytest.fixture
def src(tmp_path):
    """Two tools whose masks are in the other order, one without a mask, and the traps of the real folders."""
    root = tmp_path / 'src/RobustMIPS'
    one = pose([95, 35], [80, 35], [62.5, 34], None, tags=('visible', 'visible', 'occluded', 'missing'))
    two = pose([-20, 15], [10, 15], [29, 13], [28.25, 18])
    write(root / 'Training/Proctocolectomy/10/00100', [one, two], {50: LEFT, 100: RIGHT, 150: block(40, 0, 44, 4)})
    write(root / 'Training/Proctocolectomy/10/00200', [])
    # A tip out of view; a tool that is hidden, but for its entry.
    write(root / 'Testing/Stage_1/Proctocolectomy/10/00150', [
        pose([5, 12], [20, 15], [40, 70], [40, -1]),
        pose([80, 63], None, None, None, tags=('visible', 'missing', 'missing', 'missing'))])
    write(root / 'Testing/Stage_2/Rectal resection/4/7', [two], {50: LEFT}, file='raw.json')
    write(root / 'Testing/Stage_3/Sigmoid/1/42', [])
    write(root / 'Testing/Stage_1/Proctocolectomy/10/00100', [one])
    shadow = tmp_path / 'src/__MACOSX/RobustMIPS/Training/Proctocolectomy/10/00300'
    write(shadow, [two])
    (root / 'Training/Proctocolectomy/10/00200/._toolposes.json').write_bytes(b'\0\5\26\7')
    (root / 'Training/.DS_Store').write_bytes(b'\0')
    return tmp_path / 'src'


def points(tool):
    return [(p.name, p.landmark, p.x, p.y, p.v) for p in tool.points]


def test_values(src, tmp_path, capsys):
    data = imported('robust_mips', src, tmp_path / 'out')
    # The procedure of two splits is one video, and no split of ours can tear it apart.
    assert [(v.name, v.source, v.dense, v.frame_pattern) for v in data.videos.values()] == [
        (name, 'ROBUST-MIPS', False, None) for name in ('Proctocolectomy_10', 'Rectal_resection_4', 'Sigmoid_1')]
    frames = {(f.video.name, f.frame_id): f for f in data.frames}
    assert {key: (f.annotated, f.attributes['official_split'], len(f.tools)) for key, f in frames.items()} == {
        ('Proctocolectomy_10', 100): (True, 'Stage_1', 1), ('Proctocolectomy_10', 150): (True, 'Stage_1', 2),
        ('Proctocolectomy_10', 200): (True, 'Training', 0), ('Rectal_resection_4', 7): (True, 'Stage_2', 1),
        ('Sigmoid_1', 42): (True, 'Stage_3', 0)}
    for (_, number), frame in frames.items():
        assert number_of(frame.file(data.root).read((96, 64))) == number
    assert {(t.tool, t.action, t.active) for f in data.frames for t in f.tools} == {('instrument', None, True)}
    partly, hidden = frames['Proctocolectomy_10', 150].tools
    assert points(partly) == [('anchor', 'anchor', 20, 15, 2)] and points(hidden) == []
    said = capsys.readouterr().out
    # 1: hinge and tip; 2: hinge; 3: hinge and two tips.
    assert 'taken: videos 3, pictures 5, tools 4, points 6' in said
    assert 'skipped: picture 1: its procedure has this picture already, in another split' in said
    assert 'skipped: point 2: it lies outside the picture' in said
    assert 'look: 3 tools have no mask' in said and 'look: actions are not told' in said
    assert 'MACOSX' not in said


def test_masks_go_to_the_tools_at_them(src, tmp_path):
    """Also where SRC is but one split."""
    data = imported('robust_mips', src / 'RobustMIPS/Training', tmp_path / 'out', '--tool', 'instrument=grasper')
    (frame, idle) = data.frames
    assert [f.attributes['official_split'] for f in data.frames] == ['Training'] * 2 and not idle.tools
    first, second = frame.tools
    assert first.tool == second.tool == 'grasper'
    assert points(first) == [('tip1', 'tip', 62.5, 34, 1), ('anchor', 'anchor', 80, 35, 2)]
    assert points(second) == [('tip1', 'tip', 29, 13, 2), ('tip2', 'tip', 28.25, 18, 2),
                              ('anchor', 'anchor', 10, 15, 2)]
    assert (first.mask(64, 96) == RIGHT).all() and (second.mask(64, 96) == LEFT).all()
    draft = read_robust_mips(src / 'RobustMIPS/Training', ImportOptions())
    assert [(what, len(places)) for (what, _), places in draft.skipped.items()] == [('mask', 1)]  # that of nobody


def test_match():
    # Mean distances by hand: 0 and 4 px at the left one; a point outside the picture does not count.
    at_left = [(10.0, 15.0), (10.0, 23.0), (-50.0, 15.0)]
    far = [(45.0, 15.0)]  # 16 px from the left one, and from the other 15 in both directions
    assert match([far, at_left], [RIGHT, LEFT]) == {1: 1}
    between = [(29.0, 19.0), (60.0, 30.0)]
    assert match([[(5.0, 15.0)], [(5.0, 9.0)]], [LEFT]) == {0: 0}
    assert match([between, [(5.0, 15.0)]], [LEFT, RIGHT]) == {1: 0}  # 0 and more than 31 px from each
    # Both lie at the left one, and one of them at the other too: both get one.
    assert match([[(29.0, 19.0)], [(28.0, 25.0)]], [LEFT, block(28, 29, 60, 31)]) == {0: 0, 1: 1}
    assert match([[], [(-3.0, 2.0)]], [LEFT]) == {} and match([], [LEFT]) == {} and match([far], []) == {}


def test_landmarks_are_what_the_user_says(src, tmp_path):
    data = imported('robust_mips', src / 'RobustMIPS/Testing/Stage_2', tmp_path / 'out', '--landmark', 'entry=anchor',
                    'hinge=skip')
    assert points(data.frames[0].tools[0])[0] == ('tip1', 'tip', 29, 13, 2)
    assert data.categories == {'instrument': ('tip1', 'tip2', 'anchor')}
    with pytest.raises(UserError, match='landmarks are mapped to'):
        read_robust_mips(src, ImportOptions(landmarks={'entry': 'end'}))


DAMAGE = dict(
    null='null', number='7', nothing='', cut='[{"nodes": [[1, 2], [3', nested='[' * 100000, null_tool='[null]',
    words=[pose([1, 2], ['3', 4], [5, 6], [7, 8])], short=[pose([1, 2], [3, 4], [5, 6])],
    one_number=[pose([1, 2], [3], [5, 6], [7, 8])], three=[pose([1, 2], [3, 4, 5], [5, 6], [7, 8])],
    endless='[{"nodes": [[1, 2], [NaN, 4], [5, 6], [7, 8]], "tags": ["visible", "visible", "visible", "visible"]}]',
    huge=f'[{{"nodes": [[1, 2], [{"9" * 400}, 4], null, null], "tags": ["visible", "visible", "visible", "visible"]}}]',
    tag=[pose([1, 2], [3, 4], [5, 6], [7, 8], tags=('visible', 'seen', 'visible', 'visible'))],
    tags=[pose([1, 2], [3, 4], [5, 6], [7, 8], tags=('visible', ['visible'], 'visible', 'visible'))],
    no_tags=[dict(nodes=[[1, 2]] * 4)], no_list=[dict(nodes=None, tags=None)])


@pytest.mark.parametrize('poses', DAMAGE.values(), ids=DAMAGE)
def test_damaged_annotation_is_no_true_negative(tmp_path, poses):
    write(tmp_path / 'Training/Sigmoid/1/1', poses)
    write(tmp_path / 'Training/Sigmoid/1/2', [])
    draft = read_robust_mips(tmp_path, ImportOptions())
    assert list(draft.frames) == [('Sigmoid_1', 2)] and not draft.taken['tools']
    (what, why), places = next(iter(draft.skipped.items()))
    assert what == 'picture' and why.startswith('it or its annotation is damaged')
    assert places == ['Training/Sigmoid/1/1']


def test_damaged_files_are_counted(tmp_path):
    tool = pose([1, 12], [3, 12], [5, 12], [7, 12])
    case = tmp_path / 'Training/Sigmoid/1'
    folders = SimpleNamespace(**{name: write(case / str(number), [tool], {50: LEFT}) for number, name in enumerate(
        ('no_picture', 'no_json', 'bad_picture', 'no_mask', 'bad_mask', 'small_mask', 'cut'))})
    write(case / '8', [tool], {50: LEFT}).rename(case / 'eight')
    (folders.no_picture / 'raw.png').unlink()
    (folders.no_json / 'toolposes.json').unlink()
    (folders.bad_picture / 'raw.png').write_text('no picture')
    (folders.no_mask / 'instrument_instances.png').unlink()
    (folders.bad_mask / 'instrument_instances.png').write_bytes(b'')
    cv2.imwrite(str(folders.small_mask / 'instrument_instances.png'), np.zeros((9, 9), np.uint8))
    (folders.cut / 'raw.png').write_bytes((folders.cut / 'raw.png').read_bytes()[:30])  # found when it is placed
    data = imported('robust_mips', tmp_path, tmp_path / 'out')
    assert [(f.frame_id, [t.segmentation for t in f.tools]) for f in data.frames] == [(3, [None]), (4, [None]),
                                                                                     (5, [None])]
    draft = read_robust_mips(tmp_path, ImportOptions())
    skipped = {(what, why): len(places) for (what, why), places in draft.skipped.items()}
    assert skipped == {
        ('picture', 'its raw.png is missing'): 1, ('picture', 'it has no annotation file'): 1,
        ('picture', 'it or its annotation is damaged (ValueError)'): 1,
        ('picture', 'its folder is not named by its number'): 1,
        ('file of masks', 'picture cannot be read'): 2,
        ('file of masks', 'picture is 9x9, the annotation says 96x64'): 1}


def test_no_picture_at_all(tmp_path):
    with pytest.raises(UserError, match='there is no picture of ROBUST-MIPS'):
        read_robust_mips(tmp_path, ImportOptions())
