# ROBUST-MIPS as tools/data.py imports it. Pictures stand alone, hence T = 1. All else is as in surgical.py, which the
# configs of the methods bring along: those of configs/robust_mips take both as bases, and these values from here.
robust_mips = dict(data_root='{{$ROBUST_MIPS:data/robust_mips}}', clip=dict(num_frames=1))
