"""The page of a data set: it says what the data say, needs nothing else, and survives whatever is broken."""
import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_data import bar_mask, write_toy_data
from video_files import number_of, write_video

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.problems import Problem
from mmpose_surgical.datasets.records import Clip, Frame, Video
from mmpose_surgical.errors import UserError
from mmpose_surgical.visualization.browser.clips import (
    MAX_FRAMES,
    ShownClip,
    choose_clips,
    group_clips,
    places_of,
)
from mmpose_surgical.visualization.browser.page import Options, write_browser


class Page(HTMLParser):
    """A page taken apart: its data, its addresses and tags, its words outside scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.tags, self.words, self.data, self._open = path.read_text(), [], '', None, ''
        self.feed(self.text)
        self.clips = {(clip['kind'], clip['id']): clip for clip in self.data['clips']}

    def handle_starttag(self, tag, attrs):
        self._open = 'data' if dict(attrs).get('id') == 'data' else tag
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self._open == 'data' and self.data is None:
            self.data = json.loads(data)
        elif self._open not in ('style', 'script'):
            self.words += data

    def picture(self, frame: dict) -> np.ndarray:
        jpeg = self.data['pictures'][frame['picture']].removeprefix('data:image/jpeg;base64,')
        return cv2.imdecode(np.frombuffer(base64.b64decode(jpeg), np.uint8), cv2.IMREAD_COLOR)


def browse(root: Path, out: Path, **options) -> Page:
    write_browser(root, out, Options(**options))
    return Page(out)


def change(root: Path, edit) -> Path:
    """Let ``edit`` change the records of ``annotations.json``."""
    path = root / 'annotations.json'
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    return root


def numbers(clip: dict) -> list[int]:
    return [frame['number'] for frame in clip['frames']]


def test_frames_points_masks_and_windows_are_those_of_the_data(toy_data, tmp_path):
    page = browse(toy_data, tmp_path / 'p.html')
    assert [(c['id'], c['video'], c['split'], c['actions']) for c in page.data['clips']] == [
        (1, 'a', 'train', ['grasp']), (2, 'a', 'train', ['idle']), (3, 'b', 'train', ['grasp']),
        (4, 'b', 'train', ['idle']), (5, 'c', 'val', ['grasp']), (6, 'c', 'val', ['idle']),
        (7, 'd', 'test', ['grasp']), (8, 'd', 'test', ['idle'])]
    clip = page.clips['clip', 2]
    assert (clip['first'], clip['last'], clip['fps'], clip['dense'], clip['annotated'], clip['source']) == (
        15, 19, 10, True, 1, 'toy')
    assert numbers(clip) == [15, 16, 17, 18, 19] and clip['problems'] == []
    assert [frame.get('image') for frame in clip['frames']] == [None, None, 2, None, None]
    assert clip['frames'][2]['window'] == [15, 16, 17, 18, 19]  # 0.12 s at 10 frames/s: each frame
    assert len(page.data['pictures']) == 40 and len(set(frame['picture'] for frame in clip['frames'])) == 5
    truth = json.loads((toy_data / 'annotations.json').read_text())['annotations'][:2]  # both bars of clip 1
    shown = page.clips['clip', 1]['frames'][2]
    assert (shown['image'], shown['size'], shown['annotated']) == (1, [64, 48], True)
    assert [(t['tool'], t['action'], t['active']) for t in shown['tools']] == [
        ('grasper', 'grasp', True), ('grasper', None, False)]
    for tool, record in zip(shown['tools'], truth):
        x, y = record['keypoints'][:2]
        assert tool['points'] == [['tip1', 'tip', round(x, 2), round(y, 2), 2],
                                  ['anchor', 'anchor', round(x + 16, 2), round(y, 2), 2]]
        rows, columns = np.nonzero(bar_mask(x, y))
        corners = {(x, y) for x in (columns.min(), columns.max()) for y in (rows.min(), rows.max())}
        assert {tuple(map(int, corner.split())) for corner in re.split('[MLZ]', tool['path']) if corner} == corners
    picture = page.picture(shown)
    x, y = truth[0]['keypoints'][:2]
    assert picture.shape == (48, 64, 3) and picture[round(y), round(x) + 8].min() > 180  # the point lies on its bar


def test_windows_are_those_that_training_reads(tmp_path):
    root = write_toy_data(tmp_path / 'toy')
    page = browse(root, tmp_path / 'p.html', spacing=0.2)
    assert page.clips['clip', 1]['frames'][2]['window'] == [10, 10, 12, 14, 14]
    single = browse(write_toy_data(tmp_path / 'sparse', dense=False), tmp_path / 'p.html').clips['clip', 1]
    assert numbers(single) == [12] and single['frames'][0]['window'] == [12] * 5
    no_rate = browse(change(root, lambda data: data['videos'][0].pop('fps')), tmp_path / 'p.html').clips['clip', 1]
    assert no_rate['frames'][2]['window'] == []
    assert no_rate['frames'][2]['no_window'] == 'video "a" is dense but has no "fps"'


def test_pictures_without_a_clip_bring_their_windows_and_are_embedded_once(tmp_path):
    def without_clips(data):
        data['clips'] = []
        for image in data['images']:
            del image['clip_id']
        data['images'] = [dict(data['images'][0], id=i, frame_id=n, file_name=f'frames/a/{n:06d}.png', annotated=yes)
                          for i, n, yes in ((1, 12, True), (2, 14, True), (3, 18, False))]
        data['annotations'] = data['annotations'][:2]
    page = browse(change(write_toy_data(tmp_path / 'toy'), without_clips), tmp_path / 'p.html')
    assert list(page.clips) == [('image', 1), ('image', 2)]  # image 3 is not annotated
    first, second = page.data['clips']
    assert numbers(first) == [10, 11, 12, 13, 14] and numbers(second) == [12, 13, 14, 15, 16]
    assert len(page.data['pictures']) == 7
    assert first['frames'][2]['picture'] == second['frames'][0]['picture']
    assert second['actions'] == ['idle'] and 'image' not in second['frames'][0]


def long_clip(annotated: list[int], end: int = 299, dense: bool = True) -> ShownClip:
    video = Video(1, 'v', fps=25, dense=dense, frame_pattern='{frame_id}.jpg')
    record = Clip(1, 1, 0, end, 'grasp')
    frames = [Frame(i, None, 64, 48, video, number, True, record) for i, number in enumerate(annotated)]
    return ShownClip('clip', 1, frames, ('grasp',))


def test_long_clips_are_thinned_out_but_keep_what_is_annotated():
    places = places_of(long_clip([7, 150]), Path(), 5, 0.12)
    found = [place.number for place in places]
    assert len(found) <= MAX_FRAMES and {0, 299} <= set(found)
    assert {1, 4, 7, 10, 13, 144, 147, 150, 153, 156} <= set(found)
    assert max(np.diff(found)) < 30
    assert [place.window for place in places if place.frame] == [(1, 4, 7, 10, 13), (144, 147, 150, 153, 156)]
    many = list(range(0, 120, 3))
    assert [place.number for place in places_of(long_clip(many), Path(), 5, 0.12)] == many
    assert [place.number for place in places_of(long_clip([3], end=9), Path(), 5, 0.12)] == list(range(10))
    assert [place.number for place in places_of(long_clip([3, 9], dense=False), Path(), 5, 0.12)] == [3, 9]
    assert len(places_of(long_clip([5], end=10 ** 30), Path(), 5, 0.12)) <= MAX_FRAMES


def test_problems_stand_at_their_clip(tmp_path):
    root = write_toy_data(tmp_path / 'toy')

    def spoil(data):
        data['annotations'][0]['keypoints'][:2] = 70, 9  # tip1 of image 1
        data['clips'][4]['action'] = 'weave'
        data['clips'].append(dict(id=77, video_id=1, start_frame=900, end_frame=910, action='grasp'))
        data['annotations'].append(dict(id=99, image_id=12345, category_id=1))
    (root / 'frames/d/000018.png').unlink()
    page = browse(change(root, spoil), tmp_path / 'p.html')
    found = {key: [(p['title'], p['what'], p['frame'], p['harmless']) for p in clip['problems']]
             for key, clip in page.clips.items() if clip['problems']}
    assert found == {
        ('clip', 1): [('point outside its picture', 'tip1 at (70, 9), the picture is 64x48', 12, False)],
        ('clip', 5): [('unknown action', '"weave"', None, False)],
        ('clip', 8): [('window reaches for a frame that is missing', 'frames/d/000018.png is missing', 17, False)]}
    assert '2 problems about none of these clips' in page.words
    for words in ('annotations[16] (id 99): image_id 12345 is unknown', 'clip 77: frames 900 to 910'):
        assert words in page.words
    assert str(tmp_path) not in page.text
    few = browse(root, tmp_path / 'p.html', clips=1)  # one with a problem is shown first, those of others are listed
    assert few.data['clips'][0]['problems'] and '4 problems about none of these clips' in few.words
    unseen = browse(root, tmp_path / 'p.html', validate=False)
    assert not any(clip['problems'] for clip in unseen.data['clips']) and 'not looked for' in unseen.words
    assert '1 problem about none of these clips' in unseen.words  # what could not be read is not there


def test_broken_pictures_masks_and_splits_stop_nothing(tmp_path):
    root = write_toy_data(tmp_path / 'toy')
    (root / 'frames/a/000012.png').write_bytes(b'no picture')
    (root / 'frames/b/000011.png').unlink()
    cv2.imwrite(str(root / 'frames/c/000012.png'), np.zeros((96, 128, 3), np.uint8))
    (root / 'splits.json').write_text('{"train": ["nobody"]}')

    def cut_mask(data):
        data['annotations'][12]['segmentation']['counts'] = data['annotations'][12]['segmentation']['counts'][:-2]
    page = browse(change(root, cut_mask), tmp_path / 'p.html')
    errors = {(clip['video'], frame['number']): (frame['picture'] is None, frame['errors'][0])
              for clip in page.data['clips'] for frame in clip['frames'] if frame['errors']}
    assert set(errors) == {('a', 12), ('b', 11), ('c', 12), ('d', 12)}
    assert errors['a', 12] == (True, 'picture cannot be decoded (frames/a/000012.png). Fix: restore the file, it is '
                               'truncated or no picture.')
    assert errors['b', 11][0] and 'frames/b/000011.png' in errors['b', 11][1]
    assert errors['c', 12] == (False, 'the picture is 128x96, its record says 64x48')
    assert 'the mask cannot be decoded' in errors['d', 12][1]
    assert page.clips['clip', 1]['frames'][2]['tools'][0]['points']  # the points of the lost picture are told
    assert {clip['split'] for clip in page.data['clips']} == {'none'} and 'mistake in splits.json' in page.words
    with pytest.raises(UserError, match='nobody'):
        browse(root, tmp_path / 'p.html', splits=('train',))


def test_the_page_is_cut_to_its_size(toy_data, tmp_path):
    out = tmp_path / 'p.html'
    whole = write_browser(toy_data, out)
    assert (whole.clips, whole.total, whole.pictures, whole.notes) == (8, 8, 40, ())
    assert whole.bytes == out.stat().st_size
    limit = whole.bytes - 8000
    cut = write_browser(toy_data, out, Options(limit=limit))
    page = Page(out)
    assert 0 < cut.clips < 8 and out.stat().st_size <= limit and len(page.clips) == cut.clips
    note = f'{8 - cut.clips} of 8 clips are left out to keep the page below {limit / 1e6:g} MB (--max-mb)'
    assert cut.notes == (note,) and note in page.words
    assert {f['picture'] for c in page.data['clips'] for f in c['frames']} == set(range(len(page.data['pictures'])))
    few = write_browser(toy_data, out, Options(clips=3))
    assert few.notes == ('5 of 8 clips are left out: at most 3 were asked for (--clips)',)
    before = out.read_bytes()
    with pytest.raises(UserError, match='not one clip fits into 0.02 MB'):
        write_browser(toy_data, out, Options(limit=20_000))
    assert out.read_bytes() == before


def test_clips_are_chosen_from_all_videos_and_actions_and_half_of_them_with_problems(toy_data):
    clips = group_clips(load_annotations(toy_data))
    four = choose_clips(clips, 4)
    assert {clip.video.name for clip in four} == set('abcd')
    assert sorted(clip.actions for clip in four) == [('grasp',)] * 2 + [('idle',)] * 2
    assert sorted(clip.id for clip in choose_clips(clips, 99)) == list(range(1, 9))
    for clip in clips[2:6]:
        clip.problems.append(Problem('outside', '', '', ''))
    clips[0].problems.append(Problem('no_action', '', '', ''))  # a remark
    assert [clip.problems and clip.problems[0].kind == 'outside' for clip in choose_clips(clips, 4)][:2] == [True] * 2
    assert {clip.video.name for clip in choose_clips(clips, 4)} == set('abcd')


def test_videos_and_splits_are_picked_by_name(toy_data, tmp_path):
    out = tmp_path / 'p.html'
    assert {c['video'] for c in browse(toy_data, out, splits=('val', 'fold0')).data['clips']} == {'c', 'a'}
    assert {c['video'] for c in browse(toy_data, out, splits=('train',), videos=('b', 'd')).data['clips']} == {'b'}
    with pytest.raises(UserError, match='unknown videos.*: zz'):
        browse(toy_data, out, videos=('zz',))
    with pytest.raises(UserError, match='no clip and no annotated picture'):
        browse(toy_data, out, splits=('val',), videos=('d',))


def test_names_cannot_break_out_and_nothing_comes_from_elsewhere(tmp_path):
    name, action, broken = '</script><b onload="x">', '<!--<script>"&\'', 'half \ud800'
    root = write_toy_data(tmp_path / 'x & <i>y')

    def rename(data):
        data['videos'][0].update(name=name, source=action)
        data['videos'][1].update(source=broken)
        data['annotations'][0]['attributes']['action'] = action
        data['annotations'].append(dict(id=name, image_id=action))
        data['images'][0]['attributes'] = {action: [name, float('nan')]}
    change(root, rename)
    (root / 'splits.json').write_text(json.dumps(dict(test=[name])))
    page = browse(root, tmp_path / 'p.html')
    clip = page.clips['clip', 1]
    assert (clip['video'], clip['source'], clip['actions'], clip['split']) == (name, action, [action], 'test')
    assert page.clips['clip', 3]['source'] == broken
    assert clip['frames'][2]['about'] == f'{action} {name}, nan'
    assert not {'b', 'i'} & {tag for tag, _ in page.tags} and sum(tag == 'script' for tag, _ in page.tags) == 2
    assert 'Clips of x & <i>y' in page.words and action in page.words  # among the sources
    assert '://' not in page.text and '@import' not in page.text and 'url(' not in page.text
    assert {attrs[key] for _, attrs in page.tags for key in ('src', 'href') if attrs.get(key)} == {'#viewer'}
    assert not any(key.startswith('on') for _, attrs in page.tags for key in attrs)
    assert '&#39;' not in re.search('<style>.*</style>', page.text, re.DOTALL)[0]
    assert 'synthetic data' in page.words
    real = browse(write_toy_data(tmp_path / 'real', synthetic=False), tmp_path / 'p.html')
    assert 'synthetic' not in real.words


def test_frames_come_from_video_files(tmp_path):
    write_video(tmp_path / 'whole.mp4', 30)
    write_video(tmp_path / 'clip.mp4', 4, first=100)
    image = dict(width=96, height=64, annotated=True)
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(
        videos=[dict(id=1, name='v', fps=25, video_file='whole.mp4'), dict(id=2, name='w', fps=25, dense=True)],
        clips=[dict(id=5, video_id=1, start_frame=8, end_frame=13, action='clip'),
               dict(id=6, video_id=2, start_frame=100, end_frame=103, action='clip', video_file='clip.mp4')],
        images=[dict(image, id=1, video_id=1, frame_id=10, clip_id=5), dict(image, id=2, video_id=1, frame_id=29),
                dict(image, id=3, video_id=2, frame_id=101, clip_id=6)],
        categories=[dict(id=1, name='hook', keypoints=['tip1', 'anchor'])], annotations=[])))
    page = browse(tmp_path, tmp_path / 'p.html', width=48)
    clips = page.clips
    assert numbers(clips['clip', 5]) == [8, 9, 10, 11, 12, 13]
    assert numbers(clips['image', 2]) == [23, 26, 29]
    assert clips['image', 2]['frames'][2]['window'] == [23, 26, 29, 29, 29]
    assert numbers(clips['clip', 6]) == [100, 101, 102, 103]
    for clip in clips.values():
        for frame in clip['frames']:
            picture = page.picture(frame)
            assert picture.shape == (32, 48, 3) and frame['size'] == [96, 64]
            assert number_of(cv2.resize(picture, (96, 64))) == frame['number']


def test_plain_coco_files_are_shown(tmp_path):
    cv2.imwrite(str(tmp_path / 'x.png'), np.full((48, 64, 3), 99, np.uint8))
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(
        images=[dict(id=4, file_name='x.png', width=64, height=48)],
        categories=[dict(id=1, name='hook', keypoints=['tip', 'anchor'])],
        annotations=[dict(id=1, image_id=4, category_id=1, keypoints=[3, 4, 1, 0, 0, 0])])))
    clip, = browse(tmp_path, tmp_path / 'p.html').data['clips']
    assert (clip['kind'], clip['id'], clip['video'], clip['split'], clip['actions'], clip['dense']) == (
        'image', 4, 'x.png', 'test', ['unnamed'], False)
    assert clip['frames'][0]['tools'][0]['points'] == [['tip', 'tip', 3, 4, 1]]
    assert clip['frames'][0]['tools'][0]['path'] == '' and clip['frames'][0]['window'] == [0] * 5


@pytest.mark.skipif(not shutil.which('node'), reason='no node')
def test_the_script_is_javascript(root):
    script = root / 'mmpose_surgical/visualization/browser/templates/browse.js'
    done = subprocess.run(['node', '--check', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
