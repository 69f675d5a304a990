# The coarse multi-frame network (paper, section 2.1): proposes tip and anchor, and is the baseline of the ablation.
_base_ = ['../_base_/schedules/adamw_cosine.py', '../_base_/datasets/surgical.py']

model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='ClipDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        type='MultiFrameBackbone',
        backbone=dict(
            type='ResNet', depth=50, out_indices=(0, 1, 2, 3),
            # From scratch unless COARSE_WEIGHTS names a file or torchvision://resnet50.
            init_cfg=dict(type='Pretrained', checkpoint='{{$COARSE_WEIGHTS:none}}')),
        neck=dict(type='LateralSum', in_channels=(256, 512, 1024, 2048), out_channels=32),
        fusion=dict(type='MFCNetLateFusion', in_channels=32, channels=64)),
    head=dict(
        type='HeatmapHead',
        in_channels=64,
        out_channels=2,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)),
    train_cfg=dict(compute_acc=False),
    test_cfg=dict(flip_test=False, output_heatmaps=False))
