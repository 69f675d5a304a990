# YOLOv8's neck and pose head at the width of yolov8n on the MobileNetV2 of the other bench configs, with their weights:
# the backbone of each compared method is the same.
_base_ = ['../surgical/baselines/yolov8_pose.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
codec = dict(input_size=(192, 144))
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs=72)  # it learns later than the others
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
model = dict(
    backbone=dict(
        type='yolov8n-pose on MobileNetV2',
        # In ultralytics' words: [from, repeats, module, arguments].
        architecture=dict(
            nc=1, kpt_shape=[3, 3],
            backbone=[
                [-1, 1, 'TorchVision', [320, 'mobilenet_v2', None, True, 2, True]],
                [0, 1, 'Index', [32, 7]],
                [0, 1, 'Index', [96, 14]],
                [0, 1, 'Index', [320, 18]],
                [-1, 1, 'SPPF', [256, 5]],
            ],
            head=[
                [-1, 1, 'nn.Upsample', [None, 2, 'nearest']],
                [[-1, 2], 1, 'Concat', [1]],
                [-1, 1, 'C2f', [128]],
                [-1, 1, 'nn.Upsample', [None, 2, 'nearest']],
                [[-1, 1], 1, 'Concat', [1]],
                [-1, 1, 'C2f', [64]],
                [-1, 1, 'Conv', [64, 3, 2]],
                [[-1, 7], 1, 'Concat', [1]],
                [-1, 1, 'C2f', [128]],
                [-1, 1, 'Conv', [128, 3, 2]],
                [[-1, 4], 1, 'Concat', [1]],
                [-1, 1, 'C2f', [256]],
                [[10, 13, 16], 1, 'Pose', ['nc', 'kpt_shape']],
            ]),
        init_cfg=dict(type='Pretrained', checkpoint='packaged://mobilenet_v2')),
    train=dict(freeze=['0.m.0', '0.m.1', '0.m.2', '0.m.3']))
