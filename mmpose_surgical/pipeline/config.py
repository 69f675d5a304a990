"""Reading a config and filling in what it names once.

A config names its data folder, window, codec and stores once, at the top level. MMEngine merges ``--cfg-options`` after
a config file is evaluated, so these values are written into the places that need them here, after every override. The
config that a run dumps is complete and works without this module.
"""
import math
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from mmengine.config import Config

from mmpose_surgical.datasets.boxes import ORACLE, PICTURE, box_label
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.datasets.windows import WindowMode, target_position
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.landmarks import ACTIONS, LANDMARKS
from mmpose_surgical.packaged_weights import PREFIX, find_packaged
from mmpose_surgical.priors.prompts import PromptRule
from mmpose_surgical.priors.weights import VARIABLES, find_weights, how_to_get, named_checkpoint

STAND_INS = ('simulated', 'grabcut')
"""Backends that are no SAM; their classes say so too, but a plan is printed before those can be imported."""

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_EVALUATORS = ('val_evaluator', 'test_evaluator')


def load_config(path: str | Path, options: dict[str, Any] | None = None, work_dir: str | Path | None = None) -> Config:
    """Read a config file, merge overrides and fill in.

    Args:
        path: Config file.
        options: Overrides as ``--cfg-options`` gives them.
        work_dir: Folder of the run; else the config's own ``work_dir``, else ``work_dirs/<config name>``.

    Raises:
        UserError: The file is missing or cannot be evaluated.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError('config file not found', path, 'see configs/ for those that exist')
    try:
        # Registering the plugin imports torch and MMPose; a run that is already done needs neither.
        cfg = Config.fromfile(path, import_custom_modules=False)
        cfg.merge_from_dict(options or {})
    except Exception as error:  # a config is Python code: anything can go wrong in it
        raise UserError(f'config cannot be read: {type(error).__name__}: {error}', path, 'correct the config or the '
                        '--cfg-options') from None
    cfg.config_file = str(path)
    cfg.work_dir = str(work_dir or cfg.get('work_dir') or Path('work_dirs') / path.stem)
    try:
        if cfg.get('coarse'):
            # The dumped config of a run must find its prerequisite from its own folder too.
            cfg.coarse.config = str((path.parent / cfg.coarse.config).resolve())
        fill_in(cfg)
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f'config lacks what this project fills in, or has it in another shape: {error}', path,
                        'start from configs/surgical/coarse.py, and correct the --cfg-options') from None
    return cfg


def fill_in(cfg: Config) -> None:
    """Write data folder, window, codec and epochs into data sets, transforms, schedule and model. Idempotent.

    Raises:
        UserError: The window is of no known kind.
    """
    clip = window_of(cfg)
    for scheduler in cfg.get('param_scheduler', []):
        if scheduler['type'] == 'CosineAnnealingLR' and scheduler.get('by_epoch', True):
            for key, value in (('begin', 0), ('end', cfg.train_cfg.max_epochs), ('T_max', cfg.train_cfg.max_epochs)):
                scheduler.setdefault(key, value)
    for name in LOADERS:
        if cfg.get(name):
            dataset = cfg[name]['dataset']
            dataset.update(data_root=cfg.data_root, box=cfg.get('box', PICTURE), **clip)
            for transform in dataset['pipeline']:
                _fill_transform(transform, cfg.codec)
    for name in _EVALUATORS:
        if cfg.get(name):
            loader = cfg[name.replace('evaluator', 'dataloader')]
            cfg[name].update(data_root=cfg.data_root, split=loader['dataset']['split'])
    head = cfg.model.get('head', {})
    if head.get('type') in ('HeatmapHead', 'RefineHead'):
        head['decoder'] = dict(cfg.codec)
        if cfg.codec['type'] in ('LandmarkHeatmap', 'MaskAugmentedHeatmap'):
            head['out_channels'] = len(LANDMARKS) * max(len(channel_actions(cfg.codec)), 1)
    elif head.get('type') == 'RTMCCHead':
        size = tuple(cfg.codec.input_size)
        # Every halving of the backbone rounds up.
        head.update(decoder=dict(cfg.codec), input_size=size, simcc_split_ratio=cfg.codec.simcc_split_ratio,
                    in_featuremap_size=tuple(math.ceil(side / 32) for side in size))
    if head.get('loss', {}).get('type') == 'GatedMSELoss':
        head.loss.alpha = cfg.codec.alpha
    fusion = cfg.model.backbone.get('fusion')
    if fusion is not None:
        fusion.update(num_frames=clip['num_frames'], target_index=target_position(clip['num_frames'], clip['window']))
    _drop_missing_weights(image_backbone(cfg))


def window_of(cfg: Config) -> dict[str, Any]:
    """The window that a config's data sets load: its ``clip``, or one frame where no other is looked at.

    Raises:
        UserError: ``clip.window`` is neither ``centred`` nor ``causal``.
    """
    clip = dict(window='centred') | dict(cfg.clip)
    if clip['window'] not in get_args(WindowMode):
        raise UserError(f'clip.window is {clip["window"]}', fix=f'use {" or ".join(get_args(WindowMode))}')
    if (cfg.model.backbone.get('fusion') or {}).get('type') == 'TargetFrameOnly':
        clip['num_frames'] = 1
    return clip


def channel_actions(codec: dict) -> tuple[str, ...]:
    """The actions that have channels of their own in a codec's heatmaps; none by default."""
    return tuple(codec.get('actions', ACTIONS)) if codec.get('channels') == 'action_landmark' else ()


def check_actions(cfg: Config, annotations: Annotations) -> None:
    """Refuse, before the first second of training, training data with actions that have no channel.

    Raises:
        UserError: Acting tools do what ``codec.actions`` does not name.
    """
    actions = channel_actions(cfg.codec)
    if not actions:
        return
    found = Counter(tool.action for frame in frames_of_split(annotations, 'train') for tool in frame.active_tools)
    if unknown := [f'"{name}" ({number} tools)' for name, number in found.items() if name not in actions]:
        raise UserError(f'actions without a channel: {list_problems(unknown)}', annotations.path,
                        f'name them in codec.actions, which is {", ".join(actions)}')


def _fill_transform(transform: dict, codec: dict) -> None:
    if transform['type'] == 'TopdownAffine':
        transform['input_size'] = tuple(codec['input_size'])
    elif transform['type'] == 'GenerateTarget':
        transform['encoder'] = dict(codec)
    elif transform['type'] in ('LoadMaskPrior', 'LoadToolMask'):
        transform['heatmap_size'] = tuple(codec['heatmap_size'])


def image_backbone(cfg: Config) -> dict:
    """The part of the model's config that sees single pictures, also inside a :class:`MultiFrameBackbone`."""
    return cfg.model.backbone.get('backbone', cfg.model.backbone)


def _drop_missing_weights(backbone: dict) -> None:
    """Start from scratch where the weights that a config would like are not there; :func:`weights_line` says so."""
    init = backbone.get('init_cfg')
    if not init or init.get('type') != 'Pretrained':
        return
    checkpoint = init['checkpoint']
    if checkpoint == 'none' or (checkpoint.startswith(PREFIX) and find_packaged(checkpoint) is None):
        backbone['init_cfg'] = None
        # Random features are not to be kept as they are.
        for key, free in (('frozen_stages', -1), ('norm_eval', False)):
            if key in backbone:
                backbone[key] = free


def weights_line(cfg: Config) -> str:
    """One line that says what the backbone starts from."""
    if cfg.get('stem') == 'shared':
        return 'backbone: that of the coarse network, with its weights, frozen'
    backbone = image_backbone(cfg)
    init = backbone.get('init_cfg')
    if init and init.get('type') == 'Pretrained':
        return f'backbone: {backbone["type"]}, starts from {init["checkpoint"]}'
    return f'backbone: {backbone["type"]}, from scratch'


def box_lines(cfg: Config) -> list[str]:
    """One line that says what the network sees where that is not the whole picture."""
    box = cfg.get('box', PICTURE)
    return [] if box == PICTURE else [f'box: {box_label(box)}' + (
        ', which gives the acting tool away: not to be compared with other results' if box == ORACLE else '')]


def fill_in_stores(cfg: Config, predictions: Path, priors: Path | None) -> None:
    """Write the folders of coarse predictions and mask priors (if any) into every ``LoadMaskPrior``."""
    for name in LOADERS:
        if cfg.get(name):
            for transform in cfg[name]['dataset']['pipeline']:
                if transform['type'] == 'LoadMaskPrior':
                    transform.update(predictions=str(predictions), priors=priors and str(priors))
                    if name == 'train_dataloader' and cfg.prior.get('jitter'):
                        transform['jitter'] = int(cfg.prior.jitter)


def wants_masks(cfg: Config) -> bool:
    """Whether the masks of acting tools enter the target of a model (direct mask supervision)."""
    return cfg.codec['type'] == 'MaskAugmentedHeatmap'


def frames_without_masks(cfg: Config, annotations: Annotations) -> list[Frame]:
    """Training frames of direct mask supervision in which an acting tool has no ground-truth mask."""
    if not wants_masks(cfg):
        return []
    return [frame for frame in frames_of_split(annotations, cfg.train_dataloader.dataset.split)
            if any(not tool.segmentation for tool in frame.active_tools)]


def fill_in_masks(cfg: Config, masks: Path | None) -> None:
    """Write the folder of the masks that the annotations lack, if any, into ``LoadToolMask``."""
    for transform in cfg.train_dataloader.dataset.pipeline:
        if transform['type'] == 'LoadToolMask':
            transform['masks'] = masks and str(masks)


def coarse_for_training(cfg: Config) -> str | None:
    """``out-of-fold`` or ``in-sample``: which coarse predictions a refiner was trained with; ``None`` without any."""
    if not cfg.get('coarse'):
        return None
    return 'out-of-fold' if cfg.coarse.get('out_of_fold', True) else 'in-sample'


def uses_prior(cfg: Config) -> bool:
    """Whether the mask prior enters a model, as its input or as the target of its auxiliary branch."""
    head = cfg.model.get('head', {})
    aux = head.get('aux_loss') or {}
    return head.get('type') == 'RefineHead' and bool(head.get('use_prior', True) or aux.get('loss_weight', 0) > 0)


def resolve_prior(prior: dict, annotations: Annotations) -> dict:
    """Decide which segmenter makes the mask priors; nothing silently stands in for SAM 3.

    Args:
        prior: The config's ``prior``: ``backend``, ``checkpoint`` and arguments of the backend.
        annotations: The data that the prior will be made for.

    Returns:
        The same with ``backend`` and ``checkpoint`` decided. ``auto`` takes SAM 3 where ``checkpoint`` or
        ``SAM3_CHECKPOINT`` names weights, else, on synthetic data alone, ``simulated``.

    Raises:
        UserError: ``auto`` finds neither weights nor synthetic data, ``simulated`` meets other pictures, or the named
            weights are not there.
    """
    resolved = dict(prior)
    named = resolved.get('checkpoint')
    if resolved['backend'] == 'auto':
        if named_checkpoint('sam3', named):
            resolved['backend'] = 'sam3'
        elif annotations.synthetic:
            resolved['backend'] = 'simulated'
        else:
            raise UserError('no prior backend: no SAM 3 weights are named, and nothing takes their place by itself on '
                            'data that is not synthetic', annotations.path, how_to_get('sam3'))
    if resolved['backend'] == 'simulated' and not annotations.synthetic:
        raise UserError('the "simulated" prior reads the renderer\'s masks and exists for synthetic data only',
                        annotations.path, how_to_get('sam3'))
    if resolved['backend'] in VARIABLES:
        resolved['checkpoint'] = str(find_weights(resolved['backend'], named).path)
    return resolved


def prior_line(prior: dict | None, asked: str = '') -> str:
    """One line that says which prior is used, whether it is a stand-in, and why.

    Args:
        prior: The resolved prior; ``None`` for a model that takes none.
        asked: The backend that the config asked for, e.g. ``auto``.
    """
    if prior is None:
        return 'prior: none'
    name = prior['backend']
    why = [] if name not in STAND_INS else ['a stand-in for SAM 3']
    if asked != 'auto':
        why.append('named in the config')
    elif name in STAND_INS:
        why.append('SAM3_CHECKPOINT is unset; synthetic data')
    rule = PromptRule.of(prior)
    bound = ': ground-truth points, an upper bound and no result' if rule.oracle else ''
    return f'prior: {name}' + (f' {prior["checkpoint"]}' if prior.get('checkpoint') else '') + (
        f' ({": ".join(why)})' if why else '') + (f'; {rule.label}{bound}' if rule.label else '')
