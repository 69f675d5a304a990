"""One frame of a predicted video as JSON values: points, and what an overlay shows besides."""
from typing import Any

import numpy as np

from mmpose_surgical.apis.inferencer import FrameResult
from mmpose_surgical.datasets.transforms import picture_to_heatmap, unwarp
from mmpose_surgical.pipeline.predict import stored_maps
from mmpose_surgical.prediction.heat import pack_heat
from mmpose_surgical.priors.base import MaskPrior
from mmpose_surgical.visualization.overlays import prior_outlines

_OUTLINE_SIDE = 640
_HEAT_SIDE = 160


def record_of(result: FrameResult, decoder: Any = None) -> dict[str, Any]:
    """A result as JSON values.

    Args:
        result: Of one frame.
        decoder: Codec of the network; with it the record keeps the heatmaps as ``heat``.

    Returns:
        :meth:`FrameResult.to_dict`, with ``outline`` of a valid mask prior: polygons ``[x, y, x, y, ...]`` in pixels of
        the picture.
    """
    record = result.to_dict()
    if result.prior is not None and result.prior.valid:
        record['outline'] = _polygons(result.prior, (result.picture.shape[1], result.picture.shape[0]))
    if decoder is not None and result.data_sample is not None:
        record['heat'] = _heat(result, decoder)
    return record


def _polygons(prior: MaskPrior, size: tuple[int, int]) -> list[list[int]]:
    scale = min(1, _OUTLINE_SIDE / max(size))
    outlines = prior_outlines(prior, (round(size[0] * scale), round(size[1] * scale)))
    return [np.rint(outline.ravel() / scale).astype(int).tolist() for outline in outlines]


def _heat(result: FrameResult, decoder: Any) -> dict[str, Any]:
    """Heatmaps over the picture, one for each landmark or slot."""
    maps = stored_maps(decoder, result.data_sample.pred_fields.heatmaps.float().cpu().numpy())
    size = result.picture.shape[1], result.picture.shape[0]
    matrix = picture_to_heatmap(result.data_sample.metainfo, maps.shape[:0:-1])
    return pack_heat(np.stack([unwarp(channel, matrix, size, _HEAT_SIDE) for channel in maps]))
