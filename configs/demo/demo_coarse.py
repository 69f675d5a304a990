# configs/surgical/coarse.py at a size that two CPU cores train in minutes.
_base_ = ['../surgical/coarse.py']

data_root = '{{$SURGICAL_DATA:data/synthetic_demo}}'
codec = dict(input_size=(192, 144), heatmap_size=(48, 36), sigma=1, nms_kernel=3)
synthetic = dict(root='data/synthetic_demo', spec='demo')
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
find_unused_parameters = True  # MobileNetV2 computes a last layer that is not used here

train_cfg = dict(max_epochs=4, val_interval=100)
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(
    optimizer=dict(lr=4e-3), paramwise_cfg=dict(custom_keys={'backbone.backbone': dict(lr_mult=0.2)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]

clip = dict(num_frames=3)
model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True, type='MobileNetV2', out_indices=(1, 2, 4, 6), frozen_stages=2, norm_eval=True,
            init_cfg=dict(type='Pretrained', checkpoint='packaged://mobilenet_v2')),
        neck=dict(in_channels=(24, 32, 96, 320), out_channels=16),
        fusion=dict(in_channels=16, channels=32, kernel_size=7)),
    head=dict(in_channels=32))
