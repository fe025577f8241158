"""8 bits in PyTorch: evening out changes nothing, and rounding together is nearer than rounding one by one."""
from __future__ import annotations

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.networks import varied_rrdbnet
from helpers.pruned import SMALL, varied
from torch import nn
from torch.nn.functional import interpolate

from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedRRDBNet
from basicsr_kd.quantisation import RecordingError, quantise
from basicsr_kd.quantisation.quantise import prepared
from basicsr_kd.quantisation.quantiser import Quantiser
from basicsr_kd.quantisation.ranges import even_out


def network(name: str) -> nn.Module:
    if name == 'PrunedRRDBNet':
        net = PrunedRRDBNet(num_feat=8, num_block=1, num_grow_ch=[4, 3, 0, 2, 4, 4, 1, 2, 8, 4, 4, 5])
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.uniform_(-0.1, 0.1)
        return net.eval()
    if name == 'x2':
        return varied_rrdbnet(scale=2, num_feat=8, num_block=1, num_grow_ch=4).eval()
    if name == 'RRDBNet':
        return varied_rrdbnet(num_feat=16, num_block=1, num_grow_ch=8).eval()
    return varied(SMALL[name])


@pytest.fixture(scope='module')
def photos() -> torch.Tensor:
    """Smooth, as photos are: neighbours say much about each other."""
    coarse = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return interpolate(coarse, size=(32, 32), mode='bicubic').clamp(0, 1)


FAMILIES = ['RRDBNet', 'x2', 'PrunedRRDBNet', 'SRVGGNetCompact', 'MSRResNet', 'EDSR', 'RCAN']


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_evening_out_ranges_leaves_the_output_and_brings_channels_to_one_range(family, photos):
    net = network(family)
    expected = net(photos)
    placed = prepared(net, photos, {})
    even_out(placed.net, placed.groups)
    output = placed.net(photos)
    assert (output - expected).abs().max() < 1e-5 * max(1, expected.abs().max())
    for group in placed.groups:
        for source in group.sources:
            low, size = -source.quantiser.zero * source.quantiser.step, 255 * source.quantiser.step
            own = prepared_range(placed.net, source.quantiser, photos)
            assert own[0].min() >= low - 0.01 * size and own[1].max() <= low + 1.01 * size
    assert torch.equal(net(photos), expected)  # the network itself was not touched


def prepared_range(net: nn.Module, quantiser: Quantiser, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    seen = []
    handle = quantiser.register_forward_hook(lambda module, args, output: seen.append(output))
    net(images)
    handle.remove()
    return seen[0].amin((0, 2, 3)), seen[0].amax((0, 2, 3))


@torch.no_grad()
def test_growth_and_stream_of_a_dense_block_share_a_step_and_growth_needs_no_factor(photos):
    placed = prepared(network('RRDBNet'), photos, {})
    even_out(placed.net, placed.groups)
    block = next(group for group in placed.groups if 'body.0.rdb1.conv5' in group.readers)
    assert sorted(block.readers) == [f'body.0.rdb1.conv{index}' for index in range(1, 6)]
    stream, *growth = block.sources
    assert len(growth) == 4 and stream.quantiser.factor is not None
    assert all(source.maker is not None and source.quantiser.factor is None for source in growth)
    assert len({source.quantiser.step for source in block.sources}) == 1


@pytest.mark.parametrize('family', FAMILIES)
@torch.no_grad()
def test_rounding_together_is_nearer_than_rounding_each_weight(family, photos):
    net = network(family)
    expected = net(photos)
    errors = [(quantise(net, photos, nearest=nearest).net(photos) - expected).square().mean().item()
              for nearest in (True, False)]
    assert errors[1] < errors[0] < 0.01 * expected.var().item()


@torch.no_grad()
def test_weights_are_whole_steps(photos):
    found = quantise(network('SRVGGNetCompact'), photos)
    convs = [module for module in found.net.modules() if isinstance(module, nn.Conv2d)]
    assert found.layers == len(convs) and not found.left
    for conv in convs:
        steps = conv.weight.flatten(1) / conv.parametrizations.weight[0].steps[:, None]
        assert (steps - steps.round()).abs().max() < 1e-3 and steps.abs().max() < 127.5


@torch.no_grad()
def test_a_channel_that_no_image_reaches_is_told(photos):
    net = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4).eval()
    net.body[0].rdb1.conv1.weight[2] = 0
    net.body[0].rdb1.conv1.bias[2] = 0
    found = quantise(net, photos)
    assert found.silent == 1 and torch.isfinite(found.net(photos)).all()


class Odd(nn.Module):
    """A grouped convolution, one that runs twice, and one with reflected borders."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.grouped = nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.mirrored = nn.Conv2d(4, 4, 3, 1, 1, padding_mode='reflect')
        self.last = nn.Conv2d(4, 3, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.mirrored(self.grouped(self.twice(self.twice(self.first(x))))))


@torch.no_grad()
def test_what_stays_in_floating_point_is_named_with_its_reason(photos):
    found = quantise(Odd().eval(), photos, keep=['last'])
    assert found.left == {'twice': 'runs more than once', 'grouped': 'grouped', 'mirrored': 'other padding than zeros',
                          'last': 'wished'}
    assert found.layers == 1
    pooled = quantise(network('RCAN'), photos).left
    assert pooled and set(pooled.values()) == {'reads pooled features'}


class Choosy(nn.Module):
    """A network that looks at its input before it decides what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.mean() > 0.5 else x


def test_a_network_that_cannot_be_recorded_is_named(photos):
    with pytest.raises(RecordingError, match='torch.fx cannot record Choosy'):
        quantise(Choosy().eval(), photos)
