import os

import cv2
import numpy as np
import pytest
from video_files import number_of, picture, write_video

from mmpose_surgical.apis import sources
from mmpose_surgical.apis.sources import open_source
from mmpose_surgical.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Pictures whose numbers do not sort as words do."""
    place = tmp_path / 'frames'
    place.mkdir()
    for number in (2, 10, 9, 100):
        cv2.imwrite(str(place / f'f{number}.png'), picture(number))
    (place / 'notes.txt').write_text('no picture')
    return place


def numbers(frames):
    return [None if frame.picture is None else number_of(frame.picture) for frame in frames]


def test_a_video_tells_its_frames_their_times_and_its_rate(tmp_path):
    source = open_source(write_video(tmp_path / 'v.mp4', 30, fps=25))
    frames = list(source.frames())
    assert (source.length, round(source.fps, 6), source.name) == (30, 25, 'v.mp4')
    assert numbers(frames) == [frame.index for frame in frames] == list(range(30))
    assert [round(frame.time, 6) for frame in frames[:3]] == [0, 0.04, 0.08]
    assert numbers(source.frames(17)) == list(range(17, 30)) and numbers(source.frames(30)) == []


def test_times_of_an_uneven_video_are_its_own(tmp_path):
    source = open_source(write_video(tmp_path / 'v.mp4', 4, ticks=[100, 120, 220, 230]))
    assert [round(frame.time, 6) for frame in source.frames()] == [0, 0.02, 0.12, 0.13] and source.uneven


def test_a_video_of_one_frame_has_no_rate_of_its_own(tmp_path):
    path = write_video(tmp_path / 'v.mp4', 1)
    assert open_source(path).fps is None and open_source(path, 25).fps == 25


def test_a_folder_goes_by_the_numbers_in_its_names(folder):
    source = open_source(folder, fps=10)
    frames = list(source.frames())
    assert numbers(frames) == [2, 9, 10, 100] and [frame.time for frame in frames] == [0, 0.1, 0.2, 0.3]
    assert [frame.name for frame in frames] == ['f2.png', 'f9.png', 'f10.png', 'f100.png']
    assert [frame.index for frame in source.frames(2)] == [2, 3]


def test_what_cannot_be_read_keeps_its_place(folder):
    (folder / 'f9.png').write_bytes(b'no picture')
    cv2.imwrite(str(folder / 'f10.png'), picture(10, 48, 32))
    frames = list(open_source(folder).frames())
    assert numbers(frames) == [2, None, None, 100]
    assert 'cannot be decoded' in frames[1].problem and frames[2].problem == 'the picture is 48x32, the first is 96x64'


def test_frames_at_hand_are_taken_one_by_one(folder):
    taken = []

    def frames():
        for number in (5, 6):
            taken.append(number)
            yield picture(number)
        yield None
        yield folder / 'f100.png'

    source = open_source(frames(), fps=2)
    iterator = source.frames()
    assert next(iterator).index == 0 and taken == [5]
    rest = list(iterator)
    assert numbers(rest) == [6, None, 100] and rest[-1].time == 1.5 and source.length is None
    assert rest[1].problem == 'no picture was given'
    assert open_source([picture(1)] * 3).length == 3


@pytest.mark.parametrize('wrong', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_a_picture_of_another_kind_is_refused(wrong):
    with pytest.raises(UserError, match=r'frame 1\).*cvtColor'):
        list(open_source([picture(0), wrong]).frames())


def test_what_is_no_source_is_told(tmp_path, folder):
    video = write_video(tmp_path / 'v.mp4', 3)
    (tmp_path / 'empty').mkdir()
    for source, fps, message in ((tmp_path / 'nothing.mp4', None, 'no such video or folder'), (video, 25, 'leave fps'),
                                 (tmp_path / 'empty', None, 'no pictures in the folder'),
                                 (folder / 'f2.png', None, 'this is one picture'), (3.5, None, 'float is no source'),
                                 ([], 0, 'fps is 0')):
        with pytest.raises(UserError, match=message):
            open_source(source, fps)


def test_a_camera_is_read_until_it_ends_and_let_go(tmp_path, monkeypatch):
    path = str(write_video(tmp_path / 'v.mp4', 5, fps=20))
    opened = []

    def capture(number):
        opened.append((number, cv2_capture(path)))
        return opened[-1][1]

    cv2_capture = cv2.VideoCapture
    monkeypatch.setattr(sources.cv2, 'VideoCapture', capture)
    source = open_source(1)
    frames = list(source.frames())
    assert source.fps == 20 and source.length is None and open_source(1, fps=7).fps == 7
    assert [frame.index for frame in frames] == list(range(5))
    assert all(a.time <= b.time for a, b in zip(frames, frames[1:]))
    assert opened[0][0] == 1 and not opened[0][1].isOpened()


def test_a_camera_that_is_not_there_is_told(monkeypatch, tmp_path):
    cv2_capture = cv2.VideoCapture
    monkeypatch.setattr(sources.cv2, 'VideoCapture', lambda number: cv2_capture(str(tmp_path / 'none.mp4')))
    with pytest.raises(UserError, match='camera 0 cannot be opened'):
        open_source(0)


@pytest.mark.parametrize(('number', 'expected'), [(0, 0), (1, 1), (5, 1), (8, 1), (9, 9), (11, 11), (50, 11)])
def test_a_stream_that_begins_in_a_hole_begins_before_it(tmp_path, number, expected):
    for frame in range(12):
        path = tmp_path / f'{frame}.png'
        if 2 <= frame <= 8:
            path.write_bytes(b'broken')
        else:
            cv2.imwrite(str(path), picture(frame))
    assert open_source(tmp_path, 10).readable_before(number) == expected
    assert open_source([picture(0)] * 12, 10).readable_before(number) == 0


def test_a_folder_whose_name_is_no_text_can_be_printed(tmp_path):
    folder = tmp_path / os.fsdecode(b'\xff')
    folder.mkdir()
    cv2.imwrite(str(tmp_path / 'x.png'), picture(0))
    (tmp_path / 'x.png').rename(folder / 'x.png')
    assert open_source(folder, 10).name.encode() == b'\\udcff'
