"""Pruning of other generators than RRDBNet, to a file and back."""
import copy

import pytest
import torch
from helpers.networks import count, largest_difference, varied_rrdbnet
from helpers.pruned import SMALL, varied
from torch import nn

from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.pruning import PruningError, Request, check_prune, prune

IMAGE = torch.rand(1, 3, 16, 16)
CHANNELS = ('growth', 'width', 'balanced')


def masked(net, report):
    """The network whose dropped channels write nothing: their weights, biases and slopes are zero."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        for path, kept in report.kept.items():
            layer = net.get_submodule(path)
            gone = sorted(set(range(len(layer.weight))) - set(kept))
            layer.weight[gone] = 0
            if layer.bias is not None:
                layer.bias[gone] = 0
    return net


@pytest.mark.parametrize('kind', SMALL)
@pytest.mark.parametrize('layout', ['growth', 'width', 'balanced', 'blocks', 'unstructured'])
def test_every_layout_to_a_file_and_back(kind, layout, tmp_path):
    net = varied(SMALL[kind])
    options = {'select': 'last'} if layout == 'blocks' else {'round_to': 2}
    options['ratio'] = 0.25 if layout == 'blocks' or kind == 'SRVGGNetCompact' else 0.15
    if kind == 'SRVGGNetCompact' and layout in ('balanced', 'blocks'):
        with pytest.raises(PruningError, match='SRVGGNetCompact has no residual (stream|blocks)'):
            prune(net, layout=layout, **options)
        return
    report = prune(net, layout=layout, **options)

    if layout in CHANNELS:
        assert count(report.network) < count(net)
        assert largest_difference(masked(net, report), report.network, IMAGE) < 1e-4
    if layout == 'blocks':
        assert 'removed: body.' in report.table()
    if layout in ('growth', 'balanced') and kind != 'SRVGGNetCompact':
        assert 'pixel shuffle' in report.table()
    if layout == 'growth' and kind == 'RCAN':
        assert 'an attention: it works on the pooled image' in report.table()
    write_network_file(str(tmp_path / 'pruned.pth'), report.network.state_dict(), SMALL[kind])
    opened = build_from_file(str(tmp_path / 'pruned.pth'))
    assert type(opened) is type(net)
    assert largest_difference(opened, report.network, IMAGE) == 0.0


@pytest.mark.parametrize('kind', SMALL)
def test_a_pruned_network_is_pruned_further(kind):
    net = varied(SMALL[kind])
    once = prune(net, ratio=0.1, round_to=2)
    twice = prune(once.network, ratio=0.1, round_to=1)
    assert count(twice.network) == pytest.approx(0.9 * count(once.network), rel=0.02)
    assert largest_difference(masked(once.network, twice), twice.network, IMAGE) < 1e-4


@pytest.mark.parametrize('of', ['params', 'macs'])
def test_global_budget_is_met(of):
    net = varied({**SMALL['MSRResNet'], 'num_feat': 32})
    report = prune(net, ratio=0.2, of=of, round_to=1)
    before = report.params_before if of == 'params' else report.macs_before
    assert report.reached == pytest.approx(0.8 * before, rel=0.005)


class Plain(nn.Module):
    """Concatenation, batch norm, depthwise and transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.side = nn.Conv2d(12, 10, 1)
        self.up = nn.ConvTranspose2d(22 + 12, 8, 4, stride=2, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        wide = self.depthwise(x)
        side = torch.relu(self.side(wide))
        return self.last(torch.relu(self.up(torch.cat([x, side, x], 1))))


def test_a_plain_module_is_pruned():
    torch.manual_seed(0)
    net = Plain().eval()
    net.norm.running_mean.uniform_(-1, 1)
    report = prune(net, ratio=0.4, round_to=1)
    assert count(report.network) == pytest.approx(0.6 * count(net), rel=0.05)
    assert set(report.kept) == {'first', 'side', 'up'}
    assert report.network.depthwise.groups == len(report.kept['first']) == report.network.norm.num_features
    image = torch.rand(2, 1, 12, 12)
    reference = copy.deepcopy(net)
    with torch.no_grad():
        for path, kept in report.kept.items():
            layer = reference.get_submodule(path)
            gone = sorted(set(range(layer.out_channels)) - set(kept))
            if path == 'up':
                layer.weight[:, gone] = 0
            else:
                layer.weight[gone] = 0
            layer.bias[gone] = 0
            if path == 'first':
                for other in (reference.norm, reference.depthwise):
                    other.weight[gone] = 0
                    other.bias[gone] = 0
    assert largest_difference(reference, report.network, image) < 1e-5


class Sigmoid(nn.Sequential):
    """A dropped channel would be 0.5 here, not 0."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.Sigmoid(), nn.Conv2d(8, 3, 3, padding=1))


class Grouped(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 3, 1))


def test_what_cannot_be_pruned_is_refused_by_name():
    with pytest.raises(PruningError, match='Sigmoid cannot be pruned in this layout. Without the removed'):
        prune(Sigmoid(), ratio=0.3, round_to=1)
    with pytest.raises(PruningError, match='Grouped has no channels that layout growth could take .*1 .Conv2d.'):
        prune(Grouped(), ratio=0.3, round_to=1)
    with pytest.raises(PruningError, match='Linear has no convolution'):
        prune(nn.Linear(3, 3), ratio=0.3)
    with pytest.raises(PruningError, match=r'MSRResNet cannot be traced with an input of shape \(1, 5, 8, 8\)'):
        prune(varied(SMALL['MSRResNet']), ratio=0.1, example=torch.zeros(1, 5, 8, 8))


@pytest.mark.parametrize('ratio', [0.2, 0.4, 0.5])
def test_balanced_meets_the_budget_wherever_the_steps_allow_it(ratio):
    net = varied({**SMALL['EDSR'], 'num_feat': 32, 'num_block': 6})
    assert prune(net, ratio=ratio, layout='balanced', round_to=4).reached == pytest.approx(
        (1 - ratio) * count(net), rel=0.01)
    coarse = prune(net, ratio=0.4, layout='balanced')  # two stream widths, two widths a block
    assert abs(coarse.reached - coarse.budget) < 0.11 * coarse.budget


class Shrinking(nn.Sequential):
    """Blocks of one class that change the number of channels: none can be left out."""

    class Stage(nn.Sequential):
        def __init__(self, inputs, outputs):
            super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())

    def __init__(self):
        super().__init__(self.Stage(3, 8), self.Stage(8, 8), self.Stage(8, 3))


def test_blocks_that_change_the_shape_are_no_blocks():
    with pytest.raises(PruningError, match='Shrinking has no residual blocks'):
        prune(Shrinking(), ratio=0.1, layout='blocks', select='last')
    chain = nn.Sequential(*(Shrinking.Stage(3, 3) for _ in range(3)))
    report = prune(chain, keep=1, layout='blocks', calibration=torch.rand(1, 3, 8, 8))
    assert len(report.network) == 1 and count(report.network) == count(chain) / 3


class Small(nn.Module):
    """A sigmoid between convolutions, and an output so small that an absolute tolerance would see no difference."""

    def __init__(self):
        super().__init__()
        self.body = Sigmoid()

    def forward(self, x):
        return self.body(x) * 1e-4


def test_the_check_of_the_result_goes_by_the_size_of_the_output():
    with pytest.raises(PruningError, match='Without the removed'):
        prune(Small(), ratio=0.3, round_to=1)


def test_a_half_precision_network_is_checked_and_pruned():
    for net in (varied(SMALL['MSRResNet']).half(), varied(SMALL['MSRResNet']).bfloat16()):
        check_prune(net, Request(ratio=0.15, round_to=1))
        assert prune(net, ratio=0.15, round_to=1).network.conv_first.weight.dtype == torch.float32


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Sigmoid()

    def forward(self, x):
        return self.body(x), x


def test_a_network_that_gives_more_than_an_image_is_refused():
    with pytest.raises(PruningError, match='Pair cannot be traced .* gives one'):
        prune(Pair(), ratio=0.3, round_to=1)


def test_calibration_images_that_do_not_fit_are_told():
    net = varied_rrdbnet(scale=2, num_feat=8, num_block=2, num_grow_ch=8)
    for options in ({}, {'layout': 'blocks'}, {'layout': 'unstructured'}, {'importance': 'l2', 'reconstruct': True}):
        with pytest.raises(PruningError, match=r'cannot run on the calibration images, of shape \(1, 3, 9, 9\)'):
            prune(net, ratio=0.3, round_to=1, calibration=torch.rand(1, 3, 9, 9), **options)


def test_a_grey_network_is_pruned():
    net = varied({**SMALL['SRVGGNetCompact'], 'num_in_ch': 1, 'num_out_ch': 1})
    report = prune(net, ratio=0.3, round_to=1, calibration=torch.rand(2, 1, 16, 16))
    assert 'importance taylor' in report.table()
    assert report.network(IMAGE[:, :1]).shape == (1, 1, 64, 64)
