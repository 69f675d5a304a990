"""Landmarks of a video by an exported model, frame after frame. Needs nothing but onnxruntime and NumPy.

tools/export.py puts a copy of this file beside the graphs, so that the folder runs by itself::

    python onnx_stream.py FOLDER FRAMES.npy --fps 25        # uint8 (N, H, W, 3), BGR; a line of JSON for each frame

    stream = OnnxStream(FOLDER, fps=25)
    for picture in pictures:
        for result in stream.push(picture):
            print(result['time'], result['points'])
    results = stream.flush()
"""
import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view

FORMAT, VERSION = 'mmpose_surgical ONNX pair', 1
FRAME, WINDOW, METADATA = 'frame.onnx', 'window.onnx', 'metadata.json'

Point = dict[str, Any]
"""``landmark``, ``x`` and ``y`` in pixels of the picture, ``score``."""

Segment = Callable[[np.ndarray, list[Point]], tuple[np.ndarray, bool]]
"""From a picture and the coarse points in it to the mask of the instrument under these: probabilities (h, w) of any
size, stretched over the picture, and whether the mask can be trusted."""


class StreamError(Exception):
    """A folder that holds no model, or input that the model cannot take."""


class OnnxStream:
    """A trained model on a stream of pictures: each passes the per-frame graph once, whatever the length of the window.

    A centred window looks ahead: the result of a frame comes :attr:`look_ahead` frames after it. Frame numbers beyond
    the ends of the stream are clamped to it.

    Args:
        folder: What tools/export.py wrote.
        fps: Frames per second; may be left out by a model that looks at one frame.
        segment: Makes the mask prior of a model that was exported with ``--prior input``. It is not asked where no
            coarse point is sure enough to prompt it: such a frame has no prior.
        providers: Execution providers of onnxruntime.
        session_options: Of onnxruntime.

    Raises:
        StreamError: This is no such folder, or ``fps`` or ``segment`` is missing.
    """

    def __init__(self, folder: str | Path, fps: float | None = None, segment: Segment | None = None,
                 providers: Sequence[str] = ('CPUExecutionProvider', ),
                 session_options: onnxruntime.SessionOptions | None = None) -> None:
        self.metadata = read_metadata(folder)
        window = self.metadata['window']
        if window['num_frames'] > 1 and not (fps and fps > 0):
            raise StreamError(f'this model looks at {window["num_frames"]} frames that are {window["spacing"]:g} s '
                              'apart: give the frames per second (fps)')
        takes_masks = self.metadata['prior']['kind'] == 'input'
        if takes_masks != (segment is not None):
            raise StreamError('this model was exported with --prior input: give segment, or export it with another '
                              'prior' if takes_masks else 'this model was not exported with --prior input: leave out '
                              'segment')
        self.fps, self.segment = fps, segment
        step = max(1, round(window['spacing'] * fps)) if fps else 1
        self._offsets = (np.arange(window['num_frames']) - window['target']) * step
        self.look_ahead = int(self._offsets[-1])
        """Frames that must follow a frame before its result comes."""
        self._frame, self._window = (
            onnxruntime.InferenceSession(str(Path(folder) / name), session_options, list(providers))
            for name in (FRAME, WINDOW))
        self._inputs = {one.name for one in self._window.get_inputs()}
        self._begin()

    def _begin(self) -> None:
        self._kept: dict[int, dict[str, Any]] = {}
        self._pushed = self._due = 0

    def push(self, picture: np.ndarray) -> list[dict[str, Any]]:
        """Take the next picture, BGR uint8 (H, W, 3) of any size; gives the result that it completes, if any.

        Returns:
            Dictionaries of ``frame``, its number from 0; ``time`` in seconds; ``points`` that count, surest first;
            ``heatmaps`` (K, h, w) of a model that has them; and of one with a mask branch ``mask`` (h, w), with
            ``mask_used``, whether it was the prior of these points, with ``--prior aux``.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise StreamError(f'frame {self._pushed} is {picture.dtype} of shape {picture.shape}, not uint8 '
                              '(height, width, 3)')
        canvas = to_canvas(picture, self.metadata['canvas'], self.metadata['padding'])
        outputs = self._frame.run(None, {'picture': np.ascontiguousarray(canvas.transpose(2, 0, 1))[None]})
        self._kept[self._pushed] = dict(zip((one.name for one in self._frame.get_outputs()), outputs),
                                        shape=picture.shape[:2], picture=picture if self.segment else None)
        self._pushed += 1
        return [self._next()] if self._due + self.look_ahead < self._pushed else []

    def flush(self) -> list[dict[str, Any]]:
        """The stream is over: the results that are left. The next picture begins another stream."""
        results = [self._next() for _ in range(self._due, self._pushed)]
        self._begin()
        return results

    def _next(self) -> dict[str, Any]:
        target = self._kept[self._due]
        numbers = np.clip(self._due + self._offsets, 0, self._pushed - 1)
        inputs = {'maps': np.stack([self._kept[number]['map'] for number in numbers], axis=1)}
        if 'feature' in self._inputs:
            inputs['feature'] = target['feature']
        outputs = self._run(inputs, target)
        points = self._points(outputs, 'decoder', target['shape'], self.metadata['thresholds'])
        result = dict(frame=self._due, time=self._due / self.fps if self.fps else 0., points=points)
        if 'heatmaps' in outputs:
            result['heatmaps'] = outputs['heatmaps'][0]
        if 'mask_out' in outputs:
            result['mask'] = outputs['mask_out'][0, 0]
        if 'validity_out' in outputs:
            result['mask_used'] = bool(outputs['validity_out'][0])
        self._due += 1
        for number in [number for number in self._kept if number < self._due + self._offsets[0]]:
            del self._kept[number]
        return result

    def _run(self, inputs: dict[str, np.ndarray], target: dict[str, Any]) -> dict[str, np.ndarray]:
        """Outputs of the graph of the window; with a segmenter, of its second run, which sees the mask."""
        names = [one.name for one in self._window.get_outputs()]
        if not self.segment:
            return dict(zip(names, self._window.run(None, inputs)))
        width, height = self.metadata['decoder']['heatmap_size']
        inputs |= dict(mask=np.zeros((1, 1, height, width), np.float32), validity=np.zeros(1, np.float32))
        outputs = dict(zip(names, self._window.run(None, inputs)))
        prior = self.metadata['prior']
        prompts = [point for point in self._points(outputs, 'coarse_decoder', target['shape'], prior['thresholds'])
                   if point['landmark'] in prior['landmarks']]
        if not prompts:
            return outputs
        mask, valid = self.segment(target['picture'], prompts)
        if not valid:
            return outputs
        inputs['mask'][0, 0] = mask_to_grid(mask, target['shape'], (width, height), self.metadata['canvas'],
                                            self.metadata['padding'])
        inputs['validity'][:] = 1
        return dict(zip(names, self._window.run(None, inputs)))

    def _points(self, outputs: Mapping[str, np.ndarray], decoder: str, shape: tuple[int, int],
                thresholds: Mapping[str, float | None]) -> list[Point]:
        """The points of one frame that are sure enough, in pixels of its picture of ``shape`` (height, width)."""
        rule = self.metadata[decoder]
        if rule['kind'] == 'simcc':
            keypoints, scores = decode_simcc(outputs['simcc_x'][0], outputs['simcc_y'][0], rule)
        else:
            name = 'coarse_heatmaps' if decoder == 'coarse_decoder' else 'heatmaps'
            keypoints, scores = decode_heatmaps(outputs[name][0], rule)
        scale, offset = canvas_geometry(shape, self.metadata['canvas'], self.metadata['padding'])
        # Two outputs of one landmark may give one point twice; its best score counts.
        best: dict[tuple, float] = {}
        for slot, (x, y), score in zip(rule['slots'], (keypoints * scale + offset).tolist(), scores.tolist()):
            landmark = slot.rstrip('0123456789')
            if score > 0 and (thresholds[landmark] is None or score >= thresholds[landmark]):
                best[landmark, x, y] = max(score, best.get((landmark, x, y), 0.))
        points = [dict(landmark=landmark, x=x, y=y, score=score) for (landmark, x, y), score in best.items()]
        return sorted(points, key=lambda point: -point['score'])


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """``metadata.json`` of an export.

    Raises:
        StreamError: There is none, or one of another format.
    """
    path = Path(folder) / METADATA
    try:
        metadata = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise StreamError(f'{path} cannot be read ({error}): name a folder that tools/export.py wrote') from None
    if not isinstance(metadata, dict) or metadata.get('format') != FORMAT:
        raise StreamError(f'{path} is not of an export: name a folder that tools/export.py wrote')
    if metadata['version'] != VERSION:
        raise StreamError(f'{path} is of version {metadata["version"]}, this program reads {VERSION}: export again')
    for name in (FRAME, WINDOW):
        if not (path.parent / name).is_file():
            raise StreamError(f'{path.parent / name} is missing: export again')
    return metadata


# -- geometry -------------------------------------------------------------------------------------------------------
def canvas_geometry(shape: Sequence[int], canvas: Sequence[int], padding: float = 1.) -> tuple[float, np.ndarray]:
    """How the canvas lies in a picture of ``shape`` (height, width): pixel = canvas pixel * scale + offset (2,).

    The picture is centred, its aspect kept, as MMPose's ``GetBBoxCenterScale`` and ``TopdownAffine`` place a box over
    the whole picture.
    """
    size, canvas = np.array(shape[1::-1], float), np.array(canvas, float)
    scale = float((size * padding / canvas).max())
    return scale, (size - canvas * scale) / 2


def to_canvas(picture: np.ndarray, canvas: Sequence[int], padding: float = 1.) -> np.ndarray:
    """A picture uint8 (H, W, 3) on the canvas (width, height) of the network, black where it has nothing."""
    scale, offset = canvas_geometry(picture.shape, canvas, padding)
    return np.floor(_resample(picture, canvas, (scale, scale), offset) + 0.5).astype(np.uint8)


def mask_to_grid(mask: np.ndarray, shape: Sequence[int], grid: Sequence[int], canvas: Sequence[int],
                 padding: float = 1.) -> np.ndarray:
    """Probabilities (h, w), stretched over a picture of ``shape``, on the heatmap grid (width, height): float32."""
    scale, offset = canvas_geometry(shape, canvas, padding)
    cell = np.array(shape[1::-1]) / mask.shape[1::-1]
    return _resample(np.asarray(mask, np.float32), grid, np.array(canvas) / grid * scale / cell,
                     (offset - (cell - 1) / 2) / cell)


def _resample(array: np.ndarray, size: Sequence[int], scale: Sequence[float], offset: Sequence[float]) -> np.ndarray:
    """Bilinear samples of an array at (x, y) * scale + offset, for every x, y of a (width, height); zero outside.

    Positions are rounded to 1/32, as OpenCV's warpAffine rounds them, so that networks see what they were trained on.
    """
    array = array.astype(np.float32)
    for axis in (0, 1):  # rows lie along y
        count, along = array.shape[axis], np.arange(size[1 - axis])
        at = (np.rint(along * scale[1 - axis] * 1024) + np.rint(offset[1 - axis] * 1024) + 16).astype(np.int64) >> 5
        padded = np.pad(array, [(1, 1) if side == axis else (0, 0) for side in range(array.ndim)])
        share = ((at & 31) / np.float32(32)).astype(np.float32).reshape([-1 if side == axis else 1
                                                                        for side in range(array.ndim)])
        low, high = (np.take(padded, np.clip((at >> 5) + step, -1, count) + 1, axis) for step in (0, 1))
        array = low * (1 - share) + high * share
    return array


# -- decoding -------------------------------------------------------------------------------------------------------
def decode_simcc(simcc_x: np.ndarray, simcc_y: np.ndarray, rule: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (K, 2) in canvas pixels and scores (K,) of SimCC's maps (K, W) and (K, H)."""
    keypoints = np.stack([simcc_x.argmax(1), simcc_y.argmax(1)], 1) / rule['split_ratio']
    return keypoints, np.minimum(simcc_x.max(1), simcc_y.max(1))


def decode_heatmaps(heatmaps: np.ndarray, rule: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Peaks of heatmaps (K, h, w), as the codec ``LandmarkHeatmap`` finds them.

    Returns:
        Keypoints (S, 2) in canvas pixels and scores (S,) of the slots. Those of one landmark are filled by falling
        score; an empty slot has score 0.

    Raises:
        StreamError: A map is not finite.
    """
    if not np.isfinite(heatmaps).all():
        raise StreamError('heatmaps are not finite: the network has diverged')
    landmarks = [slot.rstrip('0123456789') for slot in rule['slots']]
    keypoints, scores = np.zeros((len(landmarks), 2)), np.zeros(len(landmarks))
    # With a map for each action a landmark is where the surest of them says.
    per_landmark = heatmaps.reshape(len(rule['landmarks']), -1, *heatmaps.shape[1:]).max(1)
    for landmark, heatmap in zip(rule['landmarks'], per_landmark):
        ys, xs = _peaks(heatmap, rule['nms_kernel'])
        order = np.argsort(-heatmap[ys, xs], kind='stable')
        slots = [number for number, name in enumerate(landmarks) if name == landmark]
        logarithm = _smooth_logarithm(heatmap, np.array(rule['blur'], np.float32)) if len(order) else heatmap
        for slot, peak in zip(slots, order):
            score = min(float(heatmap[ys[peak], xs[peak]]), 1.)
            if score > rule['floor']:
                keypoints[slot], scores[slot] = _refined(logarithm, xs[peak], ys[peak]), score
    return keypoints * np.divide(rule['input_size'], rule['heatmap_size']), scores


def _peaks(heatmap: np.ndarray, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of cells that are the maximum of the window around them; one of a connected plateau."""
    is_peak = (heatmap >= _maximum(heatmap, kernel)) & (heatmap > 0)
    number = -np.arange(heatmap.size, dtype=float).reshape(heatmap.shape)
    first = np.where(is_peak, number, -np.inf)
    while True:  # until the number of its first cell has spread over each plateau
        spread = np.where(is_peak, _maximum(first, 3), -np.inf)
        if (spread == first).all():
            return np.nonzero(is_peak & (first == number))
        first = spread


def _maximum(array: np.ndarray, kernel: int) -> np.ndarray:
    """Largest value in the window around each cell."""
    sides = (kernel // 2, kernel - 1 - kernel // 2)
    return sliding_window_view(np.pad(array, sides, constant_values=-np.inf), (kernel, kernel)).max((2, 3))


def _smooth_logarithm(heatmap: np.ndarray, blur: np.ndarray) -> np.ndarray:
    """Logarithm of a smoothed heatmap, whose peaks are parabolas (DARK, Zhang et al. 2020)."""
    windows = sliding_window_view(np.pad(heatmap, len(blur) // 2), (len(blur), len(blur)))
    smooth = windows @ blur @ blur
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.log(np.maximum(smooth * (heatmap.max() / smooth.max()), np.float32(1e-10)))


def _refined(logarithm: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """A peak moved by one Newton step, within its cell."""
    height, width = logarithm.shape
    if not (1 < x < width - 2 and 1 < y < height - 2):
        return x, y
    around = logarithm[y - 2:y + 3, x - 2:x + 3]
    dx, dy = (around[2, 3] - around[2, 1]) / 2, (around[3, 2] - around[1, 2]) / 2
    dxx = (around[2, 4] - 2 * around[2, 2] + around[2, 0]) / 4
    dyy = (around[4, 2] - 2 * around[2, 2] + around[0, 2]) / 4
    dxy = (around[3, 3] - around[1, 3] - around[3, 1] + around[1, 1]) / 4
    determinant = dxx * dyy - dxy * dxy
    if determinant == 0:
        return x, y
    step = np.clip([(dxy * dy - dyy * dx) / determinant, (dxy * dx - dxx * dy) / determinant], -0.5, 0.5)
    return x + step[0], y + step[1]


def main() -> int:
    """Print the points of every frame of a file as a line of JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('folder', help='what tools/export.py wrote')
    parser.add_argument('frames', help='.npy file of uint8 (N, H, W, 3), BGR')
    parser.add_argument('--fps', type=float, help='frames per second')
    args = parser.parse_args()
    try:
        stream = OnnxStream(args.folder, args.fps)
        frames = np.load(args.frames, mmap_mode='r', allow_pickle=False)
        for picture in frames:
            _print(stream.push(picture))
        _print(stream.flush())
    except (StreamError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


def _print(results: list[dict[str, Any]]) -> None:
    for result in results:
        print(json.dumps({key: result[key] for key in ('frame', 'time', 'points')}), flush=True)


if __name__ == '__main__':
    sys.exit(main())
