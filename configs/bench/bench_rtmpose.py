_base_ = ['../demo/demo_rtmpose.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=80)  # it learns later than the others
optim_wrapper = dict(type='ClipAmpOptimWrapper')
