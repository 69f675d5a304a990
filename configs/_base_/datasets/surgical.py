# One folder in the format of data/README.md. Sizes, window and folder are named once at the top level; the tools write
# them into the places below (see mmpose_surgical/pipeline/config.py), so that --cfg-options reaches all of them.
data_root = '{{$SURGICAL_DATA:data/synthetic}}'
synthetic = dict(root='data/synthetic', spec='default', seed=0)  # made on first use where data_root points to it
clip = dict(num_frames=5, spacing=0.12, window='centred')  # spacing in seconds; or window='causal'
box = 'picture'  # or a file of detections; 'oracle' gives the acting tool away (mmpose_surgical/datasets/boxes.py)
# One map per landmark; channels='action_landmark' makes one per action and landmark.
codec = dict(type='LandmarkHeatmap', input_size=(512, 288), heatmap_size=(128, 72), sigma=2)

geometry = [
    dict(type='GetBBoxCenterScale', padding=1.0),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_factor=0.08, scale_factor=(0.85, 1.2), rotate_factor=30.0),
]
colour = dict(type='ClipPhotometricDistortion')

coarse_train_pipeline = [
    dict(type='LoadClip'), *geometry, dict(type='TopdownAffine'), colour, dict(type='GenerateTarget'),
    dict(type='PackClipInputs')
]
coarse_test_pipeline = [
    dict(type='LoadClip'), geometry[0], dict(type='TopdownAffine'), dict(type='PackClipInputs')
]
# The same with the acting tool's mask in the target.
direct_train_pipeline = [*coarse_train_pipeline[:-2], dict(type='LoadToolMask'), *coarse_train_pipeline[-2:]]
# The same with coarse heatmaps and mask prior from the store, warped like the picture.
refine_train_pipeline = [
    dict(type='LoadClip'), *geometry, dict(type='TopdownAffine'), colour, dict(type='LoadMaskPrior'),
    dict(type='GenerateTarget'), dict(type='PackClipInputs')
]
refine_test_pipeline = [
    dict(type='LoadClip'), geometry[0], dict(type='TopdownAffine'), dict(type='LoadMaskPrior'),
    dict(type='PackClipInputs')
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='SurgicalClipDataset', split='train', pipeline=coarse_train_pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='SurgicalClipDataset', split='val', test_mode=True, pipeline=coarse_test_pipeline))
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(type='SurgicalClipDataset', split='test', test_mode=True, pipeline=coarse_test_pipeline))

# 15 px on a 640x480 canvas, one-to-one (paper, section 3.2).
val_evaluator = dict(type='LandmarkMatchingMetric', tolerance=15, canvas=(640, 480), score_thr='best')
test_evaluator = dict(type='LandmarkMatchingMetric', tolerance=15, canvas=(640, 480))
