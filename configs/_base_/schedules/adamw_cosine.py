_base_ = ['../default_runtime.py']

# Epochs, learning rate and batch size are set for the paper-scale data (6,403 training clips).
train_cfg = dict(max_epochs=60, val_interval=5)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=200, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),  # over all epochs
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
