_base_ = ['../demo/demo_simplebaseline.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=36)  # it learns later than the others
model = dict(head=dict(deconv_out_channels=(128, 128, 128)))  # of 256 each, which alone cost more than all else
# A warm-up as long as MMPose's own bears twice the rate of the demo.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=500, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
optim_wrapper = dict(type='ClipAmpOptimWrapper', optimizer=dict(lr=2e-3))
