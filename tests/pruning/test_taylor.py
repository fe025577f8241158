"""Importance taylor against its definition."""
import pytest
import torch
from helpers.networks import varied_rrdbnet
from helpers.pruned import SMALL, varied
from torch import nn

from basicsr_kd.pruning import prune
from basicsr_kd.pruning.channels.groups import find_groups
from basicsr_kd.pruning.channels.importance import ChannelEffects, weight_effects
from basicsr_kd.pruning.channels.random_signs import DRAWS


def linear_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 2, 3, padding=1))


def test_effect_of_a_channel_of_a_linear_network_is_the_change_of_its_output():
    """Where the network is linear the first order is the whole: the mean over signs is the squared change."""
    net = linear_net()
    images = torch.rand(1, 3, 8, 8).repeat(4000, 1, 1, 1)  # one image, many draws of the signs
    groups = find_groups(net, images[:1], ChannelEffects(net, images, False))
    whole = net(images[:1])
    for channel, effect in enumerate(groups[0].importance):
        without = linear_net()
        without.load_state_dict(net.state_dict())
        without[0].weight.data[channel] = 0
        without[0].bias.data[channel] = 0
        assert effect / (DRAWS * len(images)) == pytest.approx((without(images[:1]) - whole).square().sum().item(),
                                                               rel=0.15)


def test_effect_of_a_weight_is_the_squared_derivative_times_it():
    net = linear_net()
    images = torch.rand(1, 3, 8, 8).repeat(4000, 1, 1, 1)
    effects = weight_effects(net, images, False)
    whole = net(images[:1])
    for name, index in (('0.weight', (1, 2, 0, 1)), ('1.bias', (0,))):
        without = linear_net()
        without.load_state_dict(net.state_dict())
        without.get_parameter(name).data[index] = 0
        expected = (without(images[:1]) - whole).square().sum().item()
        assert effects[name][index].item() / len(images) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize('kind', ['RRDBNet', *SMALL])
def test_it_keeps_the_output_better_than_random_channels(kind):
    net = varied_rrdbnet(num_feat=8, num_block=2, num_grow_ch=8) if kind == 'RRDBNet' else varied(
        {**SMALL[kind], 'num_feat': 16})
    images = torch.rand(4, 3, 40, 40)
    with torch.no_grad():
        whole = net(images)
        changes = [(prune(net, ratio=0.15, round_to=1, calibration=images, importance=importance).network(images) -
                    whole).square().mean().item() for importance in ('taylor', 'random', 'random')
                   if importance == 'taylor' or torch.manual_seed(len(importance)) is not None]
    assert changes[0] < min(changes[1:])


def test_it_leaves_the_random_state_and_the_network_alone():
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8)
    before = torch.get_rng_state()
    first = prune(net, ratio=0.3, round_to=1, calibration=torch.ones(1, 3, 16, 16))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.kept == prune(net, ratio=0.3, round_to=1, calibration=torch.ones(1, 3, 16, 16)).kept
    assert all(parameter.grad is None for parameter in net.parameters())
