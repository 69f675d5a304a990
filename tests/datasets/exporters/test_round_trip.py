"""import(export(x)) = x, for what a format can hold."""
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_tools import content, data_tool, imported
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from video_files import number_of, write_video

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.importers.placing import encode_mask
from mmpose_surgical.datasets.records import Annotations, Clip, Frame, Point, Tool, Video
from mmpose_surgical.datasets.splits import load_splits
from mmpose_surgical.datasets.writing import write_annotations
from mmpose_surgical.errors import UserError

SIZE = (40, 30)
SLOTS = ('tip1', 'tip2', 'anchor')
TOOL_OF = dict(grasp='grasper', dissect='hook', clip='clip_applier')


@st.composite
def tools(draw, action, active):
    slots = draw(st.sets(st.sampled_from(SLOTS), min_size=1))
    places = [draw(st.tuples(st.integers(0, 312), st.integers(0, 232), st.integers(1, 2))) for _ in slots]
    points = [Point(slot.rstrip('12'), slot, x / 8, y / 8, v) for slot, (x, y, v) in zip(sorted(slots), places)]
    mask = None
    if draw(st.booleans()):
        mask = np.zeros(SIZE[::-1], bool)
        mask[draw(st.integers(0, 10)):draw(st.integers(12, 30)), 3:draw(st.integers(5, 40))] = True
        mask = encode_mask(mask)
    return dict(tool=TOOL_OF[action], action=action if active else None, active=active, points=points,
                segmentation=mask)


@st.composite
def data_sets(draw):
    """Two dense videos with a clip each, whose annotated frames have an acting tool, and perhaps another one."""
    videos, clips, frames, ids = {}, {}, [], iter(range(1, 100))
    for number in (1, 2):
        videos[number] = Video(number, draw(st.sampled_from(['a', 'A b', 'c/d', 'x'])) + str(number), 'src', 12.5, True,
                               f'frames/v{number}/{{frame_id:06d}}.png')
        start, action = draw(st.integers(0, 50)), draw(st.sampled_from(sorted(TOOL_OF)))
        clips[number] = Clip(number, number, start, start + 2, action)
        for frame_id in sorted(draw(st.sets(st.integers(start, start + 2), min_size=1))):
            own = [draw(tools(action, True)), *([draw(tools('grasp', False))] if draw(st.booleans()) else [])]
            name = videos[number].frame_pattern.format(frame_id=frame_id)
            frames.append(Frame(len(frames) + 1, name, *SIZE, videos[number], frame_id, True, clips[number],
                                [Tool(next(ids), **tool) for tool in own]))
    return Annotations(Path(), {}, videos, clips, frames, dict.fromkeys(TOOL_OF.values(), SLOTS), '')


def level(number, video):
    """Grey of a frame: none is like its neighbours, or like its namesake in the other video."""
    return 80 * (number % 3) + 25 * video


def write(annotations, root):
    for video, clip in zip(annotations.videos.values(), annotations.clips.values()):
        for number in range(clip.start_frame, clip.end_frame + 1):
            path = root / video.frame_pattern.format(frame_id=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((*SIZE[::-1], 3), level(number, video.id), np.uint8))
    write_annotations(root / 'annotations.json', annotations)
    return load_annotations(root)


HELD = dict(coco=dict(), csv=dict(masks=True), yolo=dict(masks=True, idle=True),
            native=dict(masks=True, idle=True, slots=True))
"""What has no place in each format."""


@pytest.mark.parametrize('name', HELD)
@settings(max_examples=12, deadline=None, phases=set(Phase) - {Phase.shrink},  # shrinking takes minutes
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=data_sets())
def test_import_of_an_export_is_the_same(name, data):
    folder = Path(tempfile.mkdtemp())
    try:
        truth = write(data, folder / 'data')
        data_tool('export', truth.root, '--format', name, '--out', folder / 'exported')
        back = imported(name, folder / 'exported', folder / 'back')
        expected, got = content(truth, **HELD[name]), content(back, **HELD[name])
        if name in ('native', 'yolo'):  # cases and pictures are named by folders and files
            renamed = {video.name: f'{video.name[:-1]}{video.id}'.replace(' ', '_').replace('/', '_')
                       for video in truth.videos.values()}
            expected = {(renamed[video], number): value for (video, number), value in expected.items()}
        assert got == expected
        for frame in back.frames:  # the right pictures beside the right points
            mean = frame.file(back.root).read().mean()
            assert abs(mean - level(frame.frame_id, int(frame.video.name[-1]))) < 8
        if name in ('coco', 'native'):
            assert sorted((c.start_frame, c.end_frame, c.action) for c in back.clips.values()) == sorted(
                (c.start_frame, c.end_frame, c.action) for c in truth.clips.values())
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize('name', ['coco', 'csv', 'yolo', 'native'])
def test_frames_in_videos_are_exported_too(name, tmp_path):
    (tmp_path / 'data/v').mkdir(parents=True)
    write_video(tmp_path / 'data/v/case.mp4', 20)
    video, clip = Video(1, 'case1', None, 25.0, True, None, 'v/case.mp4'), Clip(1, 1, 4, 9, 'grasp')
    tool = Tool(1, 'grasper', 'grasp', True, [Point('tip', 'tip1', 5.0, 6.0, 2)])
    write_annotations(tmp_path / 'data/annotations.json', Annotations(
        Path(), {}, {1: video}, {1: clip}, [Frame(1, None, 96, 64, video, 7, True, clip, [tool])],
        dict(grasper=SLOTS), ''))
    data_tool('export', tmp_path / 'data', '--format', name, '--out', tmp_path / 'exported')
    back = imported(name, tmp_path / 'exported', tmp_path / 'back')
    frame, = back.frames
    assert frame.frame_id == 7 and number_of(frame.file(back.root).read((96, 64))) == 7


def test_what_has_no_place_is_counted(toy_data, tmp_path, capsys):
    for name, lost in dict(
            coco=[], csv=['mask 16', 'clip 8', 'look: neighbouring frames stay behind'],
            yolo=['mask 4', 'action 4', 'tool 12: it does not act'],
            native=['mask 4', 'tool 4: it does not act', 'picture 4: it has no point of an acting tool']).items():
        assert data_tool('export', toy_data, '--format', name, '--out', tmp_path / name) == 0
        said = capsys.readouterr().out
        assert said.count('skipped: ') + said.count('look: ') == len(lost)
        assert all(line in said for line in lost), (name, said)
    assert (tmp_path / 'coco/splits.json').read_text() == (toy_data / 'splits.json').read_text() or (
        load_splits(tmp_path / 'coco', load_annotations(tmp_path / 'coco'))
        == load_splits(toy_data, load_annotations(toy_data)))


@pytest.mark.parametrize('name', HELD)
def test_one_split_in_every_format(name, toy_data, tmp_path):
    data_tool('export', toy_data, '--format', name, '--out', tmp_path / 'out', '--split', 'train')
    assert {f.video.name for f in imported(name, tmp_path / 'out', tmp_path / 'back').frames} == {'a', 'b'}


def test_nothing_to_export_is_said(toy_data, tmp_path):
    with pytest.raises(UserError, match='there is no split "fold7"'):
        data_tool('export', toy_data, '--format', 'csv', '--out', tmp_path / 'out', '--split', 'fold7')
    root = tmp_path / 'data'
    shutil.copytree(toy_data, root)
    (root / 'splits.json').write_text('{"train": ["a"]}')
    with pytest.raises(UserError, match='there is no picture to export in split "val"'):
        data_tool('export', root, '--format', 'csv', '--out', tmp_path / 'out', '--split', 'val')
    assert not (tmp_path / 'out').exists()


def test_an_action_is_no_path(tmp_path, toy_data):
    root = tmp_path / 'data'
    shutil.copytree(toy_data, root)
    text = (root / 'annotations.json').read_text().replace('"grasp"', '"../../out/x"')
    (root / 'annotations.json').write_text(text)
    data_tool('export', root, '--format', 'native', '--out', tmp_path / 'exported/in')
    assert {path.name for path in tmp_path.iterdir()} == {'data', 'exported'}
    assert len(imported('native', tmp_path / 'exported/in', tmp_path / 'back').clips) == 4


def test_only_one_split_and_never_over_something_else(toy_data, tmp_path):
    data_tool('export', toy_data, '--format', 'coco', '--out', tmp_path / 'out', '--split', 'val')
    assert {frame.video.name for frame in load_annotations(tmp_path / 'out').frames} == {'c'}
    with pytest.raises(Exception, match='the folder is not empty'):
        data_tool('export', toy_data, '--format', 'csv', '--out', tmp_path / 'out')
    (tmp_path / 'data').mkdir()
    shutil.copytree(toy_data, tmp_path / 'data', dirs_exist_ok=True)
    for picture in (tmp_path / 'data/frames/d').iterdir():
        picture.write_bytes(b'')
    with pytest.raises(Exception, match='picture cannot be'):
        data_tool('export', tmp_path / 'data', '--format', 'csv', '--out', tmp_path / 'csv')
    assert {path.name for path in tmp_path.iterdir()} == {'data', 'out'}  # nothing is left behind
