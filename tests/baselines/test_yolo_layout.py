"""YOLO's labels and the way back, by hand."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmpose_surgical.baselines.yolo_layout import label_lines, to_predictions


def lines(*tools, size=(100, 50), margin=0.1):
    """Tools as lists of (x, y), ``None`` for an empty slot."""
    points = np.array([[xy or (0, 0) for xy in tool] for tool in tools], float)
    return label_lines(points, np.array([[xy is not None for xy in tool] for tool in tools]), size, margin)


def test_label_by_hand():
    # The margin of 10 px is a tenth of the width and a fifth of the height; the left tip comes first.
    assert lines([(60, 20), (40, 30), None]) == ['0 0.5 0.5 0.4 0.6 0.4 0.6 2 0.6 0.4 2 0 0 0']


def test_only_what_acts_and_is_in_the_picture_is_labelled():
    assert lines([None, None, None]) == []
    two = lines([(50, 25), None, (50, 25)], [(-1, 10), (100, 10), (20, 50)], [(0, 0), None, None])
    # The second tool is wholly outside; the box of the third is cut off at the corner.
    assert two == ['0 0.5 0.5 0.2 0.4 0.5 0.5 2 0 0 0 0.5 0.5 2', '0 0.05 0.1 0.1 0.2 0 0 2 0 0 0 0 0 0']


GEOMETRY = {'7': dict(input_center=[100., 50.], input_scale=[200., 160.], input_size=[100, 80]),
            '8': dict(input_center=[100., 50.], input_scale=[200., 160.], input_size=[100, 80])}


def test_answers_come_back_in_original_pixels():
    # 200x100 px letterboxed to 100x80: half the size, 15 px of border above and below.
    predictions = to_predictions({'7': [dict(score=0.5, points=[[60, 30, 0.8], [10, 15, 0.5], [9, 9, 0]])], '8': []},
                                 GEOMETRY)
    assert predictions.records() == [
        dict(image_id=7, landmark='tip', x=pytest.approx(120), y=pytest.approx(30), score=pytest.approx(0.4)),
        dict(image_id=7, landmark='tip', x=pytest.approx(20), y=pytest.approx(0), score=0.25)]


def test_one_point_of_two_detections_counts_once():
    twice = [dict(score=score, points=[[60, 30, 1], [60, 30, 0.5], [60, 30, 1]]) for score in (0.3, 0.6)]
    records = to_predictions({'7': twice, '8': twice[:1]}, GEOMETRY).records()
    assert [(r['image_id'], r['landmark'], r['score']) for r in records] == [
        (7, 'tip', 0.6), (7, 'anchor', 0.6), (8, 'tip', 0.3), (8, 'anchor', 0.3)]


def test_a_diverged_detector_is_an_error():
    from mmpose_surgical.errors import UserError
    with pytest.raises(UserError, match='score is nan, not a finite number'):
        to_predictions({'7': [dict(score=float('nan'), points=[[1, 2, 0.5]] * 3)]}, GEOMETRY)


@given(st.integers(20, 400), st.integers(20, 400), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_label_read_as_an_answer_is_the_annotated_point(plugin, width, height, u, v):
    from mmpose.datasets.transforms import TopdownAffine

    from mmpose_surgical.datasets.transforms import input_matrix
    size = (96, 64)
    centre = [width / 2, height / 2]
    scale = TopdownAffine._fix_aspect_ratio(np.array([[float(width), float(height)]]), size[0] / size[1])[0].tolist()
    x, y = u * (width - 1), v * (height - 1)
    exported = (input_matrix(centre, scale, 0., size) @ [x, y, 1])[:2]
    numbers = lines([tuple(exported), None, None], size=size)[0].split()
    answer = [float(numbers[5]) * size[0], float(numbers[6]) * size[1], 1.0]
    back = to_predictions({'1': [dict(score=1., points=[answer, [0, 0, 0], [0, 0, 0]])]},
                          {'1': dict(input_center=centre, input_scale=scale, input_size=size)})
    np.testing.assert_allclose(back.xy[0], [x, y], atol=0.01)
