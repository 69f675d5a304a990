# The full method: mask prior and auxiliary mask supervision (paper, section 2.3).
_base_ = ['refine_prior.py']

model = dict(head=dict(aux_loss=dict(type='AuxiliaryMaskLoss', loss_weight=0.03)))
