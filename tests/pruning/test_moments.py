"""Sums over positions without the patches, and networks that run in step."""
import pytest
import torch
from helpers.networks import varied_rrdbnet
from torch import nn

from basicsr_kd.pruning.reconstruction import moments as moments_module
from basicsr_kd.pruning.reconstruction.in_step import InStep
from basicsr_kd.pruning.reconstruction.moments import moments, reading
from basicsr_kd.pruning.reconstruction.shared_inputs import watch_inputs

KINDS = [{}, {'padding': 0}, {'padding_mode': 'reflect'}, {'kernel_size': (1, 3), 'padding': (0, 1)},
         {'kernel_size': 2}, {'kernel_size': 1, 'padding': 0}, {'kernel_size': 5, 'padding': 2}, {'stride': 2},
         {'dilation': 2, 'padding': 'same'}]


def patches(conv, padded):
    """By definition: what the kernel sees at each position, in the order (kernel position, channel)."""
    unfolded = nn.functional.unfold(padded, conv.kernel_size, conv.dilation, 0, conv.stride)
    return unfolded.unflatten(1, (padded.shape[1], -1)).permute(0, 3, 2, 1).flatten(2).flatten(0, 1).double()


@pytest.mark.parametrize('options', KINDS, ids=str)
def test_moments_are_those_of_the_patches(options):
    conv = nn.Conv2d(**{'in_channels': 5, 'out_channels': 4, 'kernel_size': 3, 'padding': 1, **options})
    inputs = torch.randn(3, 5, 9, 11) + 30  # far from 0, as pictures and features are
    padded = reading(conv, inputs).padded
    found, seen = moments(conv, padded), patches(conv, padded)
    assert found.count == len(seen) == 3 * conv(inputs)[0, 0].numel()
    covariance = torch.cov(seen.T, correction=0)
    assert torch.allclose(found.mean, seen.mean(0), rtol=1e-6)
    assert torch.allclose(found.gram, covariance, rtol=0, atol=1e-5 * covariance.max())


@pytest.mark.parametrize('options', [{}, {'stride': 2}], ids=str)
def test_many_positions_are_rounded_to_bf16_where_that_is_fast(options, monkeypatch):
    monkeypatch.setattr(moments_module, 'fast_formats', lambda device: ['fp32', 'bf16'])
    conv = nn.Conv2d(5, 4, 3, padding=1, **options)
    padded = reading(conv, torch.randn(2, 5, 120, 110) + 3).padded
    gram, seen = moments(conv, padded).gram, patches(conv, padded)
    covariance = torch.cov(seen.T, correction=0)
    assert 0 < (gram - covariance).abs().max() < 3e-3 * covariance.max()
    torch.linalg.cholesky(gram + 1e-5 * covariance.diagonal().mean() * torch.eye(len(gram)))  # is no less than 0
    assert torch.get_float32_matmul_precision() == 'highest'


@pytest.mark.parametrize('options', [{}, {'stride': 2}, {'padding_mode': 'reflect'}], ids=str)
def test_of_large_maps_the_middle_is_read(options, monkeypatch):
    monkeypatch.setattr(moments_module, 'POSITIONS', 100)
    conv = nn.Conv2d(2, 3, 3, padding=1, **options)
    inputs = torch.randn(2, 2, 20, 30)
    part = reading(conv, inputs)
    made = nn.functional.conv2d(part.padded, conv.weight, conv.bias, conv.stride)
    assert 50 < 2 * made[0, 0].numel() <= 100
    assert torch.allclose(made, conv(inputs)[:, :, part.rows, part.columns], atol=1e-5)


def test_a_dense_block_is_read_as_one():
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=4).eval()
    names = [f'body.0.rdb{block}.conv{conv}' for block in (1, 2) for conv in range(1, 6)]
    seen = []
    watch_inputs(net, names, lambda: net(torch.rand(2, 3, 8, 8)),
                 lambda convs, inputs: seen.append((list(convs), inputs.shape[1])))
    assert seen == [(names[:5], 8 + 4 * 4), (names[5:], 8 + 4 * 4)]
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_the_rest_of_the_network_does_not_run():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(9, 9, 3)).eval()  # the last cannot
    seen = []
    watch_inputs(net, ['0', '1'], lambda: net(torch.rand(1, 3, 8, 8)), lambda convs, inputs: seen.extend(convs))
    assert seen == ['0', '1']


def test_two_computations_take_turns():
    events = []

    def work(give):
        for number in range(3):
            events.append(f'make {number}')
            give(number)

    steps = InStep(work)
    for _ in range(2):
        events.append(f'use {steps.next()}')
    steps.close()
    assert events == ['make 0', 'use 0', 'make 1', 'use 1']


def test_an_error_of_the_other_computation_is_told():
    def work(give):
        give(1)
        raise ValueError('no such layer')

    steps = InStep(work)
    assert steps.next() == 1
    with pytest.raises(ValueError, match='no such layer'):
        steps.next()
    steps.close()

    ended = InStep(lambda give: None)
    with pytest.raises(RuntimeError, match='ended before'):
        ended.next()
    ended.close()
