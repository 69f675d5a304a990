# The full method at demo size: what `make demo` runs.
_base_ = ['demo_refine.py']

model = dict(head=dict(use_prior=True, aux_loss=dict(type='AuxiliaryMaskLoss', loss_weight=0.03)))
