# RTMPose-m (Jiang et al., 2023): CSPNeXt, RTMCCHead, SimCCLabel and KLDiscretLoss as in MMPose, one frame.
#
# Data, input size, augmentation and length are those of the other methods, the learning rate is not. What follows from
# a head that gives each of tip1, tip2 and anchor one output:
# - Several acting tools: one instance per box, and the box is the whole picture. CanonicalTool leaves the tool nearest
#   the middle of the input; points of a second one are missed.
# - Unordered tips: behind augmentation, CanonicalTool puts the one on the left of the tool first, or both outputs would
#   learn the mean of both tips.
# - Absent landmarks, and frames in which nothing acts, have weight 0 in the stock codec and loss: the network never
#   learns to abstain. Its scores are the stock ones, the smaller of the two maxima of x and y: logits, which may
#   pass 1 and say nothing of a probability; that the final threshold, chosen on validation by the rule of all methods,
#   may drop the lowest is the only way in which it abstains. Without it (score_thr none) there is one prediction per
#   slot.
_base_ = ['../../_base_/schedules/adamw_cosine.py', '../../_base_/datasets/surgical.py']

clip = dict(num_frames=1)
# MMPose's 4e-3 is for 1024 pictures a step; 4e-4 was chosen with 8, against 1e-3, on validation videos at the size of
# configs/bench (benchmarks/results/ablation.md). Weight decay as in MMPose. There one of two seeds did not begin to
# learn for long without a warm-up as long as MMPose's own.
optim_wrapper = dict(
    optimizer=dict(lr=4e-4, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=1000, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
# Sigma as in MMPose: 0.354 * sqrt(side).
codec = dict(
    _delete_=True, type='SimCCLabel', input_size=_base_.codec.input_size, sigma=(8.0, 6.0), simcc_split_ratio=2.0,
    normalize=False, use_dark=False)

model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='ClipDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        type='CSPNeXt', arch='P5', expand_ratio=0.5, deepen_factor=0.67, widen_factor=0.75, out_indices=(4, ),
        channel_attention=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU'),
        # From scratch unless RTMPOSE_WEIGHTS names a file with MMPose's CSPNeXt-m or RTMPose-m.
        init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint='{{$RTMPOSE_WEIGHTS:none}}')),
    head=dict(
        type='RTMCCHead',
        in_channels=768,
        out_channels=3,
        input_size=codec['input_size'],
        in_featuremap_size=tuple(side // 32 for side in codec['input_size']),
        simcc_split_ratio=codec['simcc_split_ratio'],
        final_layer_kernel_size=7,
        gau_cfg=dict(
            hidden_dims=256, s=128, expansion_factor=2, dropout_rate=0., drop_path=0., act_fn='SiLU',
            use_rel_bias=False, pos_enc=False),
        loss=dict(type='KLDiscretLoss', use_target_weight=True, beta=10., label_softmax=True),
        decoder={name: value for name, value in codec.items() if name != '_delete_'}),
    test_cfg=dict(flip_test=False))

train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadClip'), *_base_.geometry, dict(type='TopdownAffine'), _base_.colour, dict(type='CanonicalTool'),
    dict(type='GenerateTarget'), dict(type='PackClipInputs')
]))
