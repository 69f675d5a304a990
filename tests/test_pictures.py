from pathlib import Path

import cv2
import numpy as np
import pytest

from mmpose_surgical.errors import UserError
from mmpose_surgical.pictures import read_picture

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8), (0, 0), 3)


def test_grey_and_16_bit_pictures_have_the_same_values(tmp_path: Path) -> None:
    grey = PICTURE[..., 0]
    for name, content in (('grey.png', grey), ('deep.png', grey.astype(np.uint16) * 257)):
        cv2.imwrite(str(tmp_path / name), content)
        read = read_picture(tmp_path / name)
        assert read.dtype == np.uint8 and read.shape == (40, 60, 3)
        assert np.abs(read.astype(int) - grey[..., None]).max() <= 1


@pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
@pytest.mark.parametrize('share', [0.05, 0.5, 0.99])
def test_a_picture_that_is_cut_off_names_its_file(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    cv2.imwrite(str(path), PICTURE)
    assert read_picture(path).shape == (40, 60, 3)
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=f'{name}.*truncated'):
        read_picture(path)
    with pytest.raises(UserError, match='cannot be read'):
        read_picture(tmp_path / 'gone.jpg')


def test_a_jpeg_with_bytes_behind_its_end_is_whole(tmp_path: Path) -> None:
    path = tmp_path / 'a.jpg'
    cv2.imwrite(str(path), PICTURE)
    path.write_bytes(path.read_bytes() + b'camera notes')
    assert read_picture(path).shape == (40, 60, 3)


def test_marks_of_other_pictures_do_not_count(tmp_path: Path) -> None:
    """Behind the end may stand the start of another scan (motion photos), in the header a whole thumbnail."""
    path = tmp_path / 'a.jpg'
    cv2.imwrite(str(path), PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2])
    whole = path.read_bytes()
    assert whole.count(b'\xff\xda') > 1  # several scans
    thumbnail = b'\xff\xe1' + (len(whole) + 2).to_bytes(2, 'big') + whole
    for content in (whole + b'\xff\xda and no end', whole[:2] + thumbnail + whole[2:]):
        path.write_bytes(content)
        assert read_picture(path).shape == (40, 60, 3)
    path.write_bytes(whole[:2] + thumbnail + whole[2:-40])
    with pytest.raises(UserError, match='truncated'):
        read_picture(path)
