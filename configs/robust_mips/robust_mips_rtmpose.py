# RTMPose-m on ROBUST-MIPS. From download to report: see robust_mips_coarse.py.
_base_ = ['../surgical/baselines/rtmpose.py', '../_base_/datasets/robust_mips.py']

data_root = {{_base_.robust_mips.data_root}}
clip = {{_base_.robust_mips.clip}}
