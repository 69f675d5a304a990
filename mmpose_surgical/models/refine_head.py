"""Head of the refiner: fuses picture, coarse heatmaps and mask prior."""
from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmpose.models.heads import BaseHead
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor, nn

from mmpose_surgical.errors import UserError


def conv_block(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    """Convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


@MODELS.register_module()
class RefineHead(BaseHead):
    """Input fusion, shared feature, keypoint head and auxiliary mask branch (paper, sections 2.2 and 2.3, Fig. 1a).

    The picture's feature, the coarse heatmaps H^c and the mask prior M^c each pass a stem of their own; their
    concatenation passes ``depth`` convolutions to the shared feature. The keypoint head and the auxiliary mask branch
    both start from the shared feature, so the mask loss never reaches the keypoint head.

    Args:
        in_channels: Channels of the picture's feature map.
        num_landmarks: Channels of H^c, one per landmark type whatever the channels of the coarse network.
        out_channels: Channels of the refined heatmaps, those of the codec; ``None``: ``num_landmarks``.
        stem_channels: Width of the stems of heatmaps and mask.
        channels: Width of the shared feature.
        depth: Number of 3x3 convolutions between fusion and shared feature.
        use_prior: Whether M^c enters. Without it the mask stem sees zeros: same parameters and layout, so that a
            comparison of the two is a comparison of the prior.
        residual: Add H^c to the output, so that the head learns a correction; for equal channels alone.
        mask_dropout: Probability with which, in training, a picture's mask input is zeroed (its auxiliary target
            stays), so that the refiner survives a failed prior.
        loss: Heatmap loss, called with (output, target, weights).
        aux_loss: Mask loss. ``None`` or a weight of 0 builds no branch: unused parameters would stall distributed
            training.
        decoder: Codec that decodes the heatmaps.
        init_cfg: Initialisation as in MMEngine.

    Raises:
        UserError: ``residual`` with other output channels than those of H^c.
    """

    def __init__(self,
                 in_channels: int,
                 num_landmarks: int = 2,
                 out_channels: int | None = None,
                 stem_channels: int = 16,
                 channels: int = 64,
                 depth: int = 3,
                 use_prior: bool = True,
                 residual: bool = False,
                 mask_dropout: float = 0.0,
                 loss: dict | None = None,
                 aux_loss: dict | None = None,
                 decoder: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        out_channels = out_channels or num_landmarks
        if residual and out_channels != num_landmarks:
            raise UserError(f'{num_landmarks} coarse heatmaps cannot be added to {out_channels} refined ones',
                            'model.head.residual', 'set codec.channels=landmark, or leave residual off')
        has_aux = aux_loss is not None and aux_loss.get('loss_weight', 1) > 0
        # Both outputs start near zero, as in MMPose's heatmap head: most of a target is background. A mask branch that
        # starts with large errors fills Adam's second moments, and the points then hardly learn for hundreds of steps.
        outputs = ['final_layer', 'aux_head'] if has_aux else ['final_layer']
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d', override=[
            dict(type='Normal', name=name, std=0.001) for name in outputs]))
        self.use_prior = use_prior
        self.residual = residual
        self.mask_dropout = mask_dropout
        self.image_stem = conv_block(in_channels, channels, 1)
        self.heatmap_stem = nn.Sequential(
            conv_block(num_landmarks, stem_channels), conv_block(stem_channels, stem_channels))
        # The second input plane is the validity of the prior, so that "no mask" and "a failed mask" differ.
        self.mask_stem = nn.Sequential(conv_block(2, stem_channels), conv_block(stem_channels, stem_channels))
        widths = [channels + 2 * stem_channels] + [channels] * depth
        self.shared = nn.Sequential(*(conv_block(a, b) for a, b in zip(widths, widths[1:])))
        self.keypoint_head = conv_block(channels, channels)
        self.final_layer = nn.Conv2d(channels, out_channels, 1)
        self.loss_module = MODELS.build(loss or dict(type='KeypointMSELoss', use_target_weight=True))
        self.aux_head = nn.Conv2d(channels, 1, 1) if has_aux else None
        self.aux_loss_module = MODELS.build(aux_loss) if has_aux else None
        self.decoder = KEYPOINT_CODECS.build(decoder) if decoder is not None else None

    def forward(self, feats: Sequence[Tensor], coarse: Tensor, mask: Tensor,
                validity: Tensor) -> tuple[Tensor, Tensor | None]:
        """Refined heatmaps and the auxiliary mask.

        Args:
            feats: Feature maps of the picture; the last one (N, C, h, w) is used.
            coarse: H^c, (N, L, h, w) on the same grid.
            mask: M^c as probabilities, (N, 1, h, w).
            validity: (N,), 1 where the prior can be trusted to exist.

        Returns:
            H^r (N, ``out_channels``, h, w) and the predicted mask (N, 1, h, w), ``None`` without the auxiliary branch.
        """
        mask_input = torch.cat([mask, validity.view(-1, 1, 1, 1).expand_as(mask)], dim=1)
        if not self.use_prior:
            mask_input = torch.zeros_like(mask_input)
        elif self.training and self.mask_dropout > 0:
            keep = torch.rand(len(mask), 1, 1, 1, device=mask.device) >= self.mask_dropout
            mask_input = mask_input * keep
        shared = self.shared(torch.cat(
            [self.image_stem(feats[-1]), self.heatmap_stem(coarse), self.mask_stem(mask_input)], dim=1))
        heatmaps = self.final_layer(self.keypoint_head(shared))
        if self.residual:
            heatmaps = heatmaps + coarse
        return heatmaps, None if self.aux_head is None else self.aux_head(shared)

    def loss(self, feats: Sequence[Tensor], batch_data_samples: list,
             train_cfg: dict | None = None) -> dict[str, Tensor]:
        """The two terms of the objective (paper, section 2.3) as ``loss_kpt`` and ``loss_mask``."""
        coarse, mask, validity = gather_priors(batch_data_samples, feats[-1].device)
        heatmaps, predicted_mask = self.forward(feats, coarse, mask, validity)
        target = torch.stack([sample.gt_fields.heatmaps for sample in batch_data_samples])
        weights = torch.cat([sample.gt_instance_labels.keypoint_weights for sample in batch_data_samples])
        losses = dict(loss_kpt=self.loss_module(heatmaps, target, weights))
        if predicted_mask is not None:
            losses['loss_mask'] = self.aux_loss_module(predicted_mask, mask, validity)
        return losses

    def predict(self, feats: Sequence[Tensor], batch_data_samples: list, test_cfg: dict | None = None) -> list | tuple:
        """Decoded landmarks; with ``test_cfg.output_heatmaps`` also the maps, as MMPose's heads return them."""
        heatmaps, _ = self.forward(feats, *gather_priors(batch_data_samples, feats[-1].device))
        instances = self.decode(heatmaps)
        if (test_cfg or {}).get('output_heatmaps', False):
            return instances, [PixelData(heatmaps=maps) for maps in heatmaps.detach()]
        return instances


def gather_priors(data_samples: list, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """H^c (N, L, h, w), M^c (N, 1, h, w) and validity (N,) of a batch of data samples."""
    coarse = torch.stack([sample.prior_fields.coarse_heatmaps for sample in data_samples]).to(device)
    mask = torch.stack([sample.prior_fields.mask for sample in data_samples]).to(device)
    validity = torch.tensor([float(sample.metainfo['prior_valid']) for sample in data_samples], device=device)
    return coarse.float(), mask.float(), validity
