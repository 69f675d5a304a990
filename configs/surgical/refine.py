# Refinement without a prior: F_refine(I_t, H^c). The mask input is zero, everything else is as with the prior.
_base_ = ['../_base_/schedules/adamw_cosine.py', '../_base_/datasets/surgical.py']

coarse = dict(config='coarse.py', out_of_fold=True)  # the prerequisite; `overrides` changes its config
# prompts: 'both', 'tip' or 'anchor'; points: 'coarse', or 'ground_truth', an oracle.
prior = dict(backend='auto', checkpoint='', prompts='both', points='coarse')
clip = dict(num_frames=1)
stem = 'own'  # 'shared': backbone and neck are those of the coarse network, with its weights, and frozen

model = dict(
    type='MaskPriorRefiner',
    data_preprocessor=dict(
        type='ClipDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        type='ResNet', depth=18, out_indices=(0, 1, 2, 3),
        # From scratch unless REFINE_WEIGHTS names a file or torchvision://resnet18.
        init_cfg=dict(type='Pretrained', checkpoint='{{$REFINE_WEIGHTS:none}}')),
    neck=dict(type='LateralSum', in_channels=(64, 128, 256, 512), out_channels=64),
    head=dict(
        type='RefineHead',
        in_channels=64,
        use_prior=False,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)),
    test_cfg=dict(flip_test=False, output_heatmaps=False))

train_dataloader = dict(dataset=dict(pipeline={{_base_.refine_train_pipeline}}))
val_dataloader = dict(dataset=dict(pipeline={{_base_.refine_test_pipeline}}))
test_dataloader = dict(dataset=dict(pipeline={{_base_.refine_test_pipeline}}))
