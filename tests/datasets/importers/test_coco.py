import json

import cv2
import numpy as np
import pytest
from data_tools import content, data_tool, imported
from video_files import number_of, write_video

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.errors import UserError

NAMES = ['tip1', 'tip2', 'anchor']


def write(folder, images, annotations, *, names=NAMES, file='annotations.json', categories=None, more=None):
    """Write an export with its pictures of 64x48; ``images`` are names or records."""
    records = [image if isinstance(image, dict) else dict(id=k, file_name=image, width=64, height=48)
               for k, image in enumerate(images, 1)]
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(
        images=records, annotations=annotations,
        categories=categories or [dict(id=1, name='grasper', keypoints=names)], **(more or {}))))
    return folder


def picture(path, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size[::-1], 3), 99, np.uint8))


def tool(image, keypoints, number=1, **more):
    return dict(id=number, image_id=image, category_id=1, keypoints=keypoints, **more)


def test_own_format_comes_back_as_it_is(toy_data, tmp_path):
    data = imported('coco', toy_data, tmp_path / 'out')
    truth = load_annotations(toy_data)
    assert content(data) == content(truth)
    assert data.clips == truth.clips and data.info == truth.info
    for frame in data.frames:  # neighbours that no record lists came along
        assert frame.file(data.root, frame.frame_id + 2).read().shape == (48, 64, 3)


def test_cvat_export(tmp_path, capsys):
    """Gaps in the ids, subfolders, coordinates behind v = 0, the picture folder of its own."""
    src = tmp_path / 'cvat'
    for name in ('case7/frame_000003.PNG', 'case7/frame_000004.PNG', 'case8/frame_000003.PNG'):
        picture(src / 'images/default' / name)
    annotations = [
        dict(id=1, image_id=1, category_id=5, keypoints=[9, 9, 0, 10, 12, 1, 30, 14, 2], num_keypoints=2,
             bbox=[1, 2, 3, 4], attributes=dict(occluded=False, action='grasp')),
        dict(id=2, image_id=3, category_id=9, keypoints=[7, 8, 2, 0, 0, 0],
             attributes=dict(occluded=False, active=False))]
    write(src, ['case7/frame_000003.PNG', 'case7/frame_000004.PNG', 'case8/frame_000003.PNG'], annotations,
          file='annotations/person_keypoints_default.json',
          categories=[dict(id=5, name='grasper', keypoints=['left_tip', 'rightTip', 'hinge']),
                      dict(id=9, name='hook', keypoints=['tip', 'anchor'])])
    data = imported('coco', src, tmp_path / 'out')
    points = {(f.video.name, f.frame_id): (f.annotated, [
        (t.tool, t.action, t.active, [(p.name, p.x, p.y, p.v) for p in t.points]) for t in f.tools])
        for f in data.frames}
    assert points == {
        ('case7', 3): (True, [('grasper', 'grasp', True, [('tip2', 10, 12, 1), ('anchor', 30, 14, 2)])]),
        ('case7', 4): (False, []),
        ('case8', 3): (True, [('hook', None, False, [('tip1', 7, 8, 2)])])}
    assert data.categories == dict(grasper=('tip1', 'tip2', 'anchor'), hook=('tip1', 'anchor'))
    assert 'videos: case7, case8' in capsys.readouterr().out


def test_label_studio_export(tmp_path, capsys):
    """Windows paths, boxes as annotations of their own, a picture listed once per annotator, v of 0 and 2."""
    src = tmp_path / 'ls'
    for name in ('a_000001.png', 'b_000001.png'):
        picture(src / 'images' / name)
    images = [dict(id=0, file_name='images\\a_000001.png', width=64, height=48),
              dict(id=1, file_name='..\\..\\media\\upload\\4\\b_000001.png', width=64, height=48),
              dict(id=2, file_name='images\\a_000001.png', width=64, height=48),
              dict(id=3, file_name='images\\gone.png', width=64, height=48),
              dict(id=4, file_name='images\\b_000001.png', width=None, height=None)]
    box = dict(id=1, image_id=0, category_id=1, bbox=[1, 1, 5, 5])
    write(src, images, [tool(0, [5, 6, 2, 0, 0, 0, 7, 8, 2], 0), box,
                        tool(1, [1, 2, 2, 3, 4, 2, 5, 6, 2], 2), tool(2, [9, 9, 2, 9, 9, 2, 9, 9, 2], 3)],
          file='result.json')
    data = imported('coco', src, tmp_path / 'out')
    assert {f.video.name: [[p.x for p in t.points] for t in f.tools] for f in data.frames} == {
        'a': [[5, 7]], 'b': [[1, 3, 5]]}
    said = capsys.readouterr().out
    for line in ('tool 1: it has no keypoints (a box or mask alone)', 'picture 1: it is listed twice',
                 'tool 1: its picture was not taken', 'picture 1: its file is missing', 'picture 1: damaged'):
        assert line in said, line


def test_traps_of_others(tmp_path, capsys):
    """One degree of visibility called 1 (SLEAP), a dummy for an empty picture (ROBUST-MIPS), points outside."""
    src = tmp_path / 'src'
    for k in range(4):
        picture(src / f'v_frame_{k:06d}.png')
    write(src, [f'v_frame_{k:06d}.png' for k in range(4)], [
        tool(1, [5, 6, 1, 70, 6, 1, -3, 8, 1], 1), tool(2, [0] * 9, 2, bbox=[0, 0, 0, 0]),
        tool(3, [1, 2, 1], 3), tool(3, [1, 2, 7, 0, 0, 0, 0, 0, 0], 4), tool(3, ['a', 2, 1, 0, 0, 0, 0, 0, 0], 5),
        dict(tool(3, [1, 1, 1, 0, 0, 0, 0, 0, 0], 6), category_id=8), 'nothing',
        tool(4, [1, 2, 1, 0, 0, 0, 0, 0, 0], 7, segmentation=[[1, 2]])])
    frames = {f.frame_id: f for f in imported('coco', src, tmp_path / 'out').frames}
    assert [(p.name, p.v) for p in frames[0].tools[0].points] == [('tip1', 2)]
    # A picture with a damaged record is no picture without tools.
    assert {k: len(frame.tools) for k, frame in frames.items()} == {0: 1, 1: 0}
    said = capsys.readouterr().out
    for line in ('no point has v = 2', 'point 2: it lies outside the picture', 'tool 1: it is all zero',
                 '3 keypoint numbers for 3 keypoints', 'visibility 7', "'a' is no number", 'KeyError(8)',
                 'no list of polygons'):
        assert line in said, line


@pytest.mark.parametrize('pattern, expected', [
    (None, {'videoA': [10, 20], 'videoB': [10]}), ('video(.)', {'A': [10, 20], 'B': [10]}),
    ('_', {'_': [10, 11, 20]})])
def test_videos_are_told_from_names(tmp_path, pattern, expected):
    src = tmp_path / 'src'
    names = ['videoA_000010_frame.png', 'videoA_000020_frame.png', 'videoB_000010_frame.png']
    for name in names:
        picture(src / name)
    write(src, names, [tool(k, [1, 2, 2, 0, 0, 0, 3, 4, 2], k) for k in (1, 2, 3)])
    data = imported('coco', src, tmp_path / 'out', *(['--video-from', pattern] if pattern else []))
    assert {v.name: sorted(f.frame_id for f in data.frames if f.video is v) for v in data.videos.values()} == expected
    assert len({f.file(data.root).path for f in data.frames}) == 3


def test_pictures_of_another_size_or_damaged_are_dropped_and_counted(tmp_path, capsys):
    src = tmp_path / 'src'
    for name, size in (('a_1.jpg', (64, 48)), ('a_2.jpg', (32, 24)), ('a_3.jpg', (64, 48))):
        picture(src / name, size)
    (src / 'a_3.jpg').write_bytes((src / 'a_3.jpg').read_bytes()[:100])
    write(src, ['a_1.jpg', 'a_2.jpg', 'a_3.jpg'], [tool(k, [1, 2, 2, 0, 0, 0, 3, 4, 2], k) for k in (1, 2, 3)])
    assert [f.frame_id for f in imported('coco', src, tmp_path / 'out').frames] == [1]
    said = capsys.readouterr().out
    assert 'taken: videos 1, pictures 1, tools 1, points 2' in said
    assert 'picture is 32x24, the annotation says 64x48' in said and 'picture cannot be decoded' in said


def test_when_no_picture_can_be_read_nothing_is_made(tmp_path, capsys):
    src = tmp_path / 'src'
    picture(src / 'a_1.jpg', (32, 24))
    write(src, ['a_1.jpg'], [tool(1, [1, 2, 2, 0, 0, 0, 3, 4, 2])])
    with pytest.raises(UserError, match='none of the pictures could be read'):
        imported('coco', src, tmp_path / 'out')
    assert 'picture is 32x24' in capsys.readouterr().out
    assert not (tmp_path / 'out/annotations.json').exists()


@pytest.mark.parametrize('content, message', [
    ('{', 'not valid JSON'), ('[]', 'no COCO object'), ('{"images": [], "annotations": {}, "categories": []}', 'lists'),
    ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x"}]}', 'no category lists keypoints'),
    ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x", "keypoints": ["shaft"]}]}',
     'neither tip nor anchor: shaft'), ('[' * 100000, 'not valid JSON')])
def test_files_that_are_none(tmp_path, content, message):
    (tmp_path / 'annotations.json').write_text(content)
    with pytest.raises(UserError, match=message):
        imported('coco', tmp_path, tmp_path / 'out')


def test_which_file_is_asked_for(tmp_path):
    for name in ('train.json', 'val.json'):
        (tmp_path / name).write_text('{}')
    with pytest.raises(UserError, match='2 annotation files are there.*import coco FILE'):
        imported('coco', tmp_path, tmp_path / 'out')
    with pytest.raises(UserError, match='nothing to import'):
        imported('coco', tmp_path / 'gone', tmp_path / 'out')


def test_a_missing_picture_is_no_other_one_of_its_name(tmp_path, capsys):
    src = tmp_path / 'src'
    picture(src / 'images/b/0001.jpg')
    write(src, ['a/0001.jpg', 'b/0001.jpg'], [tool(k, [1, 2, 2, 0, 0, 0, 3, 4, 2], k) for k in (1, 2)])
    assert [f.video.name for f in imported('coco', src, tmp_path / 'out').frames] == ['b']
    assert 'picture 1: its file is missing, or several have its name' in capsys.readouterr().out


def test_paths_of_another_machine(tmp_path):
    src, names = tmp_path / 'src', [f'C:\\Users\\me\\case{k}\\img_000{k}.png' for k in (1, 2, 3)]
    for k in (1, 2, 3):
        picture(src / f'case{k}/img_000{k}.png')
    write(src, names, [tool(k, [1, 2, 2, 0, 0, 0, 3, 4, 2], k) for k in (1, 2, 3)])
    assert [v.name for v in imported('coco', src, tmp_path / 'out').videos.values()] == ['case1', 'case2', 'case3']


def video_source(src, **clip):
    """Two clips, each in a file of its own, of one name in two folders."""
    for k in (1, 2):
        (src / f'v{k}').mkdir(parents=True)
        write_video(src / f'v{k}/1.mp4', 5, first=100 * k)
    images = [dict(id=k, width=96, height=64, video_id=1, frame_id=100 * k + 2, clip_id=k) for k in (1, 2)]
    clips = [dict(id=k, video_id=1, start_frame=100 * k, end_frame=100 * k + 4, action='grasp',
                  video_file=f'v{k}/1.mp4') | (clip if k == 2 else {}) for k in (1, 2)]
    return write(src, images, [tool(k, [1, 2, 2, 0, 0, 0, 3, 4, 2], k) for k in (1, 2)],
                 more=dict(videos=[dict(id=1, name='case', fps=25, dense=True)], clips=clips))


def test_clips_in_video_files_of_one_name(tmp_path):
    data = imported('coco', video_source(tmp_path / 'src'), tmp_path / 'out')
    assert [number_of(f.file(data.root).read((96, 64))) for f in data.frames] == [102, 202]
    with pytest.raises(UserError, match='--short-side scales pictures, and these lie in videos'):
        imported('coco', tmp_path / 'src', tmp_path / 'small', '--short-side', 32)


@pytest.mark.parametrize('file, why', [('gone.mp4', 'video cannot be read'), ('/etc/passwd', 'leaves the data set'),
                                       ('../src/v2/1.mp4', 'leaves the data set'), ('annotations.json', 'cannot be')])
def test_video_files_that_are_none_take_their_pictures_with_them(tmp_path, capsys, file, why):
    data = imported('coco', video_source(tmp_path / 'src', video_file=file), tmp_path / 'out')
    assert [f.frame_id for f in data.frames] == [102]
    assert why in capsys.readouterr().out
    assert not any(path.name == 'passwd' for path in (tmp_path / 'out').rglob('*'))


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    src = tmp_path / 'src'
    picture(src / 'a_1.jpg')
    write(src, ['a_1.jpg'], [tool(1, [1, 2, 2, 0, 0, 0, 3, 4, 2])])
    (tmp_path / 'file').touch()
    for out in (tmp_path / 'file', tmp_path / 'file/inside', '/proc/nowhere'):
        with pytest.raises(UserError, match='the folder cannot be written'):
            data_tool('import', 'coco', src, '--out', out)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    assert data_tool('import', 'coco', src, '--out', '.') == 0
    assert {path.name for path in (tmp_path / 'here').iterdir()} == {'annotations.json', 'frames', 'import.json'}
    assert {path.name for path in tmp_path.iterdir()} == {'src', 'file', 'here'}  # nothing is left beside
