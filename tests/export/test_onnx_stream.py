"""The program beside the graphs against PyTorch and OpenCV, and where neither is installed."""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpose_surgical.export.onnx_stream import (
    OnnxStream,
    StreamError,
    decode_heatmaps,
    decode_simcc,
    mask_to_grid,
    to_canvas,
)

SIDES = st.integers(16, 200)


# -- geometry -------------------------------------------------------------------------------------------------------
def affine(plugin: ModuleType, picture: np.ndarray, canvas: tuple[int, int], padding: float) -> dict:
    """What the test pipeline makes of a picture."""
    from mmcv.transforms import Compose
    from mmpose.registry import TRANSFORMS
    height, width = picture.shape[:2]
    return Compose([TRANSFORMS.build(transform) for transform in (
        dict(type='GetBBoxCenterScale', padding=padding), dict(type='TopdownAffine', input_size=canvas))])(
            dict(img=picture, img_shape=(height, width), bbox=np.array([[0, 0, width, height]], np.float32)))


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, st.sampled_from([(192, 144), (64, 48), (96, 32)]), st.sampled_from([1., 1.25]),
       st.integers(0, 2**32 - 1))
def test_pictures_enter_the_canvas_as_opencv_warps_them(plugin: ModuleType, width: int, height: int,
                                                        canvas: tuple[int, int], padding: float, seed: int):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    expected = affine(plugin, picture, canvas, padding)['img'].astype(int)
    difference = np.abs(to_canvas(picture, canvas, padding) - expected)
    # A position halfway between two of the 1/32 px at which OpenCV samples may be rounded to either.
    assert np.percentile(difference, 99) <= 1 and difference.max() <= 8


def test_real_pictures_enter_the_canvas_as_opencv_warps_them(plugin: ModuleType, shared_real: Path):
    files = sorted(shared_real.glob('*/frames/*.jpg'))[:3]
    assert files
    for file in files:
        picture = cv2.imread(str(file))
        for canvas in ((192, 144), (512, 288)):
            difference = to_canvas(picture, canvas) - affine(plugin, picture, canvas, 1.)['img'].astype(int)
            assert np.abs(difference).max() <= 1


def test_a_wide_picture_lies_in_the_middle_of_the_canvas():
    canvas = to_canvas(np.full((4, 16, 3), 200, np.uint8), (8, 6))
    # Half as large: 8 x 2 cells, below 2 empty rows and above 2.
    assert canvas[2:4].min() == 200 and canvas[:2].max() == 0 and canvas[4:].max() == 0


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, st.integers(4, 192), st.integers(4, 192), st.integers(0, 2**32 - 1))
def test_masks_enter_the_heatmap_grid_as_priors_do(plugin: ModuleType, width, height, rows, columns, seed):
    from mmpose_surgical.datasets.transforms import grid_matrix, picture_to_heatmap, warp
    mask = cv2.GaussianBlur(np.random.default_rng(seed).random((rows, columns), np.float32), (5, 5), 0)
    picture = np.zeros((height, width, 3), np.uint8)
    matrix = picture_to_heatmap(affine(plugin, picture, (64, 48), 1.), (16, 12))
    expected = warp(mask, matrix @ grid_matrix((columns, rows), (width, height)), (16, 12))
    found = mask_to_grid(mask, (height, width), (16, 12), (64, 48))
    assert found.dtype == np.float32 and np.abs(found - expected).max() <= 1 / 16


# -- decoding -------------------------------------------------------------------------------------------------------
def codecs(kind: str, **options):
    from mmpose_surgical.codecs.landmark_heatmap import LandmarkHeatmap
    from mmpose_surgical.codecs.mask_augmented_heatmap import MaskAugmentedHeatmap
    from mmpose_surgical.export.onnx_export import _describe
    codec = {'gaussian': LandmarkHeatmap, 'plateau': MaskAugmentedHeatmap}[kind]((96, 80), (24, 20), **options)
    return codec, _describe(codec)


@st.composite
def bumps(draw, channels: int) -> np.ndarray:
    """Heatmaps (C, 20, 24) of up to four Gaussian points each, on noise of either sign, or of noise alone."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    maps = rng.normal(scale=draw(st.sampled_from([1e-3, 0.05, 0.3])), size=(channels, 20, 24))
    ys, xs = np.mgrid[:20, :24]
    for heatmap in maps:
        for _ in range(draw(st.integers(0, 4))):
            x, y, height = rng.uniform([-1, -1, 0.05], [24, 20, 1.2])
            heatmap += height * np.exp(-((xs - x)**2 + (ys - y)**2) / 8)
    return maps.astype(np.float32)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(['gaussian', 'plateau']), st.sampled_from(['landmark', 'action_landmark']),
       st.sampled_from([3, 5, 6]), st.sampled_from([1., 2., 3.]))
def test_heatmaps_are_decoded_as_by_the_codec(plugin: ModuleType, data, kind, channels, nms_kernel, sigma):
    codec, rule = codecs(kind, channels=channels, nms_kernel=nms_kernel, sigma=sigma)
    maps = data.draw(bumps(2 if channels == 'landmark' else 6))
    expected, expected_scores = codec.decode(maps.copy())
    keypoints, scores = decode_heatmaps(maps, rule)
    np.testing.assert_allclose(scores, expected_scores[0], atol=1e-6)
    np.testing.assert_allclose(keypoints, expected[0], atol=1e-3)


def test_a_peak_between_cells_and_a_plateau(plugin: ModuleType):
    _, rule = codecs('gaussian')
    ys, xs = np.mgrid[:20, :24]
    maps = np.zeros((2, 20, 24), np.float32)
    maps[0] = 0.8 * np.exp(-((xs - 10.25)**2 + (ys - 7.75)**2) / 8)
    maps[1, 3, 18:21] = maps[1, 4, 21] = 0.5  # one point, although five cells are equal
    keypoints, scores = decode_heatmaps(maps, rule)
    # Of a Gaussian the logarithm is a parabola; 4 pixels of the input make a cell.
    np.testing.assert_allclose(keypoints[0], [41, 31], atol=0.05)
    assert scores[0] == pytest.approx(0.8 * np.exp(-0.125 / 8)) and scores[1] == 0
    assert np.abs(keypoints[2] - [18 * 4, 3 * 4]).max() <= 2 and scores[2] == 0.5
    with pytest.raises(StreamError, match='not finite'):
        decode_heatmaps(maps + np.inf, rule)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1., 2.]))
def test_simcc_is_decoded_as_by_the_codec(plugin: ModuleType, seed: int, ratio: float):
    from mmpose.codecs import SimCCLabel
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.2, size=(3, 12)).astype(np.float32), rng.normal(size=(3, 10)).astype(np.float32)
    expected, expected_scores = SimCCLabel((12, 10), simcc_split_ratio=ratio).decode(x.copy(), y.copy())
    keypoints, scores = decode_simcc(x, y, dict(split_ratio=ratio))
    np.testing.assert_array_equal(scores, expected_scores[0])
    np.testing.assert_array_equal(keypoints[scores > 0], expected[0][scores > 0])


# -- streams --------------------------------------------------------------------------------------------------------
def exported(model: Path, out: Path, prior: str | None = None, options: dict | None = None, score_thr: float = 0.02):
    from mmpose_surgical.apis.trained_run import load_run
    from mmpose_surgical.export.onnx_export import export_onnx
    export_onnx(load_run(model, options=options), out, prior, score_thr)
    return out


def inferencer(model: Path, **options):
    from mmpose_surgical.apis.inferencer import SurgicalLandmarkInferencer
    return SurgicalLandmarkInferencer(model, device='cpu', score_thr=0.02, heatmaps=True, **options)


def streamed(stream: OnnxStream, frames: list[np.ndarray]) -> list[dict]:
    return [result for frame in frames for result in stream.push(frame)] + stream.flush()


def assert_equal(found: list[dict], expected: list, pixels: float = 0.01, score: float = 1e-3) -> None:
    """Same frames, times and landmarks, points at most so many pixels apart."""
    assert [(one['frame'], one['time']) for one in found] == [(one.frame, pytest.approx(one.time)) for one in expected]
    for one, other in zip(found, expected):
        assert [point['landmark'] for point in one['points']] == [point['landmark'] for point in other.points]
        for point, reference in zip(one['points'], other.points):
            assert np.hypot(point['x'] - reference['x'], point['y'] - reference['y']) <= pixels
            assert abs(point['score'] - reference['score']) <= score
        if 'heatmaps' in one:
            np.testing.assert_allclose(one['heatmaps'], other.data_sample.pred_fields.heatmaps.numpy(), atol=score)
    assert sum(len(one['points']) for one in found) > len(found)


@pytest.fixture(scope='module')
def coarse_folder(vivid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(vivid.parent / 'demo_coarse', tmp_path_factory.mktemp('coarse') / 'out')


@pytest.mark.parametrize('count', [1, 2, 10])
def test_points_of_a_coarse_network(vivid: Path, coarse_folder: Path, frames: list[np.ndarray], count: int):
    """Windows that look beyond both ends at once are among them."""
    stream = OnnxStream(coarse_folder, fps=20)  # a window of every other frame
    assert stream.look_ahead == 2
    assert_equal(streamed(stream, frames[:count]), list(inferencer(vivid.parent / 'demo_coarse')(frames[:count], 20)))


def test_results_come_when_the_window_is_whole(coarse_folder: Path, frames: list[np.ndarray]):
    stream = OnnxStream(coarse_folder, fps=20)
    seen = [[result['frame'] for result in stream.push(frame)] for frame in frames[:4]]
    assert seen == [[], [], [0], [1]] and len(stream._kept) == 4
    assert [result['frame'] for result in stream.flush()] == [2, 3]
    # The next picture begins another stream, with nothing of this one in it.
    again, fresh = streamed(stream, frames[5:9]), streamed(OnnxStream(coarse_folder, fps=20), frames[5:9])
    assert [result['points'] for result in again] == [result['points'] for result in fresh]


def test_every_frame_passes_the_graph_of_frames_once(coarse_folder: Path, frames: list[np.ndarray]):
    stream, calls = OnnxStream(coarse_folder, fps=10), []
    session = stream._frame

    class Counting:
        get_outputs = session.get_outputs

        def run(self, names, inputs):
            calls.append(len(inputs['picture']))
            return session.run(names, inputs)
    stream._frame = Counting()
    assert len(streamed(stream, frames)) == len(frames) and calls == [1] * len(frames)


def test_points_of_a_causal_network(vivid: Path, frames: list[np.ndarray], tmp_path: Path):
    options = {'clip.window': 'causal'}
    stream = OnnxStream(exported(vivid.parent / 'demo_coarse', tmp_path / 'out', options=options), fps=20)
    assert stream.look_ahead == 0 and [len(stream.push(frame)) for frame in frames[:3]] == [1, 1, 1]
    stream.flush()
    assert_equal(streamed(stream, frames), list(inferencer(vivid.parent / 'demo_coarse', options=options)(frames, 20)))


def test_points_of_larger_pictures(vivid: Path, coarse_folder: Path, frames: list[np.ndarray]):
    larger = [cv2.resize(frame, (200, 90)) for frame in frames[:4]]
    found, expected = streamed(OnnxStream(coarse_folder, fps=10), larger), inferencer(vivid.parent / 'demo_coarse')
    assert_equal(found, list(expected(larger, 10)))


@pytest.mark.parametrize('prior', ['aux', 'none'])
def test_points_of_a_refiner(own_masks: Path, frames: list[np.ndarray], tmp_path: Path, prior: str):
    stream = OnnxStream(exported(own_masks, tmp_path / 'out', prior), fps=10)
    found = streamed(stream, frames)
    expected = list(inferencer(own_masks, prior=prior)(frames, 10))
    assert_equal(found, expected)
    if prior == 'aux':
        assert [one['mask_used'] for one in found] == [one.prior.valid for one in expected]
        assert any(one['mask_used'] for one in found)
        assert all(one['mask'].shape == (12, 16) and 0 <= one['mask'].min() <= one['mask'].max() <= 1 for one in found)


def test_points_of_a_refiner_that_is_given_masks(vivid: Path, frames: list[np.ndarray], tmp_path: Path):
    from mmpose_surgical.apis.mask_prior import LiveMaskPrior
    segmenter = inferencer(vivid, prior='grabcut')
    thresholds = segmenter.run.prompt_thresholds
    live = LiveMaskPrior(dict(backend='grabcut'), thresholds)
    asked = []

    def segment(picture: np.ndarray, points: list[dict]) -> tuple[np.ndarray, bool]:
        asked.append(points)
        assert all(point['score'] >= thresholds[point['landmark']] for point in points)
        slots = {'tip': [0, 1], 'anchor': [2]}
        keypoints, scores = np.zeros((3, 2)), np.zeros(3)
        for point in points:
            slot = slots[point['landmark']].pop(0)
            keypoints[slot], scores[slot] = (point['x'], point['y']), point['score']
        prior = live(picture, keypoints, scores)
        return prior.probability(), prior.valid

    folder = exported(vivid, tmp_path / 'out', 'input')
    expected = list(segmenter(frames, 10))
    assert any(one.prior.valid for one in expected)
    assert_equal(streamed(OnnxStream(folder, 10, segment), frames), expected)
    assert len(asked) == len(frames)
    with pytest.raises(StreamError, match='--prior input: give segment'):
        OnnxStream(folder, 10)
    # Where nothing prompts nobody is asked.
    stream = OnnxStream(folder, 10, segment)
    stream.metadata['prior']['thresholds'] = dict(tip=2., anchor=2.)
    without = streamed(stream, frames)
    assert len(asked) == len(frames)
    masked = streamed(OnnxStream(folder, 10, lambda picture, points: (np.ones((5, 5)), False)), frames)
    assert [one['points'] for one in masked] == [one['points'] for one in without]


@pytest.mark.parametrize('config', ['demo_simplebaseline', 'demo_rtmpose'])
def test_points_of_networks_that_see_one_frame(untrained: Callable, frames: list[np.ndarray], tmp_path: Path,
                                               config: str):
    from mmpose_surgical.export.onnx_export import export_onnx
    run = replace(untrained(config), thresholds=dict(tip=0., anchor=None))
    run.cfg.dump(tmp_path / 'config.py')
    export_onnx(run, tmp_path / 'out')
    stream = OnnxStream(tmp_path / 'out')  # which needs no frame rate
    expected = inferencer(tmp_path / 'config.py', weights=run.checkpoint)
    expected.thresholds = run.thresholds
    found = streamed(stream, frames[:3])
    assert ('heatmaps' in found[0]) == (config == 'demo_simplebaseline')
    assert_equal(found, list(expected(frames[:3])))


# -- elsewhere ------------------------------------------------------------------------------------------------------
ELSEWHERE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'torch', 'cv2', 'mmpose', 'mmengine', 'mmcv', 'scipy', 'mmpose_surgical', 'onnx'}:
            raise ImportError('not installed here: ' + name)
sys.meta_path.insert(0, Refuse())
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def elsewhere(*args: str | Path) -> subprocess.CompletedProcess:
    """Run a program in a Python that has onnxruntime and NumPy and nothing of this project."""
    return subprocess.run([sys.executable, '-I', '-c', ELSEWHERE, *map(str, args)], capture_output=True, text=True)


def test_the_folder_runs_where_nothing_else_is_installed(coarse_folder: Path, frames: list[np.ndarray],
                                                         tmp_path: Path):
    np.save(tmp_path / 'frames.npy', np.stack(frames))
    done = elsewhere(coarse_folder / 'onnx_stream.py', coarse_folder, tmp_path / 'frames.npy', '--fps', '10')
    assert done.returncode == 0 and done.stderr == ''
    expected = streamed(OnnxStream(coarse_folder, fps=10), frames)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {key: one[key] for key in ('frame', 'time', 'points')} for one in expected]


@pytest.mark.parametrize(('folder', 'frames_file', 'fps', 'told'), [
    ('nowhere', 'frames.npy', '10', 'name a folder that tools/export.py wrote'),
    ('out', 'frames.npy', None, 'give the frames per second'),
    ('out', 'nowhere.npy', '10', 'No such file'),
    ('out', 'flat.npy', '10', 'frame 0 is uint8 of shape (4, 3), not uint8 (height, width, 3)')])
def test_a_wrong_argument_is_told_in_one_line(coarse_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture, folder, frames_file, fps, told):
    from mmpose_surgical.export import onnx_stream
    np.save(tmp_path / 'frames.npy', np.zeros((2, 48, 64, 3), np.uint8))
    np.save(tmp_path / 'flat.npy', np.zeros((2, 4, 3), np.uint8))
    monkeypatch.setattr(sys, 'argv', ['onnx_stream.py', str(coarse_folder.parent / folder), str(tmp_path / frames_file),
                                      *(['--fps', fps] if fps else [])])
    assert onnx_stream.main() == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: ') and told in lines[0]


@pytest.mark.parametrize(('content', 'told'), [
    ('{', 'cannot be read'), ('[]', 'not of an export'), ('{"format": "mmpose_surgical ONNX pair", "version": 2}',
                                                         'is of version 2'),
    ('{"format": "mmpose_surgical ONNX pair", "version": 1}', 'frame.onnx is missing')])
def test_a_damaged_folder_is_told(tmp_path: Path, content: str, told: str):
    (tmp_path / 'metadata.json').write_text(content)
    with pytest.raises(StreamError, match=told):
        OnnxStream(tmp_path, fps=10)


def test_input_that_the_model_cannot_take(coarse_folder: Path):
    with pytest.raises(StreamError, match='leave out segment'):
        OnnxStream(coarse_folder, 10, lambda picture, points: (picture, True))
    stream = OnnxStream(coarse_folder, 10)
    for picture in (np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.uint8), np.zeros((0, 64, 3), np.uint8)):
        with pytest.raises(StreamError, match='not uint8'):
            stream.push(picture)
