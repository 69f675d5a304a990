# Refinement with the mask prior: F_refine(I_t, H^c, M^c) (paper, section 2.2).
_base_ = ['refine.py']

model = dict(head=dict(use_prior=True))
