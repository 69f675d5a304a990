_base_ = ['mmpose::_base_/default_runtime.py']

custom_imports = dict(imports=['mmpose_surgical.plugin'], allow_failed_imports=False)

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best=None))
randomness = dict(seed=0)
resume = False
load_from = None
