_base_ = ['../demo/demo_direct_mask.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=48)  # its anchors learn later than those of the coarse network
optim_wrapper = dict(type='ClipAmpOptimWrapper')
