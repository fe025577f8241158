"""Importance obs: prices are what refitting cannot make up for."""
import copy
from pathlib import Path

import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.networks import varied_rrdbnet
from torch import nn

import basicsr_kd
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.errors import PruneOptionError, PruningError
from basicsr_kd.pruning import prune, read_calibration
from basicsr_kd.pruning.channels import surgeon
from basicsr_kd.pruning.channels.groups import find_groups
from basicsr_kd.pruning.channels.surgeon import surgeon_prices
from basicsr_kd.pruning.reconstruction.least_squares import refit


class Pair(nn.Module):
    """Two convolutions; the channels between them may go."""

    def __init__(self, width=6):
        super().__init__()
        self.one = nn.Conv2d(3, width, 3, padding=1)
        self.other = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x):
        return self.other(torch.relu(self.one(x)))


@pytest.fixture
def images():
    return nn.functional.interpolate(torch.rand(4, 3, 8, 8), 32, mode='bicubic').clamp(0, 1)


def priced(net, images):
    groups = [group for group in find_groups(net, images[:1], lambda group: None) if not group.blocked]
    return surgeon_prices(net, groups, images, False)


def test_prices_add_up_to_the_error_that_refitting_leaves(images, monkeypatch):
    monkeypatch.setattr(surgeon, 'RIDGE', 1e-7)
    monkeypatch.setattr(surgeon, 'AT_ONCE', 1)
    net = Pair().eval()
    # The last layer is the output: its sensitivity to itself is 1 at each of its positions.
    [group] = priced(net, images)
    order = sorted(range(6), key=group.importance.__getitem__)
    for gone in (1, 3):
        kept = sorted(order[gone:])
        small = copy.deepcopy(net.other)
        small.weight = nn.Parameter(net.other.weight.detach()[:, kept])
        small.in_channels = len(kept)
        with torch.no_grad():
            features = torch.relu(net.one(images))
            refit(small, features[:, kept], net.other(features))
            left = (small(features[:, kept]) - net.other(features)).square().sum((0, 2, 3)).sum()
        price = sum(group.importance[channel] for channel in order[:gone])
        assert price == pytest.approx(left.item(), rel=0.05)


def test_a_copy_is_worth_nothing_until_the_other_is_gone(images):
    net = Pair().eval()
    with torch.no_grad():
        net.one.weight[4], net.one.bias[4] = net.one.weight[1], net.one.bias[1]
        net.other.weight[:, 1] *= 50
    [group] = priced(net, images)
    low, high = sorted((group.importance[1], group.importance[4]))
    assert low == min(group.importance) and high == max(group.importance)
    assert low < 1e-3 * high


def test_on_a_trained_network_it_chooses_better_than_magnitudes(data_root):
    teacher = build_from_file(str(Path(basicsr_kd.__file__).parent / 'weights' / 'demo_teacher.pth')).eval()
    images = read_calibration(data_root / 'Set14' / 'LR', num=8, size=64)
    others = read_calibration(data_root / 'Set5' / 'LR', num=5, size=64)
    errors = {}
    for importance in ('obs', 'l2'):
        report = prune(teacher, ratio=0.4, importance=importance, calibration=images, reconstruct=True)
        assert all(len(kept) in (0, 16, 32) for kept in report.kept.values())
        with torch.no_grad():
            errors[importance] = nn.functional.mse_loss(report.network.eval()(others), teacher(others)).item()
    assert errors['obs'] < 0.95 * errors['l2']


@pytest.mark.parametrize('kind', [lambda: EDSR(3, 3, 8, 2), lambda: MSRResNet(3, 3, 8, 2),
                                  lambda: SRVGGNetCompact(3, 3, 8, 3),
                                  lambda: RCAN(3, 3, 16, 2, 2, squeeze_factor=4, upscale=2)],
                         ids=['EDSR', 'MSRResNet', 'SRVGGNetCompact', 'RCAN'])
def test_other_networks_are_priced_as_well(kind, images):
    net = kind().eval()
    report = prune(net, ratio=0.1, importance='obs', round_to=2, calibration=images, reconstruct=True)
    assert report.params_after < report.params_before


def test_the_same_images_give_the_same_channels(images):
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8).eval()
    kept = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        kept.append(prune(net, ratio=0.2, importance='obs', round_to=2, calibration=images).kept)
    assert kept[0] == kept[1]


def test_refusals(images):
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8)
    with pytest.raises(PruneOptionError, match='layout growth; found layout width'):
        prune(net, ratio=0.3, layout='width', importance='obs', calibration=images)
    with pytest.raises(PruningError, match='needs calibration images'):
        prune(net, ratio=0.3, importance='obs')
    with pytest.raises(PruningError, match='too few positions .* 1 images of 8x8 for .*conv5.* Expected 12 images'):
        prune(net, ratio=0.3, importance='obs', calibration=images[:1, :, :8, :8])
