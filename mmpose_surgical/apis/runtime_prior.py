"""Where the mask prior M^c of a new video comes from: a segmenter, the refiner's own mask branch, or nowhere."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import cv2
import numpy as np

from mmpose_surgical.apis.mask_prior import LiveMaskPrior
from mmpose_surgical.apis.trained_run import TrainedRun
from mmpose_surgical.datasets.transforms import unwarp
from mmpose_surgical.errors import UserError
from mmpose_surgical.pipeline.config import uses_prior
from mmpose_surgical.pipeline.testing import trained_prior
from mmpose_surgical.priors.base import LONG_SIDE, MAX_SHARE, MaskPrior, to_int8
from mmpose_surgical.priors.weights import VARIABLES, find_weights

AUX, NONE = 'aux', 'none'
CHOICES = ('sam3', 'sam2', 'grabcut', AUX, NONE)

STEEPNESS = 16.
"""Of the sigmoid that sharpens the output of the mask branch around 0.5. Chosen on validation of the synthetic bench:
4, which leaves the output about as it is, cost a point of tip F1, and a hard step was no better."""


def takes_prior(run: TrainedRun) -> bool:
    """Whether a mask prior enters the model at run time."""
    return uses_prior(run.cfg) and run.cfg.model.head.get('use_prior', True)


def has_own_masks(run: TrainedRun) -> bool:
    """Whether the mask branch of a refiner can stand in for a segmenter: it learnt masks that it did not see."""
    head = run.trained_model.get('head', {})
    return (takes_prior(run) and head.get('mask_dropout', 0) > 0
            and (head.get('aux_loss') or {}).get('loss_weight', 0) > 0)


def resolve_runtime_prior(run: TrainedRun, asked: str | None, options: Mapping[str, Any],
                          device: str | None = None) -> dict[str, Any]:
    """Decide which prior a model gets in a video; nothing silently stands in for what it was trained with.

    Args:
        run: The model.
        asked: One of :data:`CHOICES`, or another registered backend; ``None``: the one that it was trained with.
        options: Overrides, of which those of ``prior`` count.
        device: Where a network that segments runs if they do not say.

    Returns:
        A config's ``prior`` with ``backend`` and ``checkpoint`` decided; ``backend`` may be ``aux`` or ``none``.

    Raises:
        UserError: The model was trained with the stand-in for synthetic pictures and nothing was named, it cannot take
            what was named, or weights are missing.
    """
    given = {key.removeprefix('prior.'): value for key, value in options.items() if key.startswith('prior.')}
    named = given.pop('backend', None)
    if named and asked and named != asked:
        raise UserError(f'two priors are named, {asked} and {named}', fix='name one')
    asked = asked or named
    if not takes_prior(run):
        if asked not in (None, NONE):
            refuse_prior(run, asked)
        return dict(backend=NONE)
    trained = run.facts['prior_config']
    own = {key: trained[key] for key in ('prompts', 'points') if key in trained}
    if asked == AUX and not has_own_masks(run):
        raise UserError('the mask branch of this model only copies the masks that it is given: it was trained without '
                        'mask dropout', run.checkpoint.parent, 'train refine_prior_aux with --cfg-options '
                        f'model.head.mask_dropout=0.2, or choose another prior: {_choices(run)}')
    if asked in (AUX, NONE):
        if foreign := sorted(given.keys() - own.keys()):
            raise UserError(f'prior.{foreign[0]} is of a segmenter, and {asked} is none', fix='leave it out')
        return own | given | dict(backend=asked)
    if asked is None and trained['backend'] == 'simulated' or asked == 'simulated':
        raise UserError('the "simulated" prior reads the renderer\'s masks, which a video does not have',
                        run.checkpoint.parent, f'name another with --prior (in Python: prior=): {_choices(run)}')
    if asked in (None, trained['backend']):
        cfg = run.cfg.copy()
        cfg.prior = dict(cfg.prior, backend='auto')
        cfg.merge_from_dict({f'prior.{key}': value for key, value in given.items()})
        prior = trained_prior(cfg, {f'prior.{key}': value for key, value in given.items()}, run.checkpoint)
    else:
        # Options and weights of another backend are none of its.
        prior = own | given | dict(backend=asked)
    if prior['backend'] in VARIABLES:
        prior['checkpoint'] = str(find_weights(prior['backend'], prior.get('checkpoint')).path)
        prior['device'] = given.get('device') or device or ''
    return prior


def refuse_prior(run: TrainedRun, name: str) -> NoReturn:
    """Say that a model takes no prior."""
    raise UserError(f'this model takes no mask prior, and {name} was named', run.checkpoint.parent, 'leave it out')


def _choices(run: TrainedRun) -> str:
    own = has_own_masks(run)
    told = dict(sam3='needs weights', sam2='needs weights', grabcut='poor, needs nothing', aux="the model's own masks",
                none='refine without')
    return ', '.join(f'{name} ({told[name]})' for name in CHOICES if name != AUX or own)


class RuntimePrior:
    """M^c of the frames of one stream, in order, from a segmenter; of every n-th frame if that is slow.

    A frame whose coarse points prompt nothing has no prior, as in training. Frames are counted in blocks of ``every``:
    the first of a block that prompts is segmented, the others that prompt take its mask.

    Args:
        segment: The segmenter.
        every: Length of a block.
    """

    def __init__(self, segment: LiveMaskPrior, every: int = 1) -> None:
        self.segment, self.every = segment, every
        self._made: tuple[int, MaskPrior] | None = None

    def __call__(self, picture: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, index: int) -> MaskPrior:
        """See :meth:`LiveMaskPrior.__call__`; ``index`` is the number of the frame."""
        size = picture.shape[1], picture.shape[0]
        if not len(self.segment.prompts(keypoints, scores, size)[0]):
            return self.segment.backend.no_prior(size)
        if self._made is None or self._made[0] != index // self.every:
            self._made = index // self.every, self.segment(picture, keypoints, scores, index)
        return self._made[1]


def own_prior(mask: np.ndarray, points: tuple[np.ndarray, np.ndarray], matrix: np.ndarray, size: tuple[int, int],
              long_side: int = LONG_SIDE) -> tuple[np.ndarray, MaskPrior]:
    """The output of the auxiliary mask branch as a prior.

    A regression is soft where it is not sure, and a refiner was trained on masks that are nearly binary: the output is
    sharpened, see :data:`STEEPNESS`. As of a segmenter, an empty mask has failed, and one over more
    than :data:`~mmpose_surgical.priors.base.MAX_SHARE` of the heatmap grid.

    Args:
        mask: Float (h, w) on the heatmap grid; values beyond 0 and 1 are clipped.
        points: Prompts and labels, as a segmenter would have had them; without any the prior is not valid.
        matrix: 3x3, from pixels of the picture to the heatmap grid.
        size: Width and height of the picture.
        long_side: Cells along the longer side of the logit grid.

    Returns:
        M^c (h, w) as the refiner takes it, zero where it is not valid; and the same over the picture.
    """
    found, labels = points
    valid = len(found) > 0 and 0 < float((mask > 0.5).mean()) <= MAX_SHARE
    logits = STEEPNESS * (np.clip(mask, 0, 1).astype(np.float32) - 0.5)
    over_picture = unwarp(logits, matrix, size, long_side, cv2.BORDER_REPLICATE)
    return 1 / (1 + np.exp(-logits)) * valid, MaskPrior(
        to_int8(over_picture), float('nan'), float('nan'), valid, found, labels)
