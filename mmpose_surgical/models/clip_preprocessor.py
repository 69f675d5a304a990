"""Data preprocessor that takes clips."""
import torch
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.registry import MODELS


@MODELS.register_module()
class ClipDataPreprocessor(PoseDataPreprocessor):
    """MMPose's preprocessor for inputs with a time axis.

    uint8 frames are moved to the device and normalised there. Clips (T, C, H, W) become (N, T, C, H, W); pictures
    (C, H, W) pass as in MMPose. Arguments are those of :class:`mmpose.models.PoseDataPreprocessor`.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Collate and normalise ``data['inputs']``, a list of N tensors or one batched tensor."""
        inputs, samples = data['inputs'], data['data_samples']
        # One tensor, not a list: the parent then normalises all pictures at once, which is many times faster.
        inputs = inputs if isinstance(inputs, torch.Tensor) else torch.stack(list(inputs))
        if inputs.dim() == 4:
            batch = super().forward(dict(inputs=inputs, data_samples=samples), training)
            return dict(inputs=_channels_last(batch['inputs']), data_samples=batch['data_samples'])
        num_frames = inputs.shape[1]
        # The parent pairs inputs and samples only to note the shape, which is one for all frames.
        batch = super().forward(dict(inputs=inputs.flatten(0, 1), data_samples=samples), training)
        return dict(inputs=_channels_last(batch['inputs']).unflatten(0, (-1, num_frames)),
                    data_samples=batch['data_samples'])


def _channels_last(pictures: torch.Tensor) -> torch.Tensor:
    """The same (B, C, H, W) tensor in the memory format that halves the time of depthwise networks on CPU."""
    return pictures.contiguous(memory_format=torch.channels_last)
