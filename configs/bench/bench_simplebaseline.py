_base_ = ['../demo/demo_simplebaseline.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=72)  # it learns later than the others
model = dict(head=dict(deconv_out_channels=(128, 128, 128)))  # of 256 each, which alone cost more than all else
optim_wrapper = dict(type='ClipAmpOptimWrapper')
