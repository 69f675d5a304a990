# configs/surgical/baselines/simplebaseline.py at a size that two CPU cores train in minutes: MobileNetV2 under the
# deconvolutions, as in MMPose's td-hm_mobilenetv2, with the weights and the rates of the other demos.
_base_ = ['../surgical/baselines/simplebaseline.py']

data_root = '{{$SURGICAL_DATA:data/synthetic_demo}}'
# The picture is as large as in the other demos (192x144), between two black bars: three deconvolutions give the
# height of the codec's map for multiples of 32 only.
codec = dict(input_size=(192, 160), heatmap_size=(48, 40), sigma=1, nms_kernel=3)
synthetic = dict(root='data/synthetic_demo', spec='demo')
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)

# On one frame and a stride of 32 it learns later than the other demos, and with their learning rate of 4e-3 not at all.
train_cfg = dict(max_epochs=12, val_interval=100)
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]

model = dict(
    backbone=dict(
        _delete_=True, type='MobileNetV2', out_indices=(7, ), frozen_stages=2, norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='packaged://mobilenet_v2')),
    head=dict(in_channels=1280))
