"""Transforms for clips and mask priors. Geometry is left to MMPose's own transforms."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from mmpose.datasets.transforms import PackPoseInputs, PhotometricDistortion
from mmpose.registry import TRANSFORMS
from mmpose.structures.bbox import get_warp_matrix

from mmpose_surgical.baselines.tip_order import tip_order
from mmpose_surgical.datasets.frame_file import FrameFile
from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPrior, grid_shape
from mmpose_surgical.priors.maker import variant_id
from mmpose_surgical.priors.store import RecordStore


@TRANSFORMS.register_module()
class LoadClip(BaseTransform):
    """Read the frames of a window.

    Added keys: ``img``, a list of T pictures (H, W, 3) BGR uint8, oldest first; ``img_shape`` and ``ori_shape``.
    With T = 1 ``img`` is a single picture, so that every transform of MMPose can follow.

    Raises:
        UserError: A picture cannot be decoded, or its size differs from the annotation's.
    """

    def transform(self, results: dict) -> dict:
        files: list[FrameFile] = results['window_files']
        # In order of time, in which a video is decoded once; a frame that the window repeats is read once.
        frames = {file: file.read(tuple(results['picture_size'])) for file in sorted(set(files))}
        clip = [frames[file] for file in files]
        results['img'] = clip if len(clip) > 1 else clip[0]
        results['img_shape'] = results['ori_shape'] = clip[0].shape[:2]
        return results


@TRANSFORMS.register_module()
class ClipPhotometricDistortion(PhotometricDistortion):
    """MMPose's colour jitter with one draw for all frames of a clip: flicker would look like motion.

    Arguments are those of :class:`mmpose.datasets.transforms.PhotometricDistortion`.
    """

    def transform(self, results: dict) -> dict:
        clip = results['img'] if isinstance(results['img'], list) else [results['img']]
        self._flags = super()._random_flags()
        distorted = [PhotometricDistortion.transform(self, dict(img=frame))['img'] for frame in clip]
        results['img'] = distorted if isinstance(results['img'], list) else distorted[0]
        return results

    def _random_flags(self) -> Sequence:
        return self._flags

    def _convert(self, img: np.ndarray, alpha: float = 1, beta: float = 0) -> np.ndarray:
        # The same for equal values, of which there are 256: a table is five times as fast as arithmetic in float32.
        return cv2.LUT(img, super()._convert(np.arange(256, dtype=np.uint8), alpha, beta))


def flip_matrix(flipped: bool, width: int) -> np.ndarray:
    """3x3 matrix of a horizontal flip of a picture of this width, or the identity."""
    return np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], dtype=float) if flipped else np.eye(3)


def input_matrix(center: Sequence[float], scale: Sequence[float], rotation: float,
                 input_size: tuple[int, int]) -> np.ndarray:
    """3x3 matrix from picture to network input, as ``TopdownAffine`` warps it."""
    return np.vstack([get_warp_matrix(np.asarray(center), np.asarray(scale), rotation, output_size=input_size),
                      [0, 0, 1]])


def grid_matrix(grid_size: tuple[int, int], picture_size: tuple[int, int]) -> np.ndarray:
    """3x3 matrix from the cells of a (w, h) grid stretched over a picture to pixels of that picture."""
    sx, sy = picture_size[0] / grid_size[0], picture_size[1] / grid_size[1]
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])


def picture_to_heatmap(results: dict, heatmap_size: tuple[int, int]) -> np.ndarray:
    """3x3 matrix from pixels of the original picture to the heatmap grid, by what was recorded of this sample.

    Flip, shift, scale and rotation are replayed; the sample is behind ``TopdownAffine``.
    """
    if results.get('flip') and results['flip_direction'] != 'horizontal':
        raise ValueError(f'only horizontal flips are replayed, not {results["flip_direction"]} ones')
    input_size = results['input_size']
    rotation = results['bbox_rotation'][0] if 'bbox_rotation' in results else 0.
    to_heatmap = np.diag([heatmap_size[0] / input_size[0], heatmap_size[1] / input_size[1], 1])
    return (to_heatmap @ input_matrix(results['input_center'], results['input_scale'], rotation, input_size)
            @ flip_matrix(results.get('flip', False), results['img_shape'][1]))


def warp(array: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) on another grid of (width, height), zero where it has nothing."""
    return cv2.warpAffine(array, matrix[:2], size, flags=cv2.INTER_LINEAR)


def unwarp(array: np.ndarray, matrix: np.ndarray, size: tuple[int, int], long_side: int,
           border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """A map (h, w) back over the picture of (width, height) that ``matrix`` led from, see :func:`warp`.

    Args:
        array: The map.
        matrix: 3x3, from pixels of the picture to cells of the map.
        size: Width and height of the picture.
        long_side: Cells along the longer side of the grid over it.
        border: Of OpenCV: what the picture has where the map has nothing.
    """
    grid = grid_shape(size, long_side)[::-1]
    return cv2.warpAffine(array.astype(np.float32), (matrix @ grid_matrix(grid, size))[:2], grid,
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)


@TRANSFORMS.register_module()
class LoadMaskPrior(BaseTransform):
    """Coarse heatmaps H^c and mask prior M^c of a frame, warped like the picture (paper, section 2.2).

    Both are read from stores in picture geometry; the recorded flip, shift, scale and rotation of this sample are
    replayed on them, straight to the heatmap grid. Place it behind ``TopdownAffine``.

    Added keys: ``coarse_heatmaps`` (L, h, w) and ``prior_mask`` (1, h, w), float32 in [0, 1], and ``prior_valid``.

    Args:
        predictions: Folder of the store of coarse heatmaps.
        priors: Folder of the store of mask priors; ``None`` for a model that takes none: the mask is then zero and
            not valid.
        heatmap_size: Width and height of the maps.
        jitter: Number of jittered priors in the store, one of which, or the plain one, is drawn at random: for
            training.

    Raises:
        UserError: A store lacks this picture.
    """

    def __init__(self, predictions: str, priors: str | None, heatmap_size: tuple[int, int], jitter: int = 0) -> None:
        super().__init__()
        self.jitter = jitter
        self.predictions = RecordStore(Path(predictions))
        self.priors = None if priors is None else RecordStore(Path(priors))
        self.heatmap_size = tuple(heatmap_size)

    def transform(self, results: dict) -> dict:
        to_heatmap = picture_to_heatmap(results, self.heatmap_size)

        arrays, scalars = self.predictions.get(results['img_id'])
        results['coarse_heatmaps'] = warp_coarse(arrays['heatmaps'], scalars, to_heatmap, self.heatmap_size)

        if self.priors is None:
            results['prior_mask'] = np.zeros((1, *self.heatmap_size[::-1]), np.float32)
            results['prior_valid'] = 0.
            return results
        variant = int(np.random.randint(self.jitter + 1)) if self.jitter else 0
        prior = MaskPrior.from_record(*self.priors.get(results['img_id']))
        # A picture without prompts has no jittered ones.
        if variant and len(prior.points_xy):
            prior = MaskPrior.from_record(*self.priors.get(variant_id(results['img_id'], variant)))
        results['prior_mask'] = warp_prior(prior, results['img_shape'][:2], to_heatmap, self.heatmap_size)[None]
        results['prior_valid'] = float(prior.valid)
        return results


def warp_coarse(maps: np.ndarray, geometry: Mapping[str, Any], matrix: np.ndarray,
                size: tuple[int, int]) -> np.ndarray:
    """H^c on another grid; see :func:`warp`.

    Args:
        maps: (L, h, w), as the coarse network gives them for its input.
        geometry: How that lies in the picture: ``input_size``, ``input_center`` and ``input_scale``.
        matrix: 3x3, from pixels of the picture to the other grid.
        size: Width and height of the other grid.

    Returns:
        float32 (L, height, width).
    """
    width, height = geometry['input_size']
    to_input = np.diag([width / maps.shape[2], height / maps.shape[1], 1])
    from_picture = input_matrix(geometry['input_center'], geometry['input_scale'], 0., (width, height))
    to_grid = matrix @ np.linalg.inv(from_picture) @ to_input
    return np.stack([warp(channel, to_grid, size) for channel in maps.astype(np.float32)])


def warp_prior(prior: MaskPrior, shape: tuple[int, int], matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """M^c of a picture of ``shape`` (height, width) on another grid, float32 in [0, 1]; see :func:`warp`."""
    probability = prior.probability()
    return warp(probability, matrix @ grid_matrix(probability.shape[::-1], shape[::-1]), size)


@TRANSFORMS.register_module()
class LoadToolMask(BaseTransform):
    """The mask of the acting tools for direct mask supervision (paper, section 2.4), warped like the picture.

    From the annotations where these have a mask of every acting tool of the frame, else from a store of priors that
    were prompted with ground-truth points. It is a target: place it behind ``TopdownAffine`` of training alone.

    Added key: ``tool_mask``, bool (h, w); empty where nothing acts, and for a prior that failed: such a picture has the
    targets of the coarse network.

    Args:
        heatmap_size: Width and height of the grid.
        masks: Folder of that store; ``None`` where the annotations have all masks.

    Raises:
        UserError: A mask is neither in the annotations nor in the store.
    """

    def __init__(self, heatmap_size: tuple[int, int], masks: str | None = None) -> None:
        super().__init__()
        self.heatmap_size = tuple(heatmap_size)
        self.masks = None if masks is None else RecordStore(Path(masks))

    def transform(self, results: dict) -> dict:
        shape = results['img_shape'][:2]
        to_heatmap = picture_to_heatmap(results, self.heatmap_size)
        known = [tool.mask(*shape) for tool in results['acting_tools']]
        if all(mask is not None for mask in known):
            joined = np.any([np.zeros(shape, bool), *known], axis=0)
            share = warp(joined.astype(np.float32), to_heatmap, self.heatmap_size)
        elif self.masks is None:
            raise UserError('an acting tool has no mask', f'image {results["img_id"]}', 'give its annotation a '
                            '"segmentation", or train with tools/train.py, which has a prior backend make it')
        else:
            prior = MaskPrior.from_record(*self.masks.get(results['img_id']))
            share = warp_prior(prior, shape, to_heatmap, self.heatmap_size)
        results['tool_mask'] = share > 0.5
        return results


@TRANSFORMS.register_module()
class CanonicalTool(BaseTransform):
    """Leave one acting tool with its tips in canonical order, for heads with one output per slot such as SimCC.

    Place it behind ``TopdownAffine``. Stock top-down heads answer with one instance per box, and here the box is the
    whole picture: of several acting tools the one nearest the middle of the input stays, which is a rule that can be
    seen in the picture. Points that augmentation moved out of it are absent, as in :class:`LandmarkHeatmap`.

    Changed keys: ``keypoints``, ``transformed_keypoints`` (1, 3, 2) and ``keypoints_visible`` (1, 3). See
    :func:`~mmpose_surgical.baselines.tip_order.tip_order` for the order.
    """

    def transform(self, results: dict) -> dict:
        points, size = results['transformed_keypoints'], np.array(results['input_size'])
        inside = ((points >= 0) & (points < size)).all(axis=-1)
        visible = np.where(inside, results['keypoints_visible'], 0).astype(np.float32)
        distances = [np.hypot(*(tool[shown > 0].mean(axis=0) - (size - 1) / 2)) if shown.any() else np.inf
                     for tool, shown in zip(points, visible)]
        chosen = [int(np.argmin(distances))]
        order = tip_order(points[chosen], visible[chosen])
        for key, values in (('keypoints', results['keypoints']), ('transformed_keypoints', points)):
            results[key] = np.take_along_axis(values[chosen], order[..., None], axis=1)
        results['keypoints_visible'] = np.take_along_axis(visible[chosen], order, axis=1)
        return results


@TRANSFORMS.register_module()
class PackClipInputs(PackPoseInputs):
    """Pack clips (T, C, H, W) or pictures (C, H, W) and, where they were loaded, the priors.

    H^c and M^c travel as ``data_sample.prior_fields`` (``coarse_heatmaps``, ``mask``), apart from the ground truth,
    because a codec decides which ground-truth fields are packed. Training targets cover all acting tools;
    ``gt_instances`` keeps the first one, since MMPose allows one instance beside one box.
    """

    META_KEYS = ('id', 'img_id', 'img_path', 'ori_shape', 'img_shape', 'input_size', 'input_center', 'input_scale',
                 'flip', 'flip_direction', 'flip_indices', 'video', 'frame_id', 'prior_valid')

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys=tuple(meta_keys))

    def transform(self, results: dict) -> dict:
        results['keypoints'] = results['keypoints'][:1]
        results['keypoints_visible'] = results['keypoints_visible'][:1]
        clip = results['img']
        # MMPose packs a picture by a permutation that costs as much as decoding half of it.
        packed = super().transform(dict(results, img=np.empty((0, 0, 3), np.uint8)))
        packed['inputs'] = torch.from_numpy(np.stack([_planar(frame) for frame in clip]) if isinstance(clip, list)
                                            else _planar(clip))
        sample = packed['data_samples']
        if 'coarse_heatmaps' in results:
            fields = PixelData(coarse_heatmaps=results['coarse_heatmaps'], mask=results['prior_mask'])
            sample.set_field(fields.to_tensor(), 'prior_fields', dtype=PixelData)
        return packed


def _planar(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) to (3, H, W)."""
    return np.stack(cv2.split(frame))
