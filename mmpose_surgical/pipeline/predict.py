"""Coarse heatmaps of a split into a store: what the refiner sees, in training as in testing."""
import copy
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_dist_info
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.utils import import_modules_from_strings
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import DATASETS, MODELS
from torch.utils.data import DataLoader, Subset

import mmpose_surgical.plugin  # noqa: F401  (registers everything)
from mmpose_surgical.errors import UserError
from mmpose_surgical.pipeline.artifacts import Artifact
from mmpose_surgical.pipeline.stages import Progress
from mmpose_surgical.priors.sam import usable_device
from mmpose_surgical.priors.store import RecordStore


def load_model(cfg: Config, checkpoint: Path, device: str | None = None) -> torch.nn.Module:
    """The model of a config with trained weights, in evaluation mode on a device; by default the one at hand.

    Raises:
        UserError: The weights are of another network, or the device is not there.
    """
    place = usable_device(device or '', 'device')
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.setdefault('test_cfg', {})['output_heatmaps'] = True
    model = MODELS.build(model_cfg)
    try:
        load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    except RuntimeError as error:
        if 'match' not in str(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(f'the weights are not of this config: {"; ".join(lines[1:3])}', checkpoint,
                        f'name the weights that {cfg.config_file} was trained into, and leave out --cfg-options that '
                        'change the network') from None
    return model.to(place).eval()


def stored_maps(decoder: BaseKeypointCodec, heatmaps: np.ndarray) -> np.ndarray:
    """Maps (C, h, w) as they are kept: one per landmark type, or, of a codec such as SimCC, one per slot.

    SimCC's maps are as fine as its bins, finer than the picture that the network saw; they are for the eye alone.
    """
    if hasattr(decoder, 'per_landmark'):
        return decoder.per_landmark(heatmaps)
    size = [side // 4 for side in decoder.input_size]
    return np.stack([cv2.resize(maps, size, interpolation=cv2.INTER_AREA) for maps in heatmaps])


@torch.no_grad()
def predict_into_store(cfg: Config, checkpoint: Path, split: str, artifact: Artifact, progress: Progress,
                       model_name: str) -> None:
    """Predict this rank's share of a split; frames that the store already has are left alone.

    Each record holds ``heatmaps`` float16 (L, h, w) of the whole picture (the maximum over actions where the network
    has a map for each, see :class:`LandmarkHeatmap`), ``keypoints`` (3, 2) in pixels of the original picture and
    ``scores`` (3,), with the geometry of the input and the name of the model that made it.
    """
    rank, world = get_dist_info()
    import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    loader_cfg = copy.deepcopy(cfg.test_dataloader)
    loader_cfg.dataset.split = split
    dataset = DATASETS.build(loader_cfg.dataset)
    ids = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    with RecordStore(artifact.folder, {'coarse': artifact.fingerprint}, mode='a') as store:
        # Shared out before looking: what is missing changes while other ranks write.
        missing = [i for i in range(rank, len(ids), world) if not store.has(ids[i])]
        if not missing:
            return
        model = load_model(cfg, checkpoint)
        loader = DataLoader(Subset(dataset, missing), batch_size=loader_cfg.batch_size, collate_fn=pseudo_collate,
                            num_workers=loader_cfg.get('num_workers', 0))
        done = 0
        for batch in loader:
            for sample in model.test_step(batch):
                instances = sample.pred_instances
                key = f'{sample.img_id}-{artifact.fingerprint}'
                heatmaps = stored_maps(model.head.decoder, sample.pred_fields.heatmaps.float().cpu().numpy())
                store.put(key, dict(
                    heatmaps=heatmaps.astype(np.float16),
                    keypoints=np.asarray(instances.keypoints[0], np.float32),
                    scores=np.asarray(instances.keypoint_scores[0], np.float32)),
                    dict(input_center=[float(v) for v in sample.input_center],
                         input_scale=[float(v) for v in sample.input_scale],
                         input_size=[int(v) for v in sample.input_size], model=model_name))
                store.link(sample.img_id, key)
                done += 1
            progress(done, len(missing))
