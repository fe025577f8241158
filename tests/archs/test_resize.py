"""resize_to: layers, blocks, and what cannot fit."""
import pytest
import torch
from torch import nn

from basicsr_kd.archs.resize import resize_to


def shapes(net):
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


class Scaled(nn.Module):
    """A module with a parameter of its own, as many networks scale a branch."""

    def __init__(self, channels):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x):
        return x * self.beta


def every_layer(width):
    return nn.Sequential(
        nn.Conv2d(4, width, 3), nn.BatchNorm2d(width), nn.PReLU(width), nn.Conv2d(width, width, 3, groups=width),
        nn.Conv2d(width, 2 * width, 1, groups=width, bias=False), nn.Conv2d(2 * width, width, 1, groups=2),
        nn.InstanceNorm2d(width, affine=True), nn.ConvTranspose2d(width, width, 2, 2, groups=width),
        nn.ConvTranspose2d(width, width, 2, 2, groups=2), nn.GroupNorm(2, width), Scaled(width),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, width), nn.LayerNorm(width))


@pytest.mark.parametrize('width', [4, 6, 8, 12])
def test_every_layer_becomes_the_one_that_would_have_been_built(width):
    net, expected = every_layer(8), every_layer(width)

    resize_to(net, expected.state_dict())
    net.load_state_dict(expected.state_dict())

    assert [repr(layer) for layer in net] == [repr(layer) for layer in expected]  # torch writes its numbers there
    image = torch.rand(2, 4, 6, 6)
    assert torch.equal(net.eval()(image), expected.eval()(image))


def test_device_dtype_and_frozen_layers_stay():
    with torch.device('meta'):
        net = every_layer(8).double()
    net[0].requires_grad_(False)

    resize_to(net, every_layer(4).state_dict())

    assert {parameter.device.type for parameter in net.parameters()} == {'meta'}
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float64}
    assert [parameter.requires_grad for parameter in net.parameters()][:3] == [False, False, True]


def test_values_are_the_old_ones_and_no_random_number_is_drawn():
    net = nn.Sequential(nn.Conv2d(2, 4, 1))
    old = net[0].weight.detach().clone()
    before = torch.get_rng_state()

    resize_to(net, {'0.weight': torch.zeros(3, 2, 1, 1), '0.bias': torch.zeros(3)})

    assert torch.equal(net[0].weight, old[:3])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_resized_network_trains():
    net = every_layer(8)
    resize_to(net, every_layer(4).state_dict())
    net(torch.rand(2, 4, 6, 6)).square().sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in net.parameters())


def block():
    return nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))


@pytest.mark.parametrize('container', [nn.Sequential, lambda *blocks: nn.ModuleList(blocks)])
def test_blocks_come_off_the_end(container):
    net = container(block(), block(), block())
    resize_to(net, container(block(), block()).state_dict())
    assert [name for name, _ in net.named_children()] == ['0', '1']


def test_blocks_inside_blocks_come_off_too_even_all_of_them():
    net = nn.Sequential(nn.Sequential(block(), block()), nn.Sequential(block(), block()), nn.Conv2d(2, 2, 1))
    state = {name: tensor for name, tensor in net.state_dict().items()
             if not name.startswith('1.') and not name.startswith('0.1')}
    resize_to(net, state)
    assert [len(child) for child in list(net)[:2]] == [1, 0]


@pytest.mark.parametrize(('layers', 'left'), [
    ('conv relu conv relu conv relu', 'conv relu conv relu'),
    ('conv relu conv relu conv', 'conv relu conv'),
    ('conv relu relu conv relu', 'conv relu'),
])
def test_a_shortened_list_ends_as_the_whole_one_did(layers, left):
    kinds = {'conv': lambda: nn.Conv2d(2, 2, 1), 'relu': nn.ReLU}
    net = nn.Sequential(*(kinds[layer]() for layer in layers.split()))
    resize_to(net, nn.Sequential(*(kinds[layer]() for layer in left.split())).state_dict())
    assert [type(layer).__name__ for layer in net] == [
        {'conv': 'Conv2d', 'relu': 'ReLU'}[layer] for layer in left.split()]


def test_an_activation_that_is_there_twice_counts_twice():
    relu = nn.ReLU()
    net = nn.Sequential(nn.Conv2d(2, 2, 1), relu, nn.Conv2d(2, 2, 1), relu)
    resize_to(net, {'0.weight': torch.zeros(2, 2, 1, 1), '0.bias': torch.zeros(2)})
    assert len(net) == 2


@pytest.mark.parametrize(('net', 'state', 'message'), [
    (nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)), {'1.weight': (2, 2, 1, 1), '1.bias': (2,)},
     '0.weight is missing in the file'),
    (nn.ModuleDict({'a': nn.Linear(2, 2)}), {}, 'a.weight is missing in the file'),
    (nn.Conv2d(2, 2, 1), {'weight': (2, 2, 1, 1), 'bias': (2,), 'gain': (1,)}, 'gain is missing in the network'),
    (nn.Conv2d(2, 2, 1), {'weight': (2, 2), 'bias': (2,)}, r'weight is \(2, 2\) in the file, \(2, 2, 1, 1\) in'),
    (nn.Conv2d(2, 2, 1), {'weight': (2, 2, 3, 3), 'bias': (2,)}, r'weight is \(2, 2, 3, 3\) in the file'),
    (nn.Conv2d(2, 2, 1), {'weight': (1, 2, 1, 1), 'bias': (2,)}, r'bias is \(2,\) in the file'),
    (nn.Conv2d(2, 2, 1), {'weight': (2, 2, 1, 1), 'bias': (1,)}, r'bias is \(1,\) in the file'),
    (nn.Linear(2, 2), {'weight': (1, 2), 'bias': (2,)}, r'bias is \(2,\) in the file'),
    (nn.Conv2d(4, 4, 1, groups=2), {'weight': (3, 2, 1, 1), 'bias': (3,)}, 'which its groups do not divide'),
    (nn.Conv2d(4, 4, 1, groups=4), {'weight': (3, 2, 1, 1), 'bias': (3,)}, 'which its groups do not divide'),
    (nn.GroupNorm(2, 4), {'weight': (3,), 'bias': (3,)}, 'weight is .*; it has 2 groups'),
    (nn.BatchNorm1d(4, track_running_stats=False), {'weight': (3,), 'bias': (4,)}, r'bias is \(4,\) in the file'),
    (nn.Embedding(2, 2), {'weight': (2, 1)}, 'weight is .*; torch.nn.Embedding cannot be resized'),
    # a shorter tail would be another scale
    (nn.Sequential(nn.Conv2d(2, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 8, 1), nn.PixelShuffle(2)),
     {'0.weight': (8, 2, 1, 1), '0.bias': (8,)}, '2.weight is missing in the file'),
])
def test_the_first_tensor_that_cannot_fit_is_named(net, state, message):
    with pytest.raises(ValueError, match=message):
        resize_to(net, {name: torch.zeros(shape) for name, shape in state.items()})
