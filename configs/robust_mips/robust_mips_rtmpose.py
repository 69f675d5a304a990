# RTMPose-m on ROBUST-MIPS. From download to report: see robust_mips_coarse.py.
_base_ = ['../surgical/baselines/rtmpose.py']

data_root = '{{$ROBUST_MIPS:data/robust_mips}}'
