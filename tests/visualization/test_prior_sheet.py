"""Drawn priors: outline, prompts and truth where they belong."""
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.visualization.overlays import PRIOR_COLOUR
from mmpose_surgical.visualization.prior_sheet import PROMPT_COLOUR, TRUTH_COLOUR, draw_prior, write_sheet

PICTURE = np.full((96, 160, 3), 30, np.uint8)


def prior(valid: bool = True) -> MaskPrior:
    logits = np.full((48, 80), -100, np.int8)
    logits[10:30, 20:40] = 100  # x 40..80, y 20..60 of the picture
    return MaskPrior(logits, 0.8, 1., valid, np.array([[60., 40.]], np.float32), np.ones(1, np.int64))


def has(drawn: np.ndarray, colour: tuple, x: slice, y: slice) -> bool:
    return bool((np.abs(drawn[y, x].astype(int) - colour).max(-1) < 40).any())


def test_outline_prompt_and_truth() -> None:
    truth = np.zeros((96, 160), bool)
    truth[20:60, 100:140] = True
    drawn = draw_prior(PICTURE, prior(), truth, 'a #1', 'sam3')
    assert drawn.shape[1] == 160 and drawn.shape[0] > 96 and (PICTURE == 30).all()
    assert has(drawn, PRIOR_COLOUR, slice(38, 43), slice(25, 55))
    assert has(drawn, PROMPT_COLOUR, slice(60, 61), slice(40, 41))
    assert has(drawn, TRUTH_COLOUR, slice(98, 103), slice(25, 55))
    assert not has(drawn, PRIOR_COLOUR, slice(98, 160), slice(0, 96))


def test_a_failed_prior_has_no_outline(tmp_path: Path) -> None:
    drawn = draw_prior(PICTURE, prior(valid=False), None, 'a #1', 'sam3')
    assert not has(drawn, PRIOR_COLOUR, slice(0, 160), slice(0, 96))
    assert has(drawn, PROMPT_COLOUR, slice(60, 61), slice(40, 41))
    write_sheet(tmp_path / 'sheet.jpg', [drawn] * 5)
    assert cv2.imread(str(tmp_path / 'sheet.jpg')).shape[0] > drawn.shape[0]
