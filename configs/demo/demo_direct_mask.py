# configs/surgical/direct_mask.py at a size that two CPU cores train in minutes.
_base_ = ['demo_coarse.py']

codec = dict(type='MaskAugmentedHeatmap', alpha=0.1)
prior = dict(backend='auto', checkpoint='')
# G counts squared: 10 to 1, which was better on validation than 100 to 1 (benchmarks/results/ablation.md). Weighted so
# that the points have the gradient that they have in the coarse network.
model = dict(head=dict(loss=dict(
    _delete_=True, type='GatedMSELoss', keypoint=3.162, mask=1., background=1., loss_weight=0.1)))
train_dataloader = dict(dataset=dict(pipeline={{_base_.direct_train_pipeline}}))
