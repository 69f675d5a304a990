# SimpleBaseline (Xiao et al., ECCV 2018): ResNet-50 and MMPose's HeatmapHead with three deconvolutions, one frame.
#
# Data, input size, augmentation, schedule, sigma and decoding are those of the coarse network, of which it is the
# counterpart without neighbouring frames. Targets are our LandmarkHeatmap and not MSRAHeatmap: one map per landmark
# type takes any number of acting tools and unordered tips, and an absent landmark is a zero map of weight 1, so that
# the network learns to abstain; stock targets give it weight 0, and such a network never does.
_base_ = ['../../_base_/schedules/adamw_cosine.py', '../../_base_/datasets/surgical.py']

clip = dict(num_frames=1)

model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='ClipDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        type='ResNet', depth=50,
        # From scratch unless SIMPLEBASELINE_WEIGHTS names a file or torchvision://resnet50.
        init_cfg=dict(type='Pretrained', checkpoint='{{$SIMPLEBASELINE_WEIGHTS:none}}')),
    head=dict(
        type='HeatmapHead',
        in_channels=2048,
        out_channels=2,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=_base_.codec),
    train_cfg=dict(compute_acc=False),
    test_cfg=dict(flip_test=False, output_heatmaps=False))
