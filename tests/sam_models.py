"""Random SAMs of any size for tests and benchmarks, in both dialects: no weights are to be had here."""
import re
from pathlib import Path
from typing import Any

import torch

# Meta's name -> the name in transformers. Worked out on the two models side by side.
_RENAMED = (
    (r'^backbone\.vision_backbone\.trunk\.', 'vision_encoder.backbone.'),
    (r'^backbone\.vision_backbone\.sam2_convs\.(\d)\.', r'vision_encoder.neck.fpn_layers.\1.'),
    (r'backbone\.pos_embed$', 'backbone.embeddings.position_embeddings'),
    (r'backbone\.patch_embed\.proj\.', 'backbone.embeddings.patch_embeddings.projection.'),
    (r'backbone\.ln_pre\.', 'backbone.layer_norm.'),
    (r'backbone\.blocks\.(\d+)\.norm(\d)\.', r'backbone.layers.\1.layer_norm\2.'),
    (r'backbone\.blocks\.(\d+)\.attn\.proj\.', r'backbone.layers.\1.attention.o_proj.'),
    (r'backbone\.blocks\.(\d+)\.attn\.', r'backbone.layers.\1.attention.'),
    (r'backbone\.blocks\.(\d+)\.', r'backbone.layers.\1.'),
    (r'dconv_2x2(_0)?\.', 'scale_layers.0.'), (r'dconv_2x2_1\.', 'scale_layers.2.'),
    (r'conv_1x1\.', 'proj1.'), (r'conv_3x3\.', 'proj2.'),
    (r'^no_mem_embed$', 'no_memory_embedding'),
    (r'^sam_prompt_encoder\.', 'prompt_encoder.'), (r'^sam_mask_decoder\.', 'mask_decoder.'),
    (r'pe_layer\.positional_encoding_gaussian_matrix', 'shared_embedding.positional_embedding'),
    (r'mask_downscaling\.0\.', 'mask_embed.conv1.'), (r'mask_downscaling\.1\.', 'mask_embed.layer_norm1.'),
    (r'mask_downscaling\.3\.', 'mask_embed.conv2.'), (r'mask_downscaling\.4\.', 'mask_embed.layer_norm2.'),
    (r'mask_downscaling\.6\.', 'mask_embed.conv3.'),
    (r'output_upscaling\.0\.', 'upscale_conv1.'), (r'output_upscaling\.1\.', 'upscale_layer_norm.'),
    (r'output_upscaling\.3\.', 'upscale_conv2.'),
    (r'(hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head)\.layers\.0\.', r'\1.proj_in.'),
    (r'(hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head)\.layers\.1\.', r'\1.layers.0.'),
    (r'(hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head)\.layers\.2\.', r'\1.proj_out.'),
    (r'\.mlp\.lin1\.', '.mlp.proj_in.'), (r'\.mlp\.lin2\.', '.mlp.proj_out.'),
    (r'\.norm_final_attn\.', '.layer_norm_final_attn.'), (r'(layers\.\d)\.norm(\d)\.', r'\1.layer_norm\2.'),
    (r'\.out_proj\.', '.o_proj.'),
)
_VIDEO_ONLY = ('transformer.', 'maskmem', 'mask_downsample', 'obj_ptr', 'no_obj', 'no_mem_pos')


def to_huggingface(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State of Meta's tracker with image encoder -> state of ``Sam3TrackerModel``."""
    found: dict[str, torch.Tensor] = {}
    points = [state[f'sam_prompt_encoder.point_embeddings.{i}.weight'] for i in range(4)]
    found['prompt_encoder.point_embed.weight'] = torch.cat(points)
    for name, value in state.items():
        if name.startswith((*_VIDEO_ONLY, 'backbone.vision_backbone.convs.')) or 'point_embeddings' in name \
                or name.endswith('freqs_cis'):
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        if '.attention.qkv.' in name:
            found.update({name.replace('qkv', f'{part}_proj'): share for part, share in zip('qkv', value.chunk(3))})
        elif name.endswith('position_embeddings'):
            found[name] = value[:, 1:]  # Meta keeps the place of a class token that it does not use
        else:
            found[name] = value
    found['shared_image_embedding.positional_embedding'] = found['prompt_encoder.shared_embedding.positional_embedding']
    return found


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights at which every part matters: nothing is zero, and no layer drowns the next."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(('positional_embedding', 'gaussian_matrix')):  # drawn at random by the models themselves
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                fan_in = parameter[0].numel() if parameter.ndim > 2 or 'proj' in name or 'weight' in name else 1
                parameter.copy_(noise * min(1.0, 1 / fan_in**0.5))
            elif name.endswith('weight'):
                parameter.copy_(1 + 0.1 * noise)
            else:
                parameter.copy_(0.1 * noise)
    return model


def tiny_sam3_config(**changes: Any) -> Any:
    """A ``Sam3TrackerConfig`` of 56x56 pictures and 0.1 million weights."""
    from transformers import Sam3TrackerConfig
    backbone = dict(model_type='sam3_vit_model', hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                    num_attention_heads=2, image_size=56, patch_size=14, window_size=2, global_attn_indexes=[1],
                    pretrain_image_size=28)
    return Sam3TrackerConfig(
        vision_config=dict(model_type='sam3_vision_model', fpn_hidden_size=32, backbone_config=backbone,
                           backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]]),
        prompt_encoder_config=dict(hidden_size=32, image_size=56, patch_size=14, mask_input_channels=4),
        mask_decoder_config=dict(hidden_size=32, mlp_dim=64, num_hidden_layers=2, num_attention_heads=2,
                                 iou_head_hidden_dim=32), **changes)


def write_tiny_sam3(folder: Path, seed: int = 0) -> Path:
    """Save a tiny random SAM 3 tracker as Hugging Face does."""
    from transformers import Sam3TrackerModel
    randomise(Sam3TrackerModel(tiny_sam3_config()), seed).save_pretrained(folder)
    return folder


def write_tiny_sam2(folder: Path, seed: int = 0) -> Path:
    """Save a tiny random SAM 2.1 as Hugging Face does: 64x64 pictures."""
    from transformers import Sam2Config, Sam2Model
    backbone = dict(model_type='sam2_hiera_det_model', hidden_size=16, num_attention_heads=1, image_size=[64, 64],
                    blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[16, 32, 64, 128],
                    num_attention_heads_per_stage=[1, 2, 4, 8], window_size_per_stage=[4, 4, 4, 2],
                    global_attention_blocks=[3])
    config = Sam2Config(
        vision_config=dict(backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16], fpn_hidden_size=32,
                           backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]]),
        prompt_encoder_config=dict(hidden_size=32, image_size=64, patch_size=16, mask_input_channels=4),
        mask_decoder_config=dict(hidden_size=32, mlp_dim=64, num_hidden_layers=2, num_attention_heads=2,
                                 iou_head_hidden_dim=32))
    randomise(Sam2Model(config), seed).save_pretrained(folder)
    return folder


META_SMALL_VIT = dict(
    img_size=1008, pretrain_img_size=336, patch_size=14, embed_dim=64, depth=2, num_heads=2, mlp_ratio=2.0,
    norm_layer='LayerNorm', drop_path_rate=0.0, qkv_bias=True, use_abs_pos=True, tile_abs_pos=True,
    global_att_blocks=(1, ), rel_pos_blocks=(), use_rope=True, use_interp_rope=True, window_size=24,
    pretrain_use_cls_token=True, retain_cls_token=False, ln_pre=True, ln_post=False, return_interm_layers=False,
    bias_patch_embed=False)
"""Arguments of Meta's ViT: as in SAM 3, but two layers of 64 channels."""


def small_huggingface_config() -> Any:
    """The ``Sam3TrackerConfig`` that goes with :data:`META_SMALL_VIT`."""
    from transformers import Sam3TrackerConfig
    backbone = dict(model_type='sam3_vit_model', hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                    num_attention_heads=2, global_attn_indexes=[1])
    return Sam3TrackerConfig(vision_config=dict(model_type='sam3_vision_model', backbone_config=backbone))


def write_meta_checkpoint(tracker: torch.nn.Module, path: Path, seed: int = 0) -> Path:
    """Random weights for Meta's tracker, saved under the names of ``sam3.pt``."""
    randomise(tracker, seed)
    torch.save({('detector.' if name.startswith('backbone.') else 'tracker.') + name: value
                for name, value in tracker.state_dict().items()} | {'detector.other': torch.zeros(1)}, path)
    return path
