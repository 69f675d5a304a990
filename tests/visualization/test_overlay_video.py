import av
import numpy as np
import pytest

from mmpose_surgical.apis.sources import SourceFrame
from mmpose_surgical.errors import UserError
from mmpose_surgical.prediction.heat import pack_heat, unpack_heat
from mmpose_surgical.visualization.overlay_video import OverlayPainter, write_overlay_video
from mmpose_surgical.visualization.overlays import COLOURS

GREY = np.full((480, 640, 3), 90, np.uint8)
SIZE = (640, 480)


def record(frame, *points, **more):
    points = [dict(landmark=landmark, x=x, y=y, score=0.8, **rest) for landmark, x, y, rest in points]
    return dict(frame=frame, time=frame / 25, state='point' if points else 'none', points=points) | more


def drawn(painter, one, picture=GREY):
    return painter(SourceFrame(one['frame'], one['time'], picture), one, SIZE)[:480]


def has(picture, colour, x, y, reach=8):
    place = picture[max(y - reach, 0):y + reach + 1, max(x - reach, 0):x + reach + 1]
    return bool((np.abs(place.astype(int) - colour).max(-1) < 12).any())


def test_points_trail_outline_and_smoothed_places_are_where_they_should_be():
    painter = OverlayPainter('model', trail=1.)
    first = drawn(painter, record(0, ('tip', 100., 200., {}), outline=[[300, 300, 400, 300, 400, 400]]))
    assert has(first, COLOURS['tip'], 100, 200) and has(first, (255, 255, 255), 350, 300, 2)
    second = drawn(painter, record(1, ('anchor', 500., 100., dict(x_smooth=540., y_smooth=100.))))
    assert has(second, COLOURS['anchor'], 500, 100)  # raw, as a cross
    assert has(second, COLOURS['anchor'], 540 - 8, 100, 1)  # smoothed, as a ring
    assert has(second, COLOURS['tip'], 100, 200, 2)  # the trail of the frame before
    assert has(drawn(painter, record(14)), COLOURS['anchor'], 540, 100, 2)  # the trail is of smoothed places
    assert (drawn(painter, record(27)) == GREY).all()  # more than a second later
    assert (drawn(OverlayPainter('model', trail=0.), record(27)) == GREY).all()


def test_a_frame_that_cannot_be_read_holds_the_last_picture_darker():
    painter = OverlayPainter('model')
    drawn(painter, record(0, ('tip', 100., 200., {})))
    assert (drawn(painter, record(1, state='broken'), None) == 30).all()
    assert (drawn(OverlayPainter('model'), record(0, state='broken'), None) == 0).all()


def test_heat_is_shown_where_it_is_and_on_request():
    maps = np.zeros((2, 48, 64), np.float32)
    maps[0, :24, :32] = 1  # tip, top left
    one = record(0, heat=pack_heat(maps))
    assert (unpack_heat(one['heat']) == np.rint(255 * maps)).all()
    shown = drawn(OverlayPainter('model', heat=True), one)
    assert has(shown, np.rint(0.3 * 90 + 0.7 * np.array(COLOURS['tip'])), 100, 100, 0)
    assert (shown[300:, 400:] == 90).all()
    assert (drawn(OverlayPainter('model'), one) == GREY).all()


@pytest.mark.parametrize('size', [(854, 480), (3840, 2160)])
def test_marks_grow_with_the_picture(size):
    picture = np.full((size[1], size[0], 3), 90, np.uint8)
    one = record(0, ('tip', size[0] / 2, size[1] / 2, {}))
    shown = OverlayPainter('model')(SourceFrame(0, 0., picture), one, size)
    marked = np.flatnonzero((shown[:size[1]] != 90).any((0, 2)))
    assert 0.015 < (marked.max() - marked.min()) / size[0] < 0.12
    assert shown.shape[0] > size[1] and shown.shape[0] % 2 == shown.shape[1] % 2 == 0


def test_video_begins_with_frames_that_cannot_be_read_and_keeps_uneven_times(tmp_path):
    times = [0., 0.04, 0.12, 0.13]
    pictures = [None, GREY, None, GREY]
    pairs = [(SourceFrame(i, time, picture), dict(frame=i, time=time, state='none' if i % 2 else 'broken', points=[]))
             for i, (time, picture) in enumerate(zip(times, pictures))]
    told = []
    write_overlay_video(tmp_path / 'o.mp4', iter(pairs), OverlayPainter('model'), 25., told.append)
    with av.open(str(tmp_path / 'o.mp4')) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(times, abs=2e-5)
    assert told == [1, 2, 3, 4]


def test_two_frames_at_one_time_are_both_there(tmp_path):
    pairs = [(SourceFrame(i, 1e-6 * i, GREY), dict(frame=i, time=1e-6 * i, state='none', points=[])) for i in range(4)]
    write_overlay_video(tmp_path / 'o.mp4', iter(pairs), OverlayPainter('model'), 25.)
    with av.open(str(tmp_path / 'o.mp4')) as container:
        assert len(list(container.decode(video=0))) == 4


def test_without_any_picture_there_is_no_video(tmp_path):
    pairs = [(SourceFrame(0, 0., None), dict(frame=0, time=0., state='broken', points=[]))]
    with pytest.raises(UserError, match='no frame can be read'):
        write_overlay_video(tmp_path / 'o.mp4', iter(pairs), OverlayPainter('model'), 25.)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('width', [320, 640, 3840])
def test_the_caption_fits_whatever_it_says(width):
    """Its end may say that the prior is a stand-in."""
    picture = np.zeros((width // 2, width, 3), np.uint8)
    painter = OverlayPainter('my_network_of_a_very_long_name   prior: grabcut (a stand-in for SAM 3), every 2 frames',
                             smooth=True)
    one = record(100000, ('tip', 5., 5., {}))
    bar = painter(SourceFrame(0, 0., picture), one, (width, width // 2))[width // 2:]
    written = np.flatnonzero((bar > 128).any((0, 2)))
    assert width * 0.5 < written.max() < width - 3
