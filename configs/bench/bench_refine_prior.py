_base_ = ['bench_refine.py']

model = dict(head=dict(use_prior=True))
