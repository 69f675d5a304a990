from pathlib import Path

import pytest

from mmpose_surgical.datasets.records import Clip, Frame, Video
from mmpose_surgical.datasets.windows import window_files, window_frame_ids
from mmpose_surgical.errors import UserError


@pytest.mark.parametrize('target, expected', [
    (15, [11, 13, 15, 17, 19]),
    (10, [10, 10, 10, 12, 14]),   # clamped at the start of the clip
    (20, [16, 18, 20, 20, 20]),   # and at its end
    (19, [15, 17, 19, 20, 20]),
])
def test_centred_window_is_clamped(target, expected):
    assert window_frame_ids(target, 5, 2, 10, 20) == expected


def test_causal_window_ends_with_the_target():
    assert window_frame_ids(11, 4, 1, 10, 20, 'causal') == [10, 10, 10, 11]
    assert window_frame_ids(14, 4, 1, 10, 20, 'causal') == [11, 12, 13, 14]


def make_frame(frame_id=15, fps=25.0, dense=True, clip=True):
    video = Video(1, 'v', fps=fps, dense=dense, frame_pattern='f/{frame_id:04d}.jpg')
    return Frame(1, f'f/{frame_id:04d}.jpg', 64, 48, video, frame_id, True, Clip(1, 1, 10, 20) if clip else None)


def numbers(files):
    return [int(file.path.stem) for file in files]


def test_spacing_is_in_seconds():
    paths, position = window_files(make_frame(fps=25), Path('root'), 3, 0.12)
    assert numbers(paths) == [12, 15, 18] and position == 1
    assert numbers(window_files(make_frame(fps=8), Path('root'), 3, 0.12)[0]) == [14, 15, 16]


def test_video_that_is_not_dense_repeats_the_target():
    assert numbers(window_files(make_frame(dense=False), Path('root'), 3, 0.12)[0]) == [15, 15, 15]


def test_without_a_clip_the_files_on_disk_are_the_limits(tmp_path):
    (tmp_path / 'f').mkdir()
    for number in (14, 15, 16):
        (tmp_path / f'f/{number:04d}.jpg').touch()
    paths, _ = window_files(make_frame(clip=False, fps=10), tmp_path, 5, 0.12)
    assert numbers(paths) == [14, 14, 15, 16, 16]


def test_dense_video_without_a_rate_is_an_error():
    with pytest.raises(UserError, match='video "v" is dense but has no "fps"'):
        window_files(make_frame(fps=None), Path('root'), 3, 0.12)


def test_dense_video_whose_frames_cannot_be_located_is_an_error():
    frame = make_frame()
    frame.video.frame_pattern = None
    with pytest.raises(UserError, match='frame 12 of video "v" cannot be located.*frame_pattern'):
        window_files(frame, Path('root'), 3, 0.12)


def test_target_beyond_the_files_on_disk_stays_the_target(tmp_path):
    (tmp_path / 'f').mkdir()
    for number in (14, 16):
        (tmp_path / f'f/{number:04d}.jpg').touch()
    paths, position = window_files(make_frame(frame_id=20, clip=False), tmp_path, 3, 0.12)
    assert numbers(paths)[position] == 20
