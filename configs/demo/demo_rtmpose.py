# configs/surgical/baselines/rtmpose.py at a size that two CPU cores train in minutes: RTMPose's head, codec and loss on
# the MobileNetV2 of the other demos, with their weights. For RTMPose-tiny's own backbone, from scratch:
# dict(_delete_=True, type='CSPNeXt', deepen_factor=0.167, widen_factor=0.375, out_indices=(4, ),
#      channel_attention=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU')), and head.in_channels=384.
_base_ = ['../surgical/baselines/rtmpose.py']

data_root = '{{$SURGICAL_DATA:data/synthetic_demo}}'
codec = dict(input_size=(192, 144), sigma=(4.9, 4.24))
synthetic = dict(root='data/synthetic_demo', spec='demo')
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)

# It shows that RTMPose runs, not what it can do: its SimCC head learns much later than heatmaps do.
train_cfg = dict(max_epochs=12, val_interval=100)
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.25)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]

model = dict(
    backbone=dict(
        _delete_=True, type='MobileNetV2', out_indices=(7, ), frozen_stages=2, norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='packaged://mobilenet_v2')),
    head=dict(in_channels=1280))
