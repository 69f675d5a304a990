"""``custom_imports=['mmpose_surgical.plugin']``: checks versions, mends upstream, registers what we bring.

To add a component, write its module and add one line to :data:`MODULES`.
"""
from __future__ import annotations

import importlib
import sys

from mmpose_surgical import compat
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.versions import setup_command, version_problems

MODULES = (
    'codecs.landmark_heatmap',
    'codecs.mask_augmented_heatmap',
    'datasets.clip_dataset',
    'datasets.transforms',
    'models.clip_preprocessor',
    'models.lateral_sum',
    'models.multi_frame_backbone',
    'models.temporal_fusion',
    'models.refine_head',
    'models.mask_prior_refiner',
    'models.losses',
    'models.pretrained',
    'models.amp',
    'priors.grabcut',
    'priors.sam',
    'priors.simulated',
    'evaluation.metric',
)


def check_versions() -> None:
    """Raise one :class:`UserError` that lists every package that is missing or outside its range."""
    problems = version_problems()
    if problems:
        raise UserError(list_problems(problems), where=sys.prefix, fix=setup_command())


def load() -> None:
    """Check versions, apply :mod:`compat`, and import every module that registers something."""
    check_versions()
    compat.apply()
    for module in MODULES:
        importlib.import_module(f'mmpose_surgical.{module}')


load()
