# The full method on ROBUST-MIPS. The prior is SAM 3 (SAM3_CHECKPOINT), or what
# prior.backend says: sam2, or grabcut, a poor segmenter. From download to report: see robust_mips_coarse.py.
_base_ = ['../surgical/refine_prior_aux.py', '../_base_/datasets/robust_mips.py']

data_root = {{_base_.robust_mips.data_root}}
clip = {{_base_.robust_mips.clip}}
coarse = dict(config='robust_mips_coarse.py')
