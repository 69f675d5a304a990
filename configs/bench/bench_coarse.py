# The compared methods on a synthetic bench with many test videos, at a size that two CPU cores train:
# benchmarks/ablation.py runs them all. In half of the clips tools look alike and only motion tells which one acts,
# in all with `synthetic.spec=bench_motion`, in none with `bench_looks`. In bfloat16 two cores train twice as fast.
_base_ = ['../demo/demo_coarse.py']

data_root = 'data/bench'
synthetic = dict(root='data/bench', spec='bench')
train_cfg = dict(max_epochs=24)
optim_wrapper = dict(type='ClipAmpOptimWrapper')
