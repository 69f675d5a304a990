from pathlib import Path

import pytest
import yaml
from data_tools import imported
from video_files import number_of, write_video

from mmpose_surgical.datasets.importers.draft import ImportOptions
from mmpose_surgical.datasets.importers.surgpose import read_surgpose
from mmpose_surgical.errors import UserError


def tool(first, x, y, without=()):
    """The seven points of a tool, each 1 px right and 0.5 px below the one before."""
    return {first + n: None if n + 1 in without else [x + n, y + n / 2] for n in range(7)}


def write(case: Path, frames, *, count=10, first=0) -> Path:
    (case / 'regular').mkdir(parents=True)
    (case / 'keypoints_left.yaml').write_text(frames if isinstance(frames, str) else yaml.safe_dump(frames))
    (case / 'keypoints_right.yaml').write_text('0: {1: [1, 1]}')
    (case / 'bbox_left.json').write_text('{"0": {"obj1": [1, 2, 3, 4]}}')
    if count:
        write_video(case / 'regular/left_video.mp4', count, first=first, fps=30)
    return case


@pytest.fixture
def src(tmp_path):
    src = tmp_path / 'src'
    second = tool(8, 50, 30, without=(4, 6))
    del second[14]
    write(src / '000000', {
        0: tool(1, 10, 20) | second, 1: tool(1, 90, 20), 9: {12: [1.25, 2]}, 3: {4: None, 11: None}, 4: None, 5: {},
        6: {1: [3, 4], 10: None}, 10: tool(1, 1, 1)})
    write(src / '000033', {2: {3: [7, 8]}}, count=4, first=500)
    return src


def tools_of(frame):
    return [(t.tool, t.action, t.active, [(p.name, p.landmark, p.x, p.y, p.v) for p in t.points]) for t in frame.tools]


def test_values(src, tmp_path, capsys):
    data = imported('surgpose', src, tmp_path / 'out')
    assert [(v.name, v.source, v.fps, v.dense) for v in data.videos.values()] == [
        ('000000', 'SurgPose', 30.0, True), ('000033', 'SurgPose', 30.0, True)]
    assert [(c.video_id, c.start_frame, c.end_frame, c.action) for c in data.clips.values()] == [(1, 0, 9, None),
                                                                                              (2, 0, 3, None)]
    driver = 'needle_driver', None, True
    assert {(f.video.name, f.frame_id, f.clip.id, f.annotated): tools_of(f) for f in data.frames} == {
        ('000000', 0, 1, True): [
            (*driver, [('tip1', 'tip', 13, 21.5, 2), ('tip2', 'tip', 14, 22, 2), ('anchor', 'anchor', 12, 21, 2)]),
            (*driver, [('tip2', 'tip', 54, 32, 2), ('anchor', 'anchor', 52, 31, 2)])],
        ('000000', 1, 1, True): [(*driver, [('tip1', 'tip', 93, 21.5, 2), ('tip2', 'tip', 94, 22, 2),
                                            ('anchor', 'anchor', 92, 21, 2)])],
        # Of a tool without tips in view at least the shaft is there.
        ('000000', 6, 1, True): [(*driver, [])],
        ('000000', 9, 1, True): [(*driver, [('tip2', 'tip', 1.25, 2, 2)])],
        ('000033', 2, 2, True): [(*driver, [('anchor', 'anchor', 7, 8, 2)])]}
    assert data.categories == {'needle_driver': ('tip1', 'tip2', 'anchor')}
    assert 'taken: videos 2, clips 2, pictures 5, tools 6, points 10' in capsys.readouterr().out


def test_account(src):
    draft = read_surgpose(src, ImportOptions())
    left_out = {('point', f'it is point {n} of its tool'): count for n, count in {1: 4, 2: 3, 6: 2, 7: 2}.items()}
    assert {key: len(places) for key, places in draft.skipped.items()} == left_out | {
        ('picture', 'none of its points is given, which does not say that nothing is there'): 3,
        ('picture', 'its video has no such picture'): 1}


@pytest.mark.parametrize('mode', ['extract', 'video'])
def test_frames_are_those_that_were_annotated(src, tmp_path, mode):
    data = imported('surgpose', src, tmp_path / 'out', '--frames', mode)
    for frame in data.frames:
        start = 500 if frame.video.name == '000033' else 0
        assert number_of(frame.file(data.root).read((96, 64))) == start + frame.frame_id
        assert number_of(frame.file(data.root, frame.clip.end_frame).read()) == start + frame.clip.end_frame
    assert (tmp_path / 'out/videos/000033/000000.mp4').exists() == (mode == 'video')


def test_names_are_what_the_user_says(src, tmp_path):
    data = imported('surgpose', src / '000033', tmp_path / 'out', '--tool', 'instrument=grasper', '--landmark',
                    '2=anchor', '3=tip', '4=skip')
    (frame,) = data.frames
    assert frame.video.name == '000033'
    assert tools_of(frame) == [('grasper', None, True, [('tip1', 'tip', 7, 8, 2)])]


def test_cases_of_one_name(tmp_path):
    for folder in ('a', 'b'):
        write(tmp_path / folder / '000001', {0: tool(1, 1, 1)}, count=2)
    draft = read_surgpose(tmp_path, ImportOptions())
    assert draft.taken['videos'] == 1 and len(draft.skipped['case', 'another folder has its name']) == 1


DAMAGED = dict(
    word={3: ['a', 4]}, short={4: [12.0]}, long={4: [1, 2, 3]}, number={4: 5}, nan={4: [float('nan'), 1]}, list=[1, 2],
    text='4: [1, 2]', key={'four': [1, 2]}, beyond={15: [1, 2]}, before={0: [1, 2]}, truth={4: [True, 2]},
    mixed={4: [1, 2], 'x': None}, huge={4: [10 ** 400, 1]})


@pytest.mark.parametrize('points', DAMAGED.values(), ids=DAMAGED)
def test_damaged_points_leave_the_picture_out(tmp_path, points):
    write(tmp_path / '000000', {0: points, 1: tool(1, 1, 1)}, count=2)
    draft = read_surgpose(tmp_path, ImportOptions())
    assert list(draft.frames) == [('000000', 1)]
    (damage,) = [(why, places) for (what, why), places in draft.skipped.items() if what == 'picture']
    assert damage[0].startswith('its points are damaged') and damage[1] == ['000000, frame 0']


def test_frame_that_has_no_number(tmp_path):
    write(tmp_path / '000000', {'one': tool(1, 1, 1), -1: tool(1, 1, 1), 1.5: {}, True: {}, 0: tool(1, 1, 1)}, count=2)
    draft = read_surgpose(tmp_path, ImportOptions())
    assert list(draft.frames) == [('000000', 0)]
    assert {why: set(places) for (what, why), places in draft.skipped.items() if what == 'picture'} == {
        'its points are damaged (ValueError)': {f'000000, frame {key}' for key in ('one', True, 1.5)},
        'its video has no such picture': {'000000, frame -1'}}


@pytest.mark.parametrize('text', ['', 'null', '- 1', '0: {1: [10, 20], 2: [1', '0: {1: [1, 2]}\n\t1: {', '? [1]\n: 2',
                                  '\x07', '[' * 5000, '!!python/object/apply:os.getcwd []'])
def test_damaged_file_is_counted(tmp_path, text):
    write(tmp_path / '000000', text, count=2)
    draft = read_surgpose(tmp_path, ImportOptions())
    ((what, why), places), = draft.skipped.items()
    assert not draft.frames and what == 'case' and places == ['000000'] and 'damaged' in why
    with pytest.raises(UserError, match='no annotated picture was found'):
        imported('surgpose', tmp_path, tmp_path / 'out')


def test_videos_that_are_none(tmp_path):
    write(tmp_path / '000000', {0: tool(1, 1, 1)}, count=0)
    write(tmp_path / '000001', {0: tool(1, 1, 1)}, count=0)
    (tmp_path / '000001/regular/left_video.mp4').write_text('no video')
    write(tmp_path / '000002', {7: tool(1, 1, 1)}, count=3)
    draft = read_surgpose(tmp_path, ImportOptions())
    assert not draft.frames and not draft.work
    assert [(what, why.split(':')[0], places) for (what, why), places in draft.skipped.items()] == [
        ('case', 'video cannot be read', ['000000']), ('case', 'video cannot be read', ['000001']),
        ('picture', 'its video has no such picture', ['000002, frame 7']),
        ('case', 'none of its pictures was taken', ['000002'])]


def test_no_case_at_all(tmp_path):
    with pytest.raises(UserError, match='there is no keypoints_left.yaml'):
        read_surgpose(tmp_path, ImportOptions())
