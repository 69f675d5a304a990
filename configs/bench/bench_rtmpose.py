_base_ = ['../demo/demo_rtmpose.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=160)  # it learns later than the others
# MMPose's own length of the warm-up: behind one of 40 steps, one of two seeds did not begin to learn for 40 epochs.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=1000, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
optim_wrapper = dict(type='ClipAmpOptimWrapper')
