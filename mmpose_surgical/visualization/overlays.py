"""Overlays: picture, prediction, ground truth and the outline of the mask prior."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.evaluator import ScoreThreshold, apply_threshold
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.files import read_json, write_atomically, write_json
from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.priors.store import RecordStore

# BGR; tip and anchor as in the data set's keypoint colours, and well apart for colour-blind readers.
COLOURS = dict(tip=(0, 214, 255), anchor=(255, 214, 0))
PRIOR_COLOUR = (255, 255, 255)
WRITTEN = 'overlays.json'
"""Lists the overlays of a folder, so that the next call removes these and nothing else."""

_LEGEND = 'cross: predicted (score)   ring: ground truth   yellow: tip   blue: anchor'


def draw_overlay(picture: np.ndarray, frame: Frame, points: Predictions, prior: MaskPrior | None = None,
                 prior_name: str | None = None) -> np.ndarray:
    """Draw one picture.

    Args:
        picture: (H, W, 3) BGR uint8, the original picture.
        frame: Its ground truth; only acting tools are drawn.
        points: The predictions of this frame that count.
        prior: The mask prior, drawn as an outline.
        prior_name: Name of its backend, for the caption.

    Returns:
        (H + caption, W, 3) BGR uint8.
    """
    actions = sorted({tool.action or '?' for tool in frame.active_tools}) or ['nothing acts']
    caption = f'{frame.video.name} #{frame.frame_id}   {", ".join(actions)}'
    if prior_name:
        caption += f'   prior: {prior_name}' + ('' if prior is not None and prior.valid else ' (none)')
    width = picture.shape[1]
    return np.vstack([draw_marks(picture, frame, points, prior),
                      caption_bar(width, relative_size(width), [caption, _LEGEND])])


def relative_size(width: int) -> float:
    """Size of marks and letters relative to those on a picture of 640 px."""
    return max(width / 640, 0.5)


def draw_marks(picture: np.ndarray, frame: Frame, points: Predictions, prior: MaskPrior | None = None) -> np.ndarray:
    """:func:`draw_overlay` without the caption: (H, W, 3) BGR uint8."""
    canvas = picture.copy()
    height, width = canvas.shape[:2]
    unit = relative_size(width)
    thick = line_width(unit)
    if prior is not None and prior.valid:
        cv2.drawContours(canvas, prior_outlines(prior, (width, height)), -1, PRIOR_COLOUR, thick, cv2.LINE_AA)
    for tool in frame.active_tools:
        for point in tool.points:
            centre = (round(point.x), round(point.y))
            cv2.circle(canvas, centre, round(9 * unit), (0, 0, 0), thick + 2, cv2.LINE_AA)
            cv2.circle(canvas, centre, round(9 * unit), COLOURS[point.landmark], thick, cv2.LINE_AA)
    for landmark, x, y, score in zip(points.landmark, points.x, points.y, points.score):
        mark_point(canvas, str(landmark), float(x), float(y), float(score), unit)
    return canvas


def line_width(unit: float) -> int:
    return max(1, round(1.5 * unit))


def prior_outlines(prior: MaskPrior, size: tuple[int, int]) -> list[np.ndarray]:
    """Outlines of a mask prior, int32 (P, 1, 2) each, in a picture of (width, height)."""
    mask = cv2.resize(prior.probability(), size) > 0.5
    return list(cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])


def mark_point(canvas: np.ndarray, landmark: str, x: float, y: float, score: float, unit: float) -> None:
    """Draw a predicted point with its score into a picture; ``unit`` as of :func:`relative_size`."""
    centre, thick = (round(x), round(y)), line_width(unit)
    for colour, extra in (((0, 0, 0), max(2, round(2 * unit))), (COLOURS[landmark], 0)):
        cv2.drawMarker(canvas, centre, colour, cv2.MARKER_TILTED_CROSS, round(13 * unit), thick + extra, cv2.LINE_AA)
        cv2.putText(canvas, f'{score:.2f}', (centre[0] + round(10 * unit), centre[1] - round(6 * unit)),
                    cv2.FONT_HERSHEY_SIMPLEX, 0.42 * unit, colour, thick + extra, cv2.LINE_AA)


def draw_truth(picture: np.ndarray, frame: Frame) -> np.ndarray:
    """All annotated tools of a picture (H, W, 3): masks in outline, points as rings (hidden ones thin).

    Acting tools are green, others grey.
    """
    canvas = picture.copy()
    for tool in frame.tools:
        colour = (80, 220, 80) if tool.active else (190, 190, 190)
        mask = tool.mask(frame.height, frame.width)
        if mask is not None:
            outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(canvas, outlines, -1, colour, 1, cv2.LINE_AA)
        for point in tool.points:
            cv2.circle(canvas, (round(point.x), round(point.y)), 7, COLOURS[point.landmark], 2 if point.v == 2 else 1,
                       cv2.LINE_AA)
    return canvas


def caption_bar(width: int, unit: float, lines: list[str]) -> np.ndarray:
    step, margin, thick = round(19 * unit), round(8 * unit), max(1, round(unit))
    bar = np.full((step * len(lines) + margin, width, 3), 24, np.uint8)
    for row, line in enumerate(lines, 1):
        size, _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit, thick)
        # A long line is written smaller, so that its end, which may say that a prior is a stand-in, can be read.
        scale = 0.45 * unit * min(1, (width - 2 * margin) / max(size[0], 1))
        cv2.putText(bar, line, (margin, row * step), cv2.FONT_HERSHEY_SIMPLEX, scale, (235, 235, 235), thick,
                    cv2.LINE_AA)
    return bar


def draw_overlays(frames: Sequence[Frame], predictions: Predictions, score_thr: ScoreThreshold, root: Path,
                  folder: Path, priors: Path | None = None, prior_name: str | None = None,
                  limit: int = 24) -> list[Path]:
    """Write overlays of evenly spaced frames as JPEG, and the first twelve as one ``sheet.jpg``.

    Args:
        frames: Frames to choose from.
        predictions: Points of all frames.
        score_thr: Threshold of the points that are drawn.
        root: Folder of the data set.
        folder: Where to write; overlays that an earlier call left in it are replaced, other files are not touched.
        priors: Store of mask priors.
        prior_name: Name of their backend.
        limit: Number of pictures.

    Returns:
        The files written.
    """
    places = np.linspace(0, len(frames) - 1, min(limit, len(frames))).round().astype(int)
    chosen = [frames[i] for i in np.unique(places)]
    kept = apply_threshold(predictions, score_thr)
    store = RecordStore(priors) if priors is not None else None
    folder.mkdir(parents=True, exist_ok=True)
    _remove_earlier(folder)
    written, pictures = [], []
    for frame in chosen:
        picture = frame.file(root).read()
        prior = MaskPrior.from_record(*store.get(frame.image_id)) if store is not None else None
        drawn = draw_overlay(picture, frame, kept.select(kept.image_id == frame.image_id), prior, prior_name)
        out = folder / f'{frame.video.name}_{frame.frame_id:06d}_{frame.image_id}.jpg'.replace('/', '_')
        write_atomically(out, lambda temporary, image=drawn: write_picture(temporary, image))
        written.append(out)
        pictures.append(drawn)
    if pictures:
        sheet = contact_sheet(pictures[:12])
        written.append(folder / 'sheet.jpg')
        write_atomically(written[-1], lambda temporary: write_picture(temporary, sheet))
    write_json(folder / WRITTEN, [path.name for path in written])
    return written


def _remove_earlier(folder: Path) -> None:
    """Remove the overlays that an earlier call listed; the folder may hold pictures of the user."""
    listed = folder / WRITTEN
    if listed.exists():
        for name in read_json(listed, 'remove the file'):
            (folder / Path(name).name).unlink(missing_ok=True)


def write_picture(path: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 92]):
        raise UserError('picture cannot be written', path, 'check the disk and the permissions')


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 3, width: int = 480) -> np.ndarray:
    """Pictures (H, W, 3) of any size side by side, each ``width`` wide, in rows of equal height."""
    cells = [cv2.resize(p, (width, round(p.shape[0] * width / p.shape[1])), interpolation=cv2.INTER_AREA)
             for p in pictures]
    height = max(cell.shape[0] for cell in cells)
    cells = [cv2.copyMakeBorder(cell, 0, height - cell.shape[0], 0, 0, cv2.BORDER_CONSTANT) for cell in cells]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i:i + columns]) for i in range(0, len(cells), columns)])
