"""Fusions over time: one seam, and what each of them looks at."""
import pytest
import torch

FUSIONS = ('MFCNetLateFusion', 'ConcatFusion', 'AttentionFusion', 'TargetFrameOnly')


@pytest.fixture
def make(plugin):
    from mmpose.registry import MODELS

    def build(name, num_frames=5, **options):
        torch.manual_seed(0)
        return MODELS.build(dict(type=name, in_channels=4, num_frames=num_frames, channels=8, **options)).eval()

    return build


def seen_frames(net, maps):
    """Positions of the window that the output depends on."""
    maps = maps.clone().requires_grad_()
    net(maps).sum().backward()
    return {t for t in range(maps.shape[1]) if maps.grad[:, t].abs().sum() > 0}


@pytest.mark.parametrize('name', FUSIONS)
@pytest.mark.parametrize('num_frames', [1, 5])
def test_every_fusion_has_the_same_seam(make, name, num_frames):
    net = make(name, num_frames, target_index=num_frames - 1)
    out = net(torch.randn(2, num_frames, 4, 6, 7))
    assert out.shape == (2, net.out_channels, 6, 7) == (2, 8, 6, 7)
    with pytest.raises(ValueError, match=f'{num_frames} frames expected'):
        net(torch.randn(2, num_frames + 1, 4, 6, 7))


@pytest.mark.parametrize('name', FUSIONS)
def test_what_a_fusion_sees(make, name):
    maps = torch.randn(1, 5, 4, 6, 7)
    assert seen_frames(make(name), maps) == ({2} if name == 'TargetFrameOnly' else {0, 1, 2, 3, 4})
    if name == 'TargetFrameOnly':
        assert seen_frames(make(name, target_index=4), maps) == {4}


def test_concat_is_blind_to_far_motion_and_the_wide_kernel_is_not(make):
    """How far in the maps another frame is seen from the middle of the output."""
    def reach(name):
        maps = torch.randn(1, 3, 4, 41, 41, requires_grad=True)
        make(name, 3)(maps)[0, :, 20, 20].sum().backward()
        return int((maps.grad[0, 0].abs().sum(0).nonzero() - 20).abs().max())
    assert reach('ConcatFusion') == 1 and reach('MFCNetLateFusion') == 5 + 1 + 1


def test_attention_by_hand(make):
    net = make('AttentionFusion', 3, target_index=2, key_channels=4)
    with torch.no_grad():
        for projection in (net.query, net.key):
            projection.weight.copy_(torch.eye(4)[..., None, None])
            projection.bias.zero_()
        net.position.copy_(torch.tensor([0., 1., 0.]))
    maps = torch.zeros(1, 3, 4, 1, 1)
    maps[0, :, 0] = torch.tensor([2., 0., 4.]).view(3, 1, 1)  # the target is the last: 4 * (2, 0, 4) / sqrt(4)
    expected = torch.tensor([4., 0. + 1., 8.]).softmax(0)
    assert torch.allclose(net.weights(maps)[0, :, 0, 0], expected, atol=1e-6)
    # Equal frames: what is attended to is the frame itself.
    same = torch.randn(1, 1, 4, 6, 7).expand(1, 3, 4, 6, 7)
    assert torch.allclose(net(same), net.layers(torch.cat([same[:, 0], same[:, 0]], 1)), atol=1e-5)


def test_attention_is_light(make):
    def size(name):
        return sum(p.numel() for p in make(name, 5).parameters())
    assert size('AttentionFusion') < 0.1 * size('MFCNetLateFusion')
