# The compared methods on a synthetic bench with many test videos, at a size that two CPU cores train:
# benchmarks/ablation.py runs them all. `synthetic.spec=bench_looks` is the bench where one picture tells what acts.
_base_ = ['../demo/demo_coarse.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=12)
