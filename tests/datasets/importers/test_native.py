import json

import numpy as np
import pytest
from data_tools import data_tool, imported
from video_files import number_of, write_video

from mmpose_surgical.errors import UserError


def point(frame, kind, x, y, vis=True):
    return dict(frameIndex=frame, type=kind, x=x, y=y, vis=vis)


def write_clip(case, name, points, *, frames=10, size=(96, 64), declared=None, **video):
    (case / 'clips').mkdir(parents=True, exist_ok=True)
    (case / 'annotation').mkdir(exist_ok=True)
    start = int(name.rsplit('_', 2)[1])
    write_video(case / f'clips/{name}.mp4', frames, size=size, first=start, **video)
    width, height = declared or size
    (case / f'annotation/{name}.json').write_text(json.dumps(
        dict(imageDimensions=dict(width=width, height=height), points=points)))


@pytest.fixture
def two_cases(tmp_path):
    one, two = tmp_path / 'src/Cholec80/case1', tmp_path / 'src/Cholec80/case2'
    write_clip(one, 'clip_100_109', [point(103, 'tool_tip', 10, 20), point(103, 'tool_tip', 12, 22, False),
                                     point(103, 'tool_anchor', 40.5, 20), point(103, 'contact', 1, 1)])
    write_clip(one, 'dissect_300_309', [
        point(305, 'tool_tip', 5, 6), point(3, 'tool_tip', 5, 6),                   # a local frame number
        point(305, 'tool_anchor', 97, 6), point(306, 'tool_anchor', None, 6), point(307, 'tool_tip', 1, 2, 'false'),
        point(307, 'tool_anchor', 8, 8)])
    write_clip(two, 'grasping_0_9', [point(4, t, x, 9) for t, x in (
        ('tool_tip', 1), ('tool_tip', 2), ('tool_anchor', 3), ('tool_tip', 4), ('tool_anchor', 5))])
    return tmp_path / 'src'


def test_values_of_two_cases(two_cases, tmp_path, capsys):
    data = imported('native', two_cases, tmp_path / 'out')
    assert [(v.name, v.source, v.fps, v.dense) for v in data.videos.values()] == [
        ('Cholec80_case1', 'Cholec80', 25.0, True), ('Cholec80_case2', 'Cholec80', 25.0, True)]
    assert [(c.start_frame, c.end_frame, c.action) for c in data.clips.values()] == [
        (100, 109, 'clip'), (300, 309, 'dissect'), (0, 9, 'grasp')]
    found = {(f.video.name, f.frame_id): [(t.tool, t.action, [(p.name, p.x, p.y, p.v) for p in t.points])
                                          for t in f.tools] for f in data.frames}
    assert found == {
        ('Cholec80_case1', 103): [('clip_applier', 'clip', [('tip1', 10, 20, 2), ('tip2', 12, 22, 1),
                                                            ('anchor', 40.5, 20, 2)])],
        ('Cholec80_case1', 305): [('hook', 'dissect', [('tip1', 5, 6, 2)])],
        ('Cholec80_case2', 4): [('grasper', 'grasp', [('tip1', 1, 9, 2), ('tip2', 2, 9, 2), ('anchor', 3, 9, 2)]),
                                ('grasper', 'grasp', [('tip1', 4, 9, 2), ('anchor', 5, 9, 2)])]}
    said = capsys.readouterr().out
    for line in ('taken: videos 2, clips 3, pictures 3, tools 4, points 9',
                 'point 1: it is of type contact', 'point 1: its frameIndex is not in the clip',
                 'point 1: it lies outside the picture', 'point 2: type, frameIndex, x, y or vis',
                 'point 1: its picture is left out'):
        assert line in said
    # Every point is taken or skipped.
    assert 9 + 1 + 1 + 1 + 2 + 1 == 4 + 6 + 5


@pytest.mark.parametrize('mode', ['extract', 'video'])
def test_frames_are_those_that_were_annotated(two_cases, tmp_path, mode):
    data = imported('native', two_cases, tmp_path / 'out', '--frames', mode)
    for frame in data.frames:
        assert number_of(frame.file(data.root).read((96, 64))) == frame.frame_id
        start, end = frame.clip.start_frame, frame.clip.end_frame
        assert [number_of(frame.file(data.root, k).read()) for k in (start, end)] == [start, end]
    assert (tmp_path / 'out/frames').exists() == (mode == 'extract')


def test_damaged_clips_are_skipped_with_a_reason(tmp_path, capsys):
    case = tmp_path / 'case'
    tip = [point(12, 'tool_tip', 1, 2)]
    for name in ('grasp_10_19', 'clip_10_19', 'nonsense', 'dissect_10_19', 'hold_10_19', 'grasp_30_20', 'grasp_40_49'):
        write_clip(case, name if name != 'nonsense' else 'x_0_9', tip)
    write_clip(case, 'grasp_60_99', [point(62, 'tool_tip', 1, 2), point(80, 'tool_tip', 1, 2)])
    write_clip(case, 'dissect_200_209', tip, declared=(192, 128))
    for folder, ending in (('clips', 'mp4'), ('annotation', 'json')):
        (case / f'{folder}/x_0_9.{ending}').rename(case / f'{folder}/nonsense.{ending}')
    (case / 'annotation/clip_10_19.json').write_text('{"imageDimensions": {"width": 96')
    (case / 'annotation/hold_10_19.json').unlink()
    (case / 'clips/dissect_10_19.mp4').unlink()
    (case / 'clips/grasp_40_49.mp4').write_bytes(b'nothing')
    data = imported('native', case, tmp_path / 'out')
    assert [(f.frame_id, f.clip.end_frame) for f in data.frames] == [(12, 19), (62, 69)]
    said = capsys.readouterr().out
    for line in ('clip 1: its annotation is damaged (JSONDecodeError) (e.g. case/clip_10_19)',
                 'clip 1: it has no annotation file (e.g. case/hold_10_19)',
                 'clip 1: its video is missing (e.g. case/dissect_10_19)',
                 'clip 1: its name is not <action>_<start>_<end> (e.g. case/nonsense)',
                 'clip 1: the end in its name is before the start (e.g. case/grasp_30_20)',
                 'clip 1: its video is no good: video cannot be read',
                 'clip 1: its video has another size than its annotation',
                 'case/grasp_60_99: its video has 10 of 40 frames', 'point 1: its frameIndex is not in the clip'):
        assert line in said, line


def test_overlapping_clips_share_their_pictures(tmp_path, capsys):
    case = tmp_path / 'case'
    write_clip(case, 'grasp_10_19', [point(15, 'tool_tip', 1, 2)])
    write_clip(case, 'dissect_12_21', [point(15, 'tool_tip', 50, 20)])
    data = imported('native', case, tmp_path / 'out')
    assert [[(t.action, t.points[0].x) for t in f.tools] for f in data.frames] == [[('grasp', 1), ('dissect', 50)]]
    assert 'clips overlap, e.g. in frame 15' in capsys.readouterr().out


def test_names_of_ones_own(tmp_path):
    case = tmp_path / 'case'
    write_clip(case, 'hold_0_9', [point(1, 'jaw', 1, 2), point(1, 'joint', 3, 4)])
    with pytest.raises(UserError, match='neither tip nor anchor: jaw; joint.*--landmark jaw=tip, =anchor or =skip'):
        imported('native', case, tmp_path / 'out')
    data = imported('native', case, tmp_path / 'out2', '--landmark', 'jaw=tip', 'joint=anchor', '--action',
                    'hold=grasp', '--tool', 'grasp=forceps', '--source', 'ours')
    frame, = data.frames
    assert [(p.name, p.x) for p in frame.tools[0].points] == [('tip1', 1), ('anchor', 3)]
    assert (frame.tools[0].tool, frame.tools[0].action, frame.video.source) == ('forceps', 'grasp', 'ours')
    with pytest.raises(UserError, match='no annotated picture was found'):
        imported('native', case, tmp_path / 'out3', '--landmark', 'jaw=tip', 'joint=anchor', '--action', 'hold=skip')


def test_short_side_scales_points_with_pictures(tmp_path):
    case = tmp_path / 'case'
    write_clip(case, 'grasp_0_9', [point(1, 'tool_tip', 47.5, 31.5), point(1, 'tool_anchor', 0, 0)])
    frame, = imported('native', case, tmp_path / 'out', '--short-side', 32).frames
    assert (frame.width, frame.height) == (48, 32)
    # The middle stays the middle; the centre of the first pixel comes to lie in the first half pixel.
    assert [(p.x, p.y) for p in frame.tools[0].points] == [(23.5, 15.5), (-0.25, -0.25)]
    assert frame.file(tmp_path / 'out').read().shape == (32, 48, 3)


def test_a_cut_import_goes_on_and_a_whole_one_is_left(two_cases, tmp_path, monkeypatch):
    from mmpose_surgical.datasets.importers import placing
    out, written, real = tmp_path / 'out', [], placing.write_atomically

    def stop_after_three(path, write):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        real(path, write)
    monkeypatch.setattr(placing, 'write_atomically', stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        imported('native', two_cases, out)
    assert not (out / 'annotations.json').exists()
    before = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.setattr(placing, 'write_atomically', real)
    with pytest.raises(UserError, match='holds another import'):
        data_tool('import', 'native', two_cases, '--out', out, '--quality', 80)
    assert len(imported('native', two_cases, out).frames) == 3
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert len(list((out / 'frames').rglob('*.jpg'))) == 30
    with pytest.raises(UserError, match='this import is done'):
        data_tool('import', 'native', two_cases, '--out', out)


def test_real_clip(shared_real, tmp_path):
    truth = {f.frame_id: f for f in imported('coco', shared_real, tmp_path / 'coco').frames
             if f.video.name == 'cholecseg8k_561_632'}
    data = imported('native', shared_real / 'native', tmp_path / 'native')
    assert len(data.frames) == 10
    for frame in data.frames:
        same = truth[frame.frame_id]
        assert {(p.landmark, p.x, p.y) for p in frame.tools[0].points} == {
            (p.landmark, p.x, p.y) for t in same.active_tools for p in t.points}
        difference = np.abs(frame.file(data.root).read().astype(int)
                            - same.file(tmp_path / 'coco').read()).mean()
        assert difference < 8  # the same frame, compressed twice


def test_cases_and_clips_that_share_a_name(tmp_path, capsys):
    for folder in ('a_b/c', 'a/b_c'):
        write_clip(tmp_path / 'src' / folder, 'grasp_0_9', [point(1, 'tool_tip', 1, 2)])
    clips = tmp_path / 'src/a/b_c/clips'
    (clips / 'grasp_0_9.mkv').write_bytes((clips / 'grasp_0_9.mp4').read_bytes())
    (tmp_path / 'src/lonely/clips').mkdir(parents=True)
    data = imported('native', tmp_path / 'src', tmp_path / 'out')
    assert [(v.name, v.source) for v in data.videos.values()] == [('a_b_c', 'a'), ('a_b_c_2', 'a_b')]
    said = capsys.readouterr().out
    assert 'case 1: it has no folder "annotation"' in said and 'clip 1: another file has its name' in said


def test_uneven_frame_rate_is_told(tmp_path, capsys):
    case, ticks = tmp_path / 'case', [0, 40, 80, 200, 240, 280, 320, 360, 400, 440]
    write_clip(case, 'grasp_0_9', [point(3, 'tool_tip', 1, 2)], ticks=ticks)
    frame, = imported('native', case, tmp_path / 'out').frames
    assert number_of(frame.file(tmp_path / 'out').read()) == 3
    assert 'the frame rate of grasp_0_9.mp4 changes; windows go by its mean' in capsys.readouterr().out
