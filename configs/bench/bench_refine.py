_base_ = ['../demo/demo_refine.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=6)
optim_wrapper = dict(type='ClipAmpOptimWrapper')
coarse = dict(config='bench_coarse.py')
