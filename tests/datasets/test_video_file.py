import os

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_files import damaged, number_of, picture, write_video

from mmpose_surgical.datasets import video_file
from mmpose_surgical.datasets.video_file import VideoFile, index_of, open_video, read_in_order
from mmpose_surgical.errors import UserError

COUNT = 60


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('videos')
    rng = np.random.default_rng(0)
    uneven = np.cumsum(rng.integers(10, 90, COUNT)).tolist()
    return dict(
        short=write_video(folder / 'short.mp4', COUNT, gop=12), long=write_video(folder / 'long.mp4', COUNT, gop=250),
        uneven=write_video(folder / 'uneven.mp4', COUNT, gop=12, ticks=uneven),
        odd=write_video(folder / 'odd.mp4', COUNT, size=(101, 67), pix_fmt='yuv444p'),
        matroska=write_video(folder / 'v.mkv', COUNT), mpeg4=write_video(folder / 'v.avi', COUNT, codec='mpeg4'),
        # Its container finds places by time, and often beyond the key picture.
        stream=write_video(folder / 'v.ts', COUNT))


@pytest.fixture(scope='module')
def in_order(videos):
    """All frames of each, decoded one after the other."""
    def decode(path):
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format='bgr24') for frame in container.decode(video=0)]
    return {name: decode(path) for name, path in videos.items()}


@pytest.mark.parametrize('name', ['short', 'long', 'uneven', 'odd', 'matroska', 'mpeg4'])
def test_any_frame_equals_the_one_of_a_whole_decoding(name, videos, in_order):
    video = VideoFile(videos[name])
    assert len(video) == len(in_order[name]) == COUNT
    assert [number_of(frame) for frame in in_order[name]] == list(range(COUNT))
    rng = np.random.default_rng(1)
    for number in [0, COUNT - 1, 0, 11, 12, 13, *rng.integers(0, COUNT, 40).tolist()]:
        assert (video.read(number) == in_order[name][number]).all(), number
    video.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=6))
def test_order_of_reading_does_not_matter(videos, in_order, numbers):
    for name in ('long', 'uneven'):
        video = open_video(videos[name])
        for number in numbers:
            assert (video.read(number) == in_order[name][number]).all()


def test_uneven_frame_rate_is_counted_in_frames(videos):
    index = index_of(videos['uneven'])
    assert len(np.unique(np.diff(index.pts))) > 10
    assert index.fps == pytest.approx((COUNT - 1) / ((index.pts[-1] - index.pts[0]) * index.seconds_per_tick))
    assert index_of(videos['short']).fps == pytest.approx(25)


@pytest.mark.parametrize('rotation, turn', [(90, cv2.ROTATE_90_COUNTERCLOCKWISE), (-90, cv2.ROTATE_90_CLOCKWISE),
                                            (180, cv2.ROTATE_180)])
def test_rotation_flag_turns_the_picture_upright(tmp_path, rotation, turn):
    turned = VideoFile(write_video(tmp_path / 'v.mp4', 3, rotation=rotation)).read(1)
    expected = cv2.rotate(picture(1), turn)
    assert turned.shape == expected.shape
    assert np.abs(turned.astype(int) - expected).mean() < 8
    capture = cv2.VideoCapture(str(tmp_path / 'v.mp4'))  # another reader that knows the flag
    assert np.abs(turned.astype(int) - capture.read()[1]).mean() < 40 and capture.read()[1].shape == turned.shape


def test_caller_may_change_what_it_got(videos, in_order):
    video = VideoFile(videos['short'])
    video.read(5)[:] = 0
    assert (video.read(5) == in_order['short'][5]).all()


def test_few_videos_stay_open(videos, monkeypatch):
    monkeypatch.setattr(video_file, 'MAX_OPEN', 2)
    monkeypatch.setattr(video_file, '_OPEN', type(video_file._OPEN)())
    first = open_video(videos['short'])
    assert open_video(videos['short']) is first
    for name in ('long', 'odd', 'mpeg4'):
        open_video(videos[name])
    assert list(video_file._OPEN) == [videos['odd'], videos['mpeg4']]


def test_forked_process_opens_its_own(videos, in_order):
    parent = open_video(videos['long'])
    parent.read(3)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        own = open_video(videos['long'])
        good = own is not parent and (own.read(40) == in_order['long'][40]).all()
        os.write(writer, b'y' if good else b'n')
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b'y'
    assert (parent.read(4) == in_order['long'][4]).all()


def test_bad_files_are_named(tmp_path, videos):
    with pytest.raises(UserError, match=r'there is no frame 60 .*short.mp4.*frames 0 to 59'):
        VideoFile(videos['short']).read(60)
    with pytest.raises(UserError, match='video cannot be read: No such file.*gone.mp4'):
        VideoFile(tmp_path / 'gone.mp4')
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(UserError, match='truncated or no video'):
        VideoFile(tmp_path / 'text.mp4')
    content = videos['short'].read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(content[:len(content) // 2])
    with pytest.raises(UserError, match='cut.mp4'):
        VideoFile(tmp_path / 'cut.mp4').read(COUNT - 1)


def test_reading_in_order_gives_every_frame_once(videos):
    for name in videos:
        found = [(number, number_of(frame)) for number, frame in read_in_order(videos[name])]
        assert found == [(number, number) for number in range(COUNT)], name
    for name in ('short', 'matroska', 'mpeg4', 'stream'):
        for start in (1, 11, 12, 13, 25, 37, COUNT - 1, COUNT):
            found = [(number, number_of(frame)) for number, frame in read_in_order(videos[name], start)]
            assert found == [(number, number) for number in range(start, COUNT)], (name, start)


def test_damage_leaves_every_other_frame_its_number(videos, tmp_path):
    path = damaged(videos['short'], tmp_path / 'damaged.mp4', 20, 21)
    found = dict(read_in_order(path))
    assert list(found) == list(range(COUNT))
    lost = [number for number, frame in found.items() if frame is None]
    assert lost and set(lost) < set(range(12, 24))  # the group of pictures that was hit
    assert all(number_of(frame) == number for number, frame in found.items() if not 12 <= number < 24)
