"""FRNet and the discriminator: sizes, streams and sequences, what they refuse."""
import pytest
import torch
from helpers.networks import count

from basicsr_kd.archs import FRNet, SpatioTemporalDiscriminator
from basicsr_kd.archs.upsample import upsample_bd
from basicsr_kd.pruning import cost

KINDS = [(degradation, scale) for degradation in ('BD', 'BI') for scale in (4, 2)]


def small(degradation='BD', scale=4, nb=2):
    """An FRNet whose flow is some pixels wide."""
    net = FRNet(nf=8, nb=nb, degradation=degradation, scale=scale).eval()
    with torch.no_grad():
        net.fnet.flow[2].weight.normal_(std=0.5)
    return net


@pytest.mark.parametrize(('nb', 'params', 'gflops'), [
    (16, 3_032_229, 132.4), (10, 2_589_093, 94.4), (9, 2_515_237, 88.1), (7, 2_367_525, 75.5), (5, 2_219_813, 62.8),
    (3, 2_072_101, 50.2), (1, 1_924_389, 37.5)])
def test_parameters_and_work_are_those_of_tecogan_pytorch(monkeypatch, nb, params, gflops):
    with torch.device('meta'):
        net = FRNet(nb=nb)
    assert count(net) == params
    assert count(net.fnet) == 1_745_506
    assert count(net.srnet) == 29_440 + nb * 73_856 + 73_856 + 1_731
    monkeypatch.setattr(cost, 'LR_SIZE', (134, 320))  # one image costs what one frame of a stream does
    assert round(2 * cost.total_cost(cost.measure(net, 3), 'macs') / 1e9, 1) == gflops


def test_the_discriminator_of_128_pixels_and_its_logits():
    with torch.device('meta'):
        assert count(SpatioTemporalDiscriminator()) == 819_457
    net = SpatioTemporalDiscriminator(spatial_size=32)
    images = torch.rand(4, 27, 32, 32)
    assert net(images).shape == (4, 1)
    channels_last = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, net(images), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r'found images of 32x48 pixels. Expected 32x32 \(spatial_size'):
        net(torch.rand(4, 27, 32, 48))


def test_the_discriminators_tensors_have_the_names_of_tecogan_pytorch():
    names = {name for block in (1, 2, 3, 4) for name in (
        f'discriminator_block.block{block}.0.weight',
        *(f'discriminator_block.block{block}.1.{name}' for name in
          ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')))}
    names |= {'conv_in.0.weight', 'conv_in.0.bias', 'dense.weight', 'dense.bias'}
    assert set(SpatioTemporalDiscriminator(degradation='BI').state_dict()) == names
    assert set(SpatioTemporalDiscriminator().state_dict()) == names | {'upsample_func.kernels'}


@pytest.mark.parametrize(('degradation', 'scale'), KINDS)
@pytest.mark.parametrize('size', [(16, 24), (8, 8), (9, 15), (21, 13)])
@torch.no_grad()
def test_a_stream_of_any_frame_size_gives_what_the_sequence_gives(degradation, scale, size):
    net, lr = small(degradation, scale), torch.rand(2, 4, 3, *size)
    sequence = net(lr)
    lr_prev, hr = torch.zeros(2, 3, *size), torch.zeros(2, 3, *(scale * side for side in size))
    for index in range(4):
        hr = net.step(lr[:, index], lr_prev, hr)
        torch.testing.assert_close(sequence[:, index], hr, atol=1e-5, rtol=0)
        lr_prev = lr[:, index]
    assert (net.step(lr[:, 3], lr[:, 2], sequence[:, 1]) - hr).abs().max() > 1e-3  # the past is seen


@torch.no_grad()
def test_flow_reaches_as_far_as_the_frames():
    net, (one, other) = small(), torch.rand(2, 1, 3, 21, 13)
    flow = net.fnet(one, other)
    inner = net.fnet(one[..., :16, :8], other[..., :16, :8])
    assert flow.shape == (1, 2, 21, 13)
    assert flow.abs().max() > 1
    assert torch.equal(flow[..., 16:, :8], flow[..., 10:15, :8].flip(2))  # reflected, the 16th row not twice
    assert torch.equal(flow[..., :16, 8:], flow[..., :16, 2:7].flip(3))
    assert inner.shape == (1, 2, 16, 8)
    assert net.fnet(one * 100, other * -100).abs().max() <= 24


@torch.no_grad()
def test_what_the_losses_need_beside_the_frames():
    net, lr = small(), torch.rand(2, 3, 3, 16, 8)
    found = net(lr, with_flow=True)
    shapes = {'hr': (2, 3, 3, 64, 32), 'lr_flow': (2, 2, 2, 16, 8), 'hr_flow': (2, 2, 2, 64, 32),
              'lr_curr': (2, 2, 3, 16, 8), 'lr_prev': (2, 2, 3, 16, 8)}
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == shapes
    assert torch.equal(found['hr'], net(lr))
    assert torch.equal(found['lr_curr'], lr[:, 1:]) and torch.equal(found['lr_prev'], lr[:, :-1])
    flow = net.fnet(lr[:, 2], lr[:, 1])  # from a frame to the one before
    torch.testing.assert_close(found['lr_flow'][:, 1], flow, atol=1e-5, rtol=0)
    torch.testing.assert_close(found['hr_flow'][:, 1], 4 * upsample_bd(flow), atol=1e-4, rtol=0)


@torch.no_grad()
def test_an_image_is_a_step_in_a_clip_where_nothing_moves():
    net, image = small(), torch.rand(2, 3, 11, 9)
    assert torch.equal(net(image), net.step(image, image, upsample_bd(image)))


def test_gradients_of_a_clip_reach_every_parameter():
    net = small()
    net(torch.rand(1, 3, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.parametrize(('shape', 'message'), [
    ((1, 3, 3, 12, 16), r'low-resolution frames of 12x16 pixels. Expected .* multiples of 8 .* a multiple of 32'),
    ((1, 1, 3, 16, 16), r'shape \(1, 1, 3, 16, 16\). Expected clips \(n, t, c, h, w\) of at least 2 frames'),
    ((1, 3, 16, 16), r'shape \(1, 3, 16, 16\). Expected clips'),
])
def test_clips_that_training_cannot_use(shape, message):
    with pytest.raises(ValueError, match=message):
        small().forward_sequence(torch.rand(shape))


def test_frames_that_are_too_small():
    with pytest.raises(ValueError, match='found frames of 7x16 pixels. Expected sides of at least 8'):
        small()(torch.rand(1, 2, 3, 7, 16))


@pytest.mark.parametrize(('arch', 'options', 'message'), [
    (FRNet, {'scale': 3}, 'scale is 3. Expected 4 or 2'),
    (FRNet, {'degradation': 'bd'}, "degradation is 'bd'. Expected 'BD' .* or 'BI'"),
    (FRNet, {'nb': 0}, 'FRNet: nb is 0. Expected a whole number of at least 1'),
    (FRNet, {'nf': '64'}, "FRNet: nf is '64'"),
    (FRNet, {'out_nc': 1}, 'FRNet: out_nc is 1. Expected 3, as in_nc'),
    (SpatioTemporalDiscriminator, {'tempo_range': 5}, 'tempo_range is 5. Expected 3'),
    (SpatioTemporalDiscriminator, {'spatial_size': 8}, 'spatial_size is 8. Expected a whole number of at least 16'),
])
def test_impossible_options_are_refused_by_name(arch, options, message):
    with pytest.raises(ValueError, match=message):
        arch(**options)
