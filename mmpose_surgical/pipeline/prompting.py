"""From coarse predictions to mask priors: prompts, backend, store."""
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.landmarks import SLOTS, landmark_of
from mmpose_surgical.pipeline.artifacts import Artifact
from mmpose_surgical.priors.base import MaskPriorBackend, PriorFrame, build_backend
from mmpose_surgical.priors.maker import PriorJob
from mmpose_surgical.priors.prompts import PromptRule, jittered_prompts
from mmpose_surgical.priors.store import RecordStore

JITTER_PX = 4.0
"""About how far coarse points of a trained network lie off, in pixels of a picture 640 wide."""


def jitter_of(cfg: Config) -> dict[str, float]:
    """Number and spread of jittered sets of prompts; empty where there are none."""
    count, px = cfg.prior.get('jitter') or 0, cfg.prior.get('jitter_px', JITTER_PX)
    if not isinstance(count, int) or count < 0:
        raise UserError(f'prior.jitter is {count}', fix='use a whole number, 0 or more')
    if not isinstance(px, int | float) or px <= 0:
        raise UserError(f'prior.jitter_px is {px}', fix='use a number above 0: pixels of a picture 640 wide')
    return dict(count=count, px=float(px)) if count else {}


def backend_of(cfg: Config) -> MaskPriorBackend:
    """The prior backend of a config with a resolved prior; imports what the config's ``custom_imports`` register."""
    import_modules_from_strings(**cfg.custom_imports)
    return build_backend(cfg.prior)


def describe_prior(cfg: Config) -> dict[str, Any]:
    """:func:`describe_backend` of a config's prior."""
    return describe_backend(backend_of(cfg), cfg.prior)


def describe_backend(backend: MaskPriorBackend, prior: Mapping[str, Any]) -> dict[str, Any]:
    """What every table says of the prior: backend, whether it is a stand-in, fingerprint of backend and weights.

    Where prompts are not the paper's, also their rule, and ``label``, e.g. ``oracle prompts``.
    """
    rule = PromptRule.of(prior)
    return dict(backend=backend.name, stand_in=backend.stand_in, fingerprint=backend.fingerprint, **rule.content,
                **(dict(label=rule.label) if rule.label else {}))


def predictions_of_store(folder: Path, frames: list[Frame]) -> Predictions:
    """All coarse points of these frames, without a threshold."""
    store = RecordStore(folder)
    records = []
    for frame in frames:
        arrays, _ = store.get(frame.image_id)
        rows = zip(SLOTS, arrays['keypoints'].tolist(), arrays['scores'].tolist())
        records += [dict(image_id=frame.image_id, landmark=landmark_of(slot), x=x, y=y, score=score)
                    for slot, (x, y), score in rows if score > 0]
    return Predictions.from_records(records, str(folder))


def load_prior_frame(frame: Frame, root: Path) -> PriorFrame:
    """A picture for a backend. Of the annotations only masks travel with it, of all instances alike."""
    has_masks = any(tool.segmentation for tool in frame.tools)
    picture = frame.file(root).read((frame.width, frame.height))
    rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return PriorFrame(rgb, frame.image_id, partial(instance_masks, frame) if has_masks else None)


def instance_masks(frame: Frame) -> list[np.ndarray]:
    """Masks (H, W) of all instances of a frame, whether they act or not."""
    masks = (tool.mask(frame.height, frame.width) for tool in frame.tools)
    return [mask for mask in masks if mask is not None]


def active_mask(frame: Frame) -> np.ndarray | None:
    """Mask of the acting tools, for the quality report alone; ``None`` where the data has none or nothing acts."""
    masks = [tool.mask(frame.height, frame.width) for tool in frame.active_tools]
    return np.any(masks, axis=0) if masks and all(mask is not None for mask in masks) else None


def prior_jobs(cfg: Config, predictions: Path | None, thresholds: dict[str, float], frames: list[Frame], root: Path,
               training: Collection[int] = ()) -> list[PriorJob]:
    """Prompts of frames, by default from their coarse predictions; ``training`` ones get jittered sets too."""
    jitter, rule = jitter_of(cfg), PromptRule.of(cfg.prior)
    coarse = None if rule.oracle else RecordStore(predictions)
    jobs = []
    for frame in frames:
        size = (frame.width, frame.height)
        points, labels = rule.of_frame(frame, coarse, thresholds)
        jittered = jittered_prompts(points, size, frame.image_id, jitter['count'], jitter['px']) \
            if jitter and frame.image_id in training else ()
        jobs.append(PriorJob(frame.image_id, partial(load_prior_frame, frame, root), points, labels,
                             partial(instance_masks, frame), partial(active_mask, frame), jittered))
    return jobs


def open_prior_store(artifact: Artifact, backend: MaskPriorBackend) -> RecordStore:
    """The store of an artifact, for appending."""
    options = {name: str(value) for name, value in backend.parameters().items()}
    return RecordStore(artifact.folder, dict(options, backend=backend.fingerprint, made_from=artifact.fingerprint),
                       mode='a')
