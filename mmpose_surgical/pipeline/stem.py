"""The refiner's visual stem: its own, or that of the coarse network."""
from pathlib import Path

from mmengine.config import Config

from mmpose_surgical.errors import UserError
from mmpose_surgical.pipeline.artifacts import COARSE_WEIGHTS


def share_stem(cfg: Config, coarse: Config, folder: Path) -> None:
    """With ``stem='shared'``, make the coarse network's per-frame half the frozen visual stem of a refiner. Idempotent.

    Architecture and weights are those of the coarse network, whatever the config says of ``model.backbone`` and
    ``model.neck``. The weights are named by folder, since a plan is made before they are; ``stages.name_stem_weights``
    finds them when training starts. They are those of the network that saw all training videos: features of training
    pictures are in-sample, the coarse heatmaps beside them stay out-of-fold.

    Args:
        cfg: Config of the refiner, changed in place.
        coarse: Config of the coarse network behind it.
        folder: Where that one is trained.

    Raises:
        UserError: The coarse network has no per-frame half, or pictures enter the two networks differently.
    """
    kind = cfg.get('stem', 'own')
    if kind not in ('own', 'shared'):
        raise UserError(f'stem is {kind}', cfg.config_file, 'use own or shared')
    if kind == 'own':
        return
    theirs = coarse.model.backbone
    if theirs['type'] != 'MultiFrameBackbone' or 'out_channels' not in theirs['neck']:
        raise UserError(f'a coarse network with {theirs["type"]} has no stem to share', cfg.coarse.config,
                        'use MultiFrameBackbone with a neck that has out_channels, or stem=own')
    if (coarse.model.data_preprocessor != cfg.model.data_preprocessor
            or tuple(coarse.codec.input_size) != tuple(cfg.codec.input_size)):
        raise UserError('pictures enter coarse network and refiner differently (data_preprocessor, codec.input_size): '
                        'a frozen stem cannot be shared', cfg.config_file, 'make them equal, or use stem=own')

    def part(name: str) -> dict:
        return dict(theirs[name], init_cfg=dict(
            type='Pretrained', checkpoint=f'{COARSE_WEIGHTS}{folder}', prefix=f'backbone.{name}.'))

    cfg.model.update(backbone=part('backbone'), neck=part('neck'), freeze_stem=True)
    cfg.model.head.in_channels = theirs['neck']['out_channels']
