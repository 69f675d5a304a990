import json
import shutil

import cv2
import numpy as np
import pytest
from data_tools import data_tool
from video_files import write_video

from mmpose_surgical.datasets.problems import KINDS
from mmpose_surgical.datasets.validation import difference_hash, validate
from mmpose_surgical.errors import UserError


@pytest.fixture
def data(toy_data, tmp_path):
    """A copy of the toy data whose pictures show something, and a function that changes its annotations."""
    root = tmp_path / 'data'
    shutil.copytree(toy_data, root)
    rng = np.random.default_rng(0)
    for path in sorted(root.glob('frames/*/*.png')):
        noise = cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), noise)

    def edit(change, name='annotations.json'):
        content = json.loads((root / name).read_text())
        change(content)
        (root / name).write_text(json.dumps(content))
        return root
    return root, edit


def found(root, **options):
    """``{kind: [(record, what)]}``"""
    by_kind = {}
    for problem in validate(root, **options).problems:
        by_kind.setdefault(problem.kind, []).append((problem.record, problem.what))
    return by_kind


def test_good_data_has_no_problem(data):
    root, _ = data
    result = validate(root)
    # Eight annotated frames; windows of five at 10 fps cover the whole clips of five.
    assert result.problems == [] and result.passed and result.pictures == 4 * 2 * 5


def test_all_problems_at_once(data):
    root, edit = data

    def spoil(content):
        content['annotations'][0]['keypoints'][:3] = [64, 5, 2]       # just outside of 64 pixels
        content['annotations'][0]['attributes']['action'] = 'grap'
        content['annotations'][1]['keypoints'] = [1, 2]
        content['annotations'][4]['attributes']['action'] = None
        content['videos'].append(dict(id=9, name='empty'))
        content['clips'].append(dict(id=99, video_id=1, start_frame=0, end_frame=3, action='cut'))
        content['videos'][3]['frame_pattern'] = '../elsewhere/{frame_id:06d}.png'
    edit(spoil)
    edit(lambda content: content.update(val=[], folds=[]), 'splits.json')
    (root / 'frames/a/000012.png').unlink()
    (root / 'frames/b/000010.png').unlink()
    (root / 'frames/b/000017.png').write_bytes((root / 'frames/b/000017.png').read_bytes()[:60])
    cv2.imwrite(str(root / 'frames/c/000012.png'), np.zeros((24, 32, 3), np.uint8))
    cv2.imwrite(str(root / 'frames/c/000017.png'), np.zeros((48, 64, 3), np.uint8))
    problems = found(root)
    records = dict(problems['record'])
    assert 'leaves the data set folder' in records['videos[3] (id 4)']
    assert records['annotations[1] (id 2)'].startswith('2 keypoint numbers')
    assert problems['outside'] == [('annotation 1 (image 1)', 'tip1 at (64, 5), the picture is 64x48')]
    assert problems['action'] == [('annotation 1 (image 1)', '"grap"'), ('clip 99', '"cut"')]
    assert [record for record, _ in problems['no_action']] == ['annotation 5 (image 3)']
    assert problems['empty_video'] == [('video 9', 'empty')]
    assert ('clip 99', 'frames 0 to 3') in problems['empty_clip']
    assert [record for record, _ in problems['missing']] == ['image 1 (video "a", frame 12)']
    assert problems['window'] == [('image 3 (video "b", frame 12)', f'{root}/frames/b/000010.png is missing')]
    assert [record for record, _ in problems['damaged']] == ['image 4 (video "b", frame 17)']
    assert problems['size'] == [('image 5 (video "c", frame 12)', 'it is 32x24, the record says 64x48')]
    assert [record for record, _ in problems['blank']] == ['image 6 (video "c", frame 17)']
    # "d" went with its record, so splits.json names a video that is not known.
    assert problems['split'] == [('', 'video "d" is not in the annotations; correct the split file')]
    assert not validate(root).passed


def test_without_decoding_only_what_records_and_names_tell(data):
    root, _ = data
    (root / 'frames/b/000017.png').write_bytes(b'')
    assert found(root, decode=False) == {}
    assert list(found(root)) == ['damaged']


def test_video_in_no_split_is_a_remark(data):
    root, edit = data
    edit(lambda content: content.update(test=[]), 'splits.json')
    assert found(root) == dict(no_split=[('video "d"', 'it is not used')]) and validate(root).passed


def test_a_copied_frame_across_splits_is_found(data):
    root, _ = data
    picture = cv2.imread(str(root / 'frames/a/000012.png'))
    small = cv2.resize(picture, (48, 36), interpolation=cv2.INTER_AREA)  # as if from another encoding
    again = np.clip(cv2.resize(small, (64, 48)) * 0.9 + 12, 0, 255)
    cv2.imwrite(str(root / 'frames/d/000012.png'), again)
    (record, what), = found(root)['duplicate']
    assert record == 'videos "a" (train) and "d" (test)' and what.startswith('1 pair(s), e.g. images 1 and 7')
    shutil.copy(root / 'frames/a/000012.png', root / 'frames/b/000012.png')  # both for training
    assert [record for record, _ in found(root)['duplicate']] == [
        'videos "a" (train) and "d" (test)', 'videos "b" (train) and "d" (test)', 'videos "a" (fold0) and "b" (fold1)']


def test_hash_is_of_what_is_seen():
    rng = np.random.default_rng(1)
    grey = cv2.resize(rng.integers(0, 255, (12, 16), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    other = cv2.resize(rng.integers(0, 255, (12, 16), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    bits = difference_hash(grey)
    assert bits.shape == (256,)
    assert (bits != difference_hash(np.clip(grey * 0.8 + 20, 0, 255).astype(np.uint8))).sum() <= 12
    assert (bits != difference_hash(other)).sum() > 80
    ramp = np.tile(np.arange(0, 170, dtype=np.uint8), (160, 1))
    assert difference_hash(ramp).all() and not difference_hash(ramp[:, ::-1]).any()


def test_frames_in_a_video_file(tmp_path):
    write_video(tmp_path / 'case.mp4', 30)
    record = dict(
        videos=[dict(id=1, name='case', fps=25, video_file='case.mp4')], categories=[
            dict(id=1, name='hook', keypoints=['tip1', 'anchor'])],
        images=[dict(id=k, video_id=1, frame_id=n, width=96, height=64) for k, n in ((1, 5), (2, 29), (3, 30))],
        annotations=[dict(id=k, image_id=k, category_id=1, keypoints=[1, 2, 2, 3, 4, 2],
                          attributes=dict(action='dissect')) for k in (1, 2, 3)])
    (tmp_path / 'annotations.json').write_text(json.dumps(record))
    problems = found(tmp_path)
    assert problems == dict(damaged=[
        ('image 3 (video "case", frame 30)', 'there is no frame 30; the file has frames 0 to 29')])
    content = (tmp_path / 'case.mp4').read_bytes()
    (tmp_path / 'case.mp4').write_bytes(content[:len(content) // 2])
    assert set(found(tmp_path)) <= {'damaged', 'window', 'missing'} and not validate(tmp_path).passed
    (tmp_path / 'case.mp4').unlink()
    assert list(found(tmp_path)) == ['missing']


def test_damaged_mask_and_tool_of_two_minds(data):
    root, edit = data

    def spoil(content):
        mask = content['annotations'][0]['segmentation']
        mask['counts'] = mask['counts'][:len(mask['counts']) // 2]
        content['annotations'][1]['attributes']['tool'] = 'hook'
        content['categories'].append(dict(id=9, name='x', keypoints=['shaft']))
        content['annotations'][2]['category_id'] = 9
    edit(spoil)
    problems = found(root)
    (record, what), = problems['mask']
    assert record == 'annotation 1 (image 1)' and 'add up to' in what
    assert problems['tool'] == [('annotation 2 (image 1)', 'attributes.tool is "hook", its category "grasper"')]
    # What follows from a bad category is not told again for each of its annotations.
    assert [record for record, _ in problems['record']] == ['categories[1] (id 9)']


@pytest.mark.parametrize('content, what', [(None, 'annotation file not found'), ('{', 'not valid JSON'),
                                           ('{"images": 3}', '"images" is not a list')])
def test_file_that_cannot_be_read_is_one_problem(tmp_path, content, what, capsys):
    if content is not None:
        (tmp_path / 'annotations.json').write_text(content)
    problem, = validate(tmp_path).problems
    assert problem.kind == 'file' and what in problem.what
    assert data_tool('validate', tmp_path) == 1 and 'PROBLEM: 1 x file cannot be read' in capsys.readouterr().out


def test_the_verb_groups_and_exits(data, tmp_path, capsys):
    root, edit = data
    assert data_tool('validate', root) == 0
    assert '40 pictures decoded, 0 problem(s), 0 remark(s)' in capsys.readouterr().out

    def spoil(content):
        for record in content['annotations']:
            record['keypoints'][0] = -5
    edit(spoil)
    assert data_tool('validate', root, '--show', 2, '--json', tmp_path / 'found.json', '--no-decode') == 1
    said = capsys.readouterr().out
    assert 'PROBLEM: 16 x point outside its picture. Fix: set its v to 0' in said and 'and 14 more' in said
    assert said.count('tip1 at (-5') == 2
    record = json.loads((tmp_path / 'found.json').read_text())
    assert not record['passed'] and len(record['problems']) == 16
    assert record['problems'][0] == dict(
        kind='outside', file=str(root / 'annotations.json'), record='annotation 1 (image 1)',
        what=record['problems'][0]['what'], fix=KINDS['outside'].fix, harmless=False)
    assert data_tool('validate', root, '--json', '-', '--no-decode') == 1
    assert json.loads(capsys.readouterr().out) == record


def test_options_that_are_none(data):
    root, _ = data
    for words in (('--spacing', 'nan'), ('--spacing', '1e400'), ('--num-frames', '0')):
        with pytest.raises(UserError, match='--num-frames is at least 1'):
            data_tool('validate', root, *words)


def test_words_for_actions(data):
    root, edit = data
    edit(lambda content: [record.update(attributes=dict(active=True, action='cut'))
                          for record in content['annotations'][:1]])
    assert list(found(root)) == ['action']
    assert found(root, actions=('grasp', 'cut')) == {}


def test_real_frames_pass(shared_real):
    assert validate(shared_real, actions=('clip', 'grasp', 'dissect', 'retract', 'idle')).passed
