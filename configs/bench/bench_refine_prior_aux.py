_base_ = ['bench_refine_prior.py']

model = dict(head=dict(aux_loss=dict(type='AuxiliaryMaskLoss', loss_weight=0.03)))
