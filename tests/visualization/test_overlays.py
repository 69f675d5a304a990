from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.visualization.overlays import draw_overlays


def test_earlier_overlays_go_and_pictures_of_the_user_stay(toy_data, tmp_path):
    (tmp_path / 'mine.jpg').write_bytes(b'a picture of the user')
    frames = load_annotations(toy_data).frames
    none = Predictions.from_records([], 'nothing')
    first = draw_overlays(frames[:2], none, None, toy_data, tmp_path)
    assert all(path.exists() for path in first) and len(first) == 3  # two pictures and the sheet
    second = draw_overlays(frames[2:3], none, None, toy_data, tmp_path)
    assert {path.name for path in tmp_path.glob('*.jpg')} == {'mine.jpg', *(path.name for path in second)}
    assert (tmp_path / 'mine.jpg').read_bytes() == b'a picture of the user'
