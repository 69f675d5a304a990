import json
from pathlib import Path

import cv2
import pytest
from data_tools import imported
from video_files import number_of, picture, write_video

from mmpose_surgical.datasets.importers.draft import ImportOptions
from mmpose_surgical.datasets.importers.endovis15 import read_endovis15
from mmpose_surgical.errors import UserError

TRAIN = 'Tracking_Robotic_Training/Training'
TEST = 'Tracking_Robotic_Testing'


def label(name, tool, x, y, **more):
    return dict({'class': name, 'x': x, 'y': y}, **({} if tool is None else {'id': tool}), **more)


def entry(split, dataset, number, *labels):
    name = {'train': f'/Users/any/{TRAIN}/Dataset{dataset}/Raw/img_{number:06d}_raw.png',
            'test': f'/Users/any/{TEST}/Dataset{dataset}/Raw/img_{number:04d}.png'}[split]
    return {'annotations': list(labels), 'class': 'image', 'filename': name}


def write_labels(src, split, dataset, entries):
    folder = src / f'EndoVisPoseAnnotation/{split}_labels'
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f'{split}{dataset}_labels.json'
    file.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return file


def video(path: Path, count: int, first: int = 0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, count, first=first, codec='mpeg4')


@pytest.fixture
def src(tmp_path):
    """Dataset1 in both parts, whose videos have one name; dataset 5 as pictures; dataset 6 without a video."""
    src = tmp_path / 'src'
    video(src / TRAIN / 'Dataset1/Video.avi', 12)
    (src / TRAIN / 'Dataset1/Left_Instrument_Pose.txt').write_text('0 0 0')
    video(src / TRAIN / 'Dataset1/Left_Instrument_Segmentation.avi', 3)
    video(src / 'Segmentation_Robotic_Training/Training/Dataset1/Video.avi', 3)
    video(src / TEST / 'Tracking/Dataset1/Video.avi', 8, first=100)
    raw = src / TEST / 'Tracking/Dataset5/Raw'
    raw.mkdir(parents=True)
    for number in range(1, 6):
        cv2.imwrite(str(raw / f'img_{number:04d}.png'), picture(200 + number - 1))
    write_labels(src, 'train', 1, [
        entry('train', 1, 1, label('LeftClasperPoint', 'tool2', 10.5, 20), label('HeadPoint', 'tool1', 40, 41),
              label('RightClasperPoint', 'tool2', 12, 22.25, occluded=True), label('HeadPoint', 'tool2', 20, 21),
              label('ShaftPoint', 'tool2', 30, 31), label('EndPoint', None, 90, 60),
              label('TrackedPoint', 'tool1', 1, 1)),
        entry('train', 1, 2), entry('train', 1, 3),
        # One tool alone: what has no id is its own; the same class twice; a shaft alone, whose tips are out of view.
        entry('train', 1, 12, label('LeftClasperPoint', None, 50, 51), label('RightClasperPoint', 'tool1', 52, 53),
              label('RightClasperPoint', 'tool1', 54, 55), label('HeadPoint', 'tool1', 96, 55),
              label('ShaftPoint', 'tool3', 5, 6)),
        # Two tools: whose is it?
        entry('train', 1, 5, label('HeadPoint', None, 1, 2), label('HeadPoint', 'tool1', 3, 4),
              label('LeftClasperPoint', 'tool2', 5, 6)),
        entry('train', 1, 13, label('HeadPoint', 'tool1', 3, 4)),
        entry('train', 1, 0, label('HeadPoint', 'tool1', 3, 4)),
        entry('train', 1, 5, label('HeadPoint', 'tool1', 8, 8))])
    write_labels(src, 'test', 1, [entry('test', 1, n + 1, *([label('HeadPoint', 'tool1', 7, n)] if n in (0, 7) else []))
                                  for n in range(8)])
    write_labels(src, 'test', 5, [entry('test', 5, 3, label('RightClasperPoint', 'tool4', 9, 9))])
    write_labels(src, 'test', 6, [entry('test', 6, 3, label('HeadPoint', 'tool1', 9, 9))])
    return src


def tools_of(frame):
    return [(t.tool, t.action, t.active, [(p.name, p.x, p.y, p.v) for p in t.points]) for t in frame.tools]


def test_values(src, tmp_path, capsys):
    data = imported('endovis15', src, tmp_path / 'out', '--tool', 'instrument=needle_holder', 'tool4=scissors')
    assert [(v.name, v.source, v.fps, v.dense) for v in data.videos.values()] == [
        ('dataset1', 'EndoVis15', 25.0, True), ('dataset5', 'EndoVis15', 25.0, True)]
    assert [(c.video_id, c.start_frame, c.end_frame, c.action) for c in data.clips.values()] == [
        (1, 0, 11, None), (1, 12, 19, None), (2, 0, 4, None)]
    holder = 'needle_holder', None, True
    # The order of points is that of the category: tip1, tip2, anchor.
    assert {(f.video.name, f.frame_id, f.attributes['official_split'], f.clip.id): tools_of(f)
            for f in data.frames} == {
        ('dataset1', 0, 'train', 1): [(*holder, [('tip1', 10.5, 20, 2), ('tip2', 12, 22.25, 1), ('anchor', 20, 21, 2)]),
                                      (*holder, [('anchor', 40, 41, 2)])],
        ('dataset1', 4, 'train', 1): [(*holder, [('anchor', 3, 4, 2)]), (*holder, [('tip1', 5, 6, 2)])],
        ('dataset1', 11, 'train', 1): [(*holder, [('tip1', 50, 51, 2), ('tip2', 52, 53, 2)]), (*holder, [])],
        ('dataset1', 12, 'test', 2): [(*holder, [('anchor', 7, 0, 2)])],
        ('dataset1', 19, 'test', 2): [(*holder, [('anchor', 7, 7, 2)])],
        ('dataset5', 2, 'test', 3): [('scissors', None, True, [('tip2', 9, 9, 2)])]}
    assert {tool: set(names) for tool, names in data.categories.items()} == {
        tool: {'tip1', 'tip2', 'anchor'} for tool in ('needle_holder', 'scissors')}
    assert 'taken: videos 2, clips 3, pictures 6, tools 9, points 11' in capsys.readouterr().out


def test_account(src):
    draft = read_endovis15(src, ImportOptions())
    assert {(what, why): len(places) for (what, why), places in draft.skipped.items()} == {
        ('point', 'it is of type ShaftPoint'): 2, ('point', 'it is of type EndPoint'): 1,
        ('point', 'it is of type TrackedPoint'): 1, ('point', 'it lies outside the picture, so it is out of view'): 1,
        ('point', 'it has no id, and not just one tool is there'): 1,
        ('point', 'its tool has one of this class already'): 1,
        ('picture', 'its video has no such picture'): 1, ('picture', 'its video is missing'): 1,
        ('picture', 'it is labelled twice'): 1, ('picture', 'its name has no Dataset<n> and number from 1'): 1,
        ('unlabelled pictures', 'an empty list does not say that nothing is there'): 2}
    assert draft.skipped['unlabelled pictures', 'an empty list does not say that nothing is there'] == [
        'test1_labels.json: 6 of 8', 'train1_labels.json: 2 of 8']
    assert {tool.tool for frame in draft.frames.values() for tool in frame.tools} == {'needle_driver'}


@pytest.mark.parametrize('mode', ['extract', 'video'])
def test_frames_are_those_that_were_labelled(src, tmp_path, mode):
    data = imported('endovis15', src, tmp_path / 'out', '--frames', mode)
    shown = {('dataset1', 0): 0, ('dataset1', 4): 4, ('dataset1', 11): 11, ('dataset1', 12): 100, ('dataset1', 19): 107,
             ('dataset5', 2): 202}
    assert {(f.video.name, f.frame_id): number_of(f.file(data.root).read((96, 64))) for f in data.frames} == shown
    ends = {f.clip.id: [number_of(f.file(data.root, k).read()) for k in (f.clip.start_frame, f.clip.end_frame)]
            for f in data.frames}
    assert ends == {1: [0, 11], 2: [100, 107], 3: [200, 204]}
    # Files of both parts have one name.
    kept = sorted(str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.avi'))
    assert kept == ([] if mode == 'extract' else ['videos/dataset1/000000.avi', 'videos/dataset1/000012.avi'])


@pytest.mark.parametrize('mode', ['extract', 'video'])
def test_one_part_as_pictures(tmp_path, mode):
    """Only every other picture is there, and one of them is cut off."""
    src = tmp_path / 'src'
    video(src / TRAIN / 'Dataset2/v.avi', 4)
    raw = src / TEST / 'Dataset2/Raw'
    raw.mkdir(parents=True)
    for number in (1, 3, 5):
        cv2.imwrite(str(raw / f'img_{number:04d}.png'), picture(300 + number - 1))
    (raw / 'img_0005.png').write_bytes((raw / 'img_0005.png').read_bytes()[:40])
    (raw / '._img_0002.png').write_bytes(b'\0')
    write_labels(src, 'train', 2, [entry('train', 2, 4, label('HeadPoint', 'tool1', 1, 1))])
    write_labels(src, 'test', 2, [entry('test', 2, n, label('HeadPoint', 'tool1', 2, 2)) for n in (3, 4, 5)])
    data = imported('endovis15', src, tmp_path / 'out', '--frames', mode)
    (case,) = data.videos.values()
    assert not case.dense  # neighbours are missing
    assert {f.frame_id: number_of(f.file(data.root).read()) for f in data.frames} == {3: 3, 6: 302}
    account = '\n'.join(json.loads((tmp_path / 'out/import.json').read_text())['account'])
    assert 'picture 1: its video has no such picture' in account and 'picture 1: picture cannot be decoded' in account


def test_windows_paths_and_other_names(tmp_path):
    src = tmp_path / 'src'
    video(src / 'training/dataset3/any.avi', 3)
    other = entry('train', 3, 2, label('HeadPoint', 'tool1', 1, 1), label('ShaftPoint', 'tool1', 9, 8))
    other['filename'] = other['filename'].replace('/', '\\')
    write_labels(src, 'train', 3, [other])
    data = imported('endovis15', src, tmp_path / 'out', '--landmark', 'ShaftPoint=anchor', 'HeadPoint=skip')
    assert {f.frame_id: tools_of(f) for f in data.frames} == {
        1: [('needle_driver', None, True, [('anchor', 9, 8, 2)])]}
    write_labels(src, 'train', 3, [entry('train', 3, 2, label('Elbow', 'tool1', 1, 1))])
    with pytest.raises(UserError, match='neither tip nor anchor: Elbow'):
        read_endovis15(src, ImportOptions())
    assert read_endovis15(src, ImportOptions(landmarks={'Elbow': 'tip'})).taken['points'] == 1


HEAD = label('HeadPoint', 'tool1', 3, 4)
DAMAGED = dict(
    null=None, number=7, no_name=dict(annotations=[HEAD]), null_list=dict(entry('train', 1, 2), annotations=None),
    null_point=entry('train', 1, 2, None), word=entry('train', 1, 2, HEAD, label('HeadPoint', 'tool2', '3', 4)),
    lacking={**entry('train', 1, 2), 'annotations': [{'class': 'HeadPoint', 'id': 'tool1', 'x': 3}]},
    no_class=entry('train', 1, 2, dict(id='tool1', x=3, y=4)),
    list_class=entry('train', 1, 2, label([], 'tool1', 3, 4)),
    number_id=entry('train', 1, 2, label('HeadPoint', 5, 3, 4)), name=dict(annotations=[HEAD], filename=5),
    flag=entry('train', 1, 2, label('HeadPoint', 'tool1', 3, 4, occluded='no')),
    endless=entry('train', 1, 2, label('HeadPoint', 'tool1', float('nan'), 4)))


@pytest.mark.parametrize('damaged', DAMAGED.values(), ids=DAMAGED)
def test_damaged_labels_leave_the_picture_out(tmp_path, damaged):
    video(tmp_path / TRAIN / 'Dataset1/Video.avi', 3)
    write_labels(tmp_path, 'train', 1, [damaged, entry('train', 1, 3, HEAD)])
    draft = read_endovis15(tmp_path, ImportOptions())
    assert list(draft.frames) == [('dataset1', 2)]
    ((what, why), places), = draft.skipped.items()
    assert what == 'picture' and why.startswith('its labels are damaged') and places == ['train1_labels.json[0]']


@pytest.mark.parametrize('text', ['null', '{}', '', '[{"annotations": [{"cla', '[' * 100000])
def test_damaged_label_file_is_counted(tmp_path, text):
    write_labels(tmp_path, 'train', 1, text)
    draft = read_endovis15(tmp_path, ImportOptions())
    assert not draft.frames and [what for what, _ in draft.skipped] == ['label file']
    with pytest.raises(UserError, match='no annotated picture was found'):
        imported('endovis15', tmp_path, tmp_path / 'out')


def test_videos_that_are_none(tmp_path):
    for dataset in range(1, 5):
        write_labels(tmp_path, 'train', dataset, [entry('train', dataset, n, HEAD) for n in (1, 2)])
    video(tmp_path / TRAIN / 'Dataset1/a.avi', 2)
    video(tmp_path / TRAIN / 'Dataset1/b.avi', 2)
    whole = video(tmp_path / TRAIN / 'Dataset2/v.avi', 3)
    whole.write_bytes(whole.read_bytes()[:40])
    video(tmp_path / TRAIN / 'Dataset3/v.avi', 1)
    draft = read_endovis15(tmp_path, ImportOptions())
    reasons = {why.split(':')[0].split(';')[0]: len(places) for (_, why), places in draft.skipped.items()}
    assert not draft.frames and reasons == {
        'several videos are in its folder': 2, 'video cannot be read': 2, 'the video is a single picture': 2,
        'its video is missing': 2}


def test_no_labels_at_all(tmp_path):
    with pytest.raises(UserError, match='there is no label file'):
        read_endovis15(tmp_path, ImportOptions())
