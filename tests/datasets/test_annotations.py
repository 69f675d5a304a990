import json

import numpy as np
import pytest

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import count_line, frames_of_split, load_splits
from mmpose_surgical.errors import UserError


def test_toy_data_is_read_whole(toy_data):
    annotations = load_annotations(toy_data)
    assert annotations.synthetic and annotations.landmarks == ('tip', 'anchor')
    assert len(annotations.frames) == 8 and len(annotations.videos) == 4
    frame = annotations.frames[0]
    assert (frame.video.name, frame.frame_id, frame.clip.start_frame) == ('a', 12, 10)
    assert [tool.active for tool in frame.tools] == [True, False]
    assert [(p.landmark, p.name) for p in frame.tools[0].points] == [('tip', 'tip1'), ('anchor', 'anchor')]
    tip = frame.tools[0].points[0]
    mask = frame.tools[0].mask(48, 64)
    assert mask.shape == (48, 64) and mask[round(tip.y), round(tip.x) + 1] and mask.sum() == 17 * 7


def test_idle_frame_is_annotated_without_acting_tools(toy_data):
    idle = load_annotations(toy_data).frames[1]
    assert idle.annotated and not idle.active_tools and len(idle.tools) == 2


@pytest.fixture
def edit(toy_data, tmp_path):
    """Write a changed copy of the toy annotations and return its path."""
    def write(change):
        data = json.loads((toy_data / 'annotations.json').read_text())
        change(data)
        path = tmp_path / 'annotations.json'
        path.write_text(json.dumps(data))
        return path
    return write


def test_attributes_of_a_picture(edit):
    def add(data):
        data['images'][0] |= {'attributes': {'smoke': True, 'tags': ['blur']}, 'conditions': {'blood': 0.5},
                              'license': 1}
    frames = load_annotations(edit(add)).frames
    assert frames[0].attributes == {'smoke': True, 'tags': ['blur'], 'conditions.blood': 0.5}
    assert frames[1].attributes == {}
    with pytest.raises(UserError, match=r'images\[0\].*"attributes" is not an object'):
        load_annotations(edit(lambda data: data['images'][0].update(attributes=['smoke'])))


def test_all_bad_records_are_named_at_once(edit):
    def spoil(data):
        data['annotations'][0]['image_id'] = 999
        data['annotations'][1]['keypoints'] = [1, 2]
        data['annotations'][2]['keypoints'][0] = float('nan')
        del data['images'][3]['width']
        data['images'][4]['video_id'] = 77
    with pytest.raises(UserError) as error:
        load_annotations(edit(spoil))
    message = str(error.value)
    for part in ('annotations[0] (id 1): image_id 999 is unknown', 'annotations[1] (id 2): 2 keypoint numbers',
                 'annotations[2] (id 3): tip1 is at (nan', "images[3] (id 4): 'width' is missing",
                 'images[4] (id 5): video_id 77 is unknown', 'Fix: '):
        assert part in message
    assert '\n' not in message


@pytest.mark.parametrize('content, message', [
    ('', 'not valid JSON'), ('{"images": [', 'perhaps truncated'), ('[]', 'not a COCO object'),
    ('{"images": {}}', '"images" is not a list'), ('{}', '"annotations" is not a list')])
def test_damaged_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / 'annotations.json'
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_annotations(path)


def test_missing_file_names_the_fix(tmp_path):
    with pytest.raises(UserError, match='annotation file not found.*SURGICAL_DATA'):
        load_annotations(tmp_path)


def test_plain_coco_file_works(tmp_path):
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(
        images=[dict(id=5, file_name='x.jpg', width=8, height=6), dict(id=6, file_name='y.jpg', width=8, height=6)],
        annotations=[dict(id=1, image_id=5, category_id=1, keypoints=[1, 2, 2])],
        categories=[dict(id=1, name='hook', keypoints=['tip'])])))
    annotations = load_annotations(tmp_path)
    assert annotations.landmarks == ('tip', )
    assert [frame.annotated for frame in annotations.frames] == [True, False]
    assert not annotations.frames[0].video.dense and annotations.frames[0].tools[0].active
    assert load_splits(tmp_path, annotations).test == ('x.jpg', 'y.jpg')


def test_polygon_masks_are_read(edit):
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    frame = load_annotations(edit(lambda d: d['annotations'][0].update(segmentation=square))).frames[0]
    mask = frame.tools[0].mask(48, 64)
    assert mask[15, 15] and not mask[5, 5] and mask.sum() == pytest.approx(100, abs=25)


def test_folds_partition_the_training_videos(toy_data):
    annotations = load_annotations(toy_data)
    splits = load_splits(toy_data, annotations)
    assert splits.videos('fold0') == ('a', ) and splits.videos('not-fold0') == ('b', )
    assert {f.video.name for f in frames_of_split(annotations, 'not-fold1')} == {'a'}
    with pytest.raises(UserError, match='no split "fold7"'):
        splits.videos('fold7')


@pytest.mark.parametrize('splits, message', [
    (dict(train=['a'], val=['a']), 'video "a" is in two splits'),
    (dict(train=['zz']), 'video "zz" is not in the annotations'),
    (dict(train='ab'), 'split file is damaged: ab is no list of video names'),
    (dict(train=[{}]), 'split file is damaged'),
    (dict(train=['a', 'b'], folds=[['a'], ['c']]), 'no partition of the training videos'),
    ([1], 'split file is damaged')])
def test_bad_splits_are_refused(toy_data, tmp_path, splits, message):
    (tmp_path / 'splits.json').write_text(json.dumps(splits))
    with pytest.raises(UserError, match=message):
        load_splits(tmp_path, load_annotations(toy_data))


def test_real_frames_are_read(shared_real):
    annotations = load_annotations(shared_real)
    assert not annotations.synthetic and len(annotations.annotated_frames()) == 20
    xs = [p.x for f in annotations.frames for t in f.tools for p in t.points]
    assert np.min(xs) >= 0 and np.max(xs) < 854


@pytest.mark.parametrize('change, message', [
    (lambda d: d['images'][0].update(frame_id=99), 'images[0] (id 1): frame_id 99 lies outside clip 1 (10 to 14)'),
    (lambda d: d['images'][0].update(clip_id=3), 'images[0] (id 1): clip 3 is of video 2, the picture of video 1'),
    (lambda d: d['images'][0].pop('frame_id'), "images[0] (id 1): 'frame_id' is missing"),
    (lambda d: d['videos'][1].update(name='a'), 'videos 1 and 2: both are named "a"'),
    (lambda d: d['images'][0].pop('video_id'), '"video_id" is missing, and the file has videos'),
])
def test_a_picture_must_lie_where_its_clip_and_video_say(edit, change, message):
    with pytest.raises(UserError) as error:
        load_annotations(edit(change))
    assert message in str(error.value)


@pytest.mark.parametrize('change, message', [
    (lambda d: d['annotations'][0].update(attributes=['active']), '"attributes" is not an object'),
    (lambda d: d['annotations'][0]['attributes'].update(active='false'), "attributes.active is 'false', not true or"),
    (lambda d: d['images'][0].update(width=float('inf')), 'images[0] (id 1): '),
    (lambda d: d['images'][0].update(id=[1]), 'the id is not a whole number'),
    (lambda d: d['videos'][0].update(frame_pattern='f/{frame:06d}.png'), 'does not take frame_id'),
    (lambda d: d.update(info=['x']), '"info" is not an object'),
    (lambda d: d['annotations'][0].update(segmentation='x'), '"segmentation" is neither polygons nor'),
    (lambda d: d['annotations'][0].update(segmentation=[[1, 2]]), '"segmentation" is no list of polygons'),
    (lambda d: d['annotations'][0].update(segmentation=dict(size=[64, 48], counts='x')),
     '"segmentation" has size [64, 48], the picture [48, 64]'),
    (lambda d: d['annotations'][0].update(segmentation=dict(size=[48, 64], counts=[5, 6])), 'add up to 11 pixels'),
])
def test_values_of_another_kind_are_bad_records(edit, change, message):
    with pytest.raises(UserError) as error:
        load_annotations(edit(change))
    assert message in str(error.value)


def test_a_mask_that_cannot_be_decoded_names_its_annotation(edit):
    broken = dict(size=[48, 64], counts='zzzz')
    tool = load_annotations(edit(lambda d: d['annotations'][0].update(segmentation=broken))).frames[0].tools[0]
    with pytest.raises(UserError, match=r'the mask cannot be decoded.*annotation 1'):
        tool.mask(48, 64)


def test_pictures_in_no_split_are_counted(toy_data, tmp_path):
    annotations = load_annotations(toy_data)
    assert count_line(annotations) == 'pictures: train 4, val 2, test 2'
    for name in ('annotations.json', 'splits.json'):
        (tmp_path / name).write_text((toy_data / name).read_text())
    (tmp_path / 'splits.json').write_text(json.dumps(dict(train=['a'], test=['d'])))
    assert count_line(load_annotations(tmp_path)) == 'pictures: train 2, val 0, test 2; 4 in no split'


def test_a_folder_in_place_of_the_file_is_told(tmp_path):
    (tmp_path / 'annotations.json').mkdir()
    with pytest.raises(UserError, match='annotation file cannot be read'):
        load_annotations(tmp_path)
