# The coarse network on ROBUST-MIPS, whose pictures stand alone: T = 1.
#
# From download to report (about 10,000 pictures and 3.5 GB; a free Synapse account; CC BY-NC-SA):
#   pip install synapseclient && synapse login && synapse get syn68915165 && unzip RobustMIPS.zip -d downloads
#   python tools/data.py import robust_mips downloads/RobustMIPS --out data/robust_mips
#   python tools/data.py split data/robust_mips --val 0.15 --test 0.25 --folds 5
#   python tools/data.py validate data/robust_mips
#   export SAM3_CHECKPOINT=/path/to/sam3.pt   # or behind refine_prior_aux: --cfg-options prior.backend=grabcut
#   for method in simplebaseline rtmpose refine_prior_aux; do
#     python tools/train.py configs/robust_mips/robust_mips_$method.py
#   done
#   python tools/report.py work_dirs/robust_mips_{coarse,simplebaseline,rtmpose,refine_prior_aux} --out report.html
# Splits go by procedure: in the official ones some procedures are in training and in testing. Actions are not told, so
# that results are those of "overall", and every instrument acts.
_base_ = ['../surgical/coarse.py', '../_base_/datasets/robust_mips.py']

data_root = {{_base_.robust_mips.data_root}}
clip = {{_base_.robust_mips.clip}}
