# yolov8n-pose at the size of the other bench configs; it has no ImageNet weights to start from as they have.
_base_ = ['../surgical/baselines/yolov8_pose.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
codec = dict(input_size=(192, 144))
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs=60)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
model = dict(backbone=dict(type='yolov8n-pose'))
