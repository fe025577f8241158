"""Reconstruction by least squares: never worse on its images, exact where that is possible."""
import copy
import weakref
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.networks import varied_rrdbnet
from torch import nn

import basicsr_kd
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.pruning import Cut, prune, read_calibration
from basicsr_kd.pruning.reconstruction import reconstruct as reconstruct_module
from basicsr_kd.pruning.reconstruction.least_squares import refit
from basicsr_kd.pruning.reconstruction.reconstruct import _Entered, reconstruct
from basicsr_kd.pruning.reconstruction.residuals import trace_convs

NETS = {
    'RRDBNet': lambda: varied_rrdbnet(num_feat=8, num_block=2, num_grow_ch=8),
    'EDSR': lambda: EDSR(3, 3, 8, 2, res_scale=0.1),
    'RCAN': lambda: RCAN(3, 3, 16, 2, 2, squeeze_factor=4, upscale=2),
    'MSRResNet': lambda: MSRResNet(3, 3, 8, 2),
    'SRVGGNetCompact': lambda: SRVGGNetCompact(3, 3, 8, 3),
}


@pytest.fixture
def images():
    return nn.functional.interpolate(torch.rand(4, 3, 8, 8), 32, mode='bicubic').clamp(0, 1)


def pruned(net, layout='growth', ratio=None):
    ratio = ratio or {'growth': 0.1, 'width': 0.3}[layout]
    report = prune(net, ratio=ratio, layout=layout, importance='l2', round_to=2)
    return report.network, report.cut


@torch.no_grad()
def error(one, other, images):
    return nn.functional.mse_loss(one.eval()(images), other.eval()(images)).item()


def tensors(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(state, net):
    return all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize('kind', [kind for kind in NETS if kind != 'SRVGGNetCompact'])
def test_blocks_that_stay_make_up_for_those_that_went(kind, images):
    net = NETS[kind]().eval()
    errors, before = {}, tensors(net)
    for refits in (False, True):
        report = prune(net, keep=2 if kind == 'RCAN' else 1, layout='blocks', select='last', reconstruct=refits,
                       calibration=images)
        errors[refits] = error(net, report.network, images)
    assert errors[True] < 0.9 * errors[False] and same(before, net)
    assert 'refitted' in report.table()


@pytest.mark.parametrize('layout', ['growth', 'width'])
@pytest.mark.parametrize('kind', NETS)
def test_is_far_better_on_its_images_and_says_how_much(kind, layout, images):
    net = NETS[kind]().eval()
    small, cut = pruned(net, layout)
    plain = error(net, small, images)
    result = reconstruct(net, small, cut, images)

    assert result.error_plain == pytest.approx(plain, rel=1e-3)
    assert result.error_refitted == pytest.approx(error(net, small, images), rel=1e-3)
    assert result.layers > 0 and result.error_refitted < 0.5 * result.error_plain


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('options', [
    {}, {'stride': 2}, {'padding': 0}, {'dilation': 2}, {'padding': 'same', 'padding_mode': 'reflect'},
    {'kernel_size': (1, 3), 'padding': (0, 1)}, {'kernel_size': 2, 'stride': (2, 1)},
], ids=str)
def test_a_convolution_is_found_again_from_its_outputs(options, bias):
    conv = nn.Conv2d(**{'in_channels': 5, 'out_channels': 4, 'kernel_size': 3, 'padding': 1, 'bias': bias, **options})
    inputs = torch.randn(3, 5, 16, 18)
    with torch.no_grad():
        output = conv(inputs)
        other = copy.deepcopy(conv)
        for parameter in other.parameters():
            parameter.uniform_(-1, 1)
        assert refit(other, inputs, output)
    assert torch.allclose(other.weight, conv.weight, atol=0.01)
    assert not bias or torch.allclose(other.bias, conv.bias, atol=0.01)


def test_what_the_images_do_not_tell_stays_as_it_is():
    conv = nn.Conv2d(2, 1, 1)
    inputs = torch.randn(1, 2, 20, 20)
    inputs[:, 1] = 0
    before = conv.weight.detach().clone()
    with torch.no_grad():
        refit(conv, inputs, 3 * inputs[:, :1])
    assert conv.weight[0, 0].item() == pytest.approx(3, abs=0.01)
    assert conv.weight[0, 1].item() == before[0, 1].item()


def test_a_channel_that_another_can_stand_in_for_is_not_missed(images):
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8).eval()
    conv = net.body[0].rdb2.conv3
    with torch.no_grad():
        for parameter in net.body.parameters():
            parameter.mul_(3)  # so that a block matters more than rounding
        # Leaky ReLU keeps factors, so channel 5 is 0.7 times channel 2 behind it, too.
        conv.weight[5], conv.bias[5] = 0.7 * conv.weight[2], 0.7 * conv.bias[2]
    dropped = {'body.0.rdb2.conv3.weight': {0: [5]}, 'body.0.rdb2.conv3.bias': {0: [5]}}
    for reader in (4, 5):
        dropped[f'body.0.rdb2.conv{reader}.weight'] = {1: [8 + 8 * 2 + 5]}
    cut = Cut(dropped=dropped)
    small = copy.deepcopy(net)
    for name, tensor in cut.apply(net.state_dict()).items():
        layer, _, kind = name.rpartition('.')
        setattr(small.get_submodule(layer), kind, nn.Parameter(tensor))
    result = reconstruct(net, small, cut, images)
    assert result.layers == 8  # from rdb2.conv4 on: what they read has changed
    assert result.error_refitted < 1e-4 * result.error_plain


def test_a_branch_makes_up_for_those_before_it(images, monkeypatch):
    net = varied_rrdbnet(num_feat=8, num_block=2, num_grow_ch=8).eval()
    errors = []
    for ends in (True, False):
        if not ends:
            def without_skips(*args):
                runs = trace_convs(*args)
                for run in runs:
                    run.skips.clear()
                return runs
            monkeypatch.setattr(reconstruct_module, 'trace_convs', without_skips)
        small, cut = pruned(net)
        errors.append(reconstruct(net, small, cut, images).error_refitted)
    assert errors[0] < 0.9 * errors[1]


def test_original_modes_and_random_state_are_left_alone(images):
    net = MSRResNet(3, 3, 8, 2).train()
    net.body[0].eval()
    before, random_state = tensors(net), torch.get_rng_state()
    small, cut = pruned(net)
    small.train()
    reconstruct(net, small, cut, images)
    assert same(before, net)
    assert torch.equal(random_state, torch.get_rng_state())
    assert small.training and net.training and not net.body[0].training and net.body[1].training
    for one in (net, small):
        assert all(parameter.is_contiguous() for parameter in one.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in one.modules())


def test_same_images_same_result(images):
    net = NETS['RRDBNet']().eval()
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        small, cut = pruned(net)
        reconstruct(net, small, cut, images)
        states.append(small)
    assert same(tensors(states[0]), states[1])


def test_weights_are_put_back_where_it_got_worse(images, monkeypatch):
    def worse(conv, *args):
        conv.weight.add_(1)
        return True

    net = NETS['RRDBNet']().eval()
    small, cut = pruned(net)
    before = tensors(small)
    monkeypatch.setattr(reconstruct_module, 'refit', worse)
    result = reconstruct(net, small, cut, images)
    assert result.layers == 0 and result.error_refitted == result.error_plain
    assert same(before, small)


def test_values_that_are_not_finite_change_nothing(images):
    net = NETS['RRDBNet']().eval()
    small, cut = pruned(net)
    before = tensors(small)
    images[0, 0, 3, 3] = float('nan')
    assert reconstruct(net, small, cut, images).layers == 0
    assert same(before, small)


def test_nothing_cut_nothing_done(images):
    net = NETS['EDSR']().eval()
    result = reconstruct(net, copy.deepcopy(net), Cut(), images)
    assert (result.error_plain, result.error_refitted, result.layers) == (0, 0, 0)


def test_attention_on_pooled_features_is_left_as_it_is(images):
    net = NETS['RCAN']().eval()
    small, cut = pruned(net, 'width')
    before = tensors(small)
    reconstruct(net, small, cut, images)
    changed = {name for name, tensor in small.state_dict().items() if not torch.equal(before[name], tensor)}
    assert any('rcab.0' in name for name in changed)
    assert not any('attention' in name for name in changed)


class Unusual(nn.Module):
    """A convolution that runs twice, a grouped one, and a residual branch inside a Sequential."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 1, 1)
        self.twice = nn.Conv2d(8, 8, 3, 1, 1)
        self.grouped = nn.Conv2d(8, 8, 3, 1, 1, groups=2)
        self.branch = Branch()
        self.never = nn.Conv2d(8, 8, 3)

    def forward(self, x):
        return self.branch(self.grouped(self.twice(self.twice(self.first(x)))))


class Branch(nn.Module):
    def __init__(self, last=None):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, 1, 1))
        if last:
            self.layers.append(last)

    def forward(self, x):
        return 0.5 * self.layers(x) + x


def test_trace_finds_order_calls_and_residual_branches():
    net = Unusual().eval()
    convs = ['branch.layers.2', 'branch.layers.0', 'never', 'twice', 'grouped']
    runs = trace_convs(net, convs, torch.rand(1, 3, 9, 8))
    assert [run.name for run in runs] == ['twice', 'grouped', 'branch.layers.0', 'branch.layers.2']
    assert [run.calls for run in runs] == [2, 1, 1, 1]
    assert {run.size for run in runs} == {(9, 8)}
    assert runs[3].skips == [('branch', pytest.approx(0.5))]
    assert not any(run.skips for run in runs[:3])


def test_trace_finds_nested_residual_branches_of_an_rrdb():
    [run] = trace_convs(RRDBNet(3, 3, 4, 8, 2, 4), ['body.1.rdb3.conv5'], torch.rand(1, 3, 9, 8))
    assert run.skips == [('body.1.rdb3', pytest.approx(0.2)), ('body.1', pytest.approx(0.04))]


@pytest.mark.parametrize('last', [nn.ReLU(), nn.Sigmoid(), nn.BatchNorm2d(8)], ids=lambda last: type(last).__name__)
def test_a_branch_that_does_more_after_its_convolution_has_no_known_end(last):
    net = Branch(last).eval()
    if isinstance(last, nn.BatchNorm2d):
        last.running_var.uniform_(0.5, 2)
    [run] = trace_convs(net, ['layers.2'], torch.rand(1, 8, 9, 8))
    assert run.skips == []


def test_convolutions_that_run_twice_or_have_groups_are_left_as_they_are(images):
    net = Unusual().eval()
    cut = Cut(dropped={'first.weight': {0: [7]}, 'first.bias': {0: [7]}, 'twice.weight': {1: [7]},
                       'grouped.weight': {1: [3]}, 'never.weight': {1: [0]}})
    small = copy.deepcopy(net)  # its shapes do not matter here, since no layer can be refitted
    assert reconstruct(net, small, cut, images).layers == 0


def test_demo_teacher_loses_next_to_nothing_on_other_photos(data_root):
    teacher = build_from_file(str(Path(basicsr_kd.__file__).parent / 'weights' / 'demo_teacher.pth')).eval()
    images = read_calibration(data_root / 'Set14' / 'LR', num=14, size=64)
    others = read_calibration(data_root / 'Set5' / 'LR', num=5, size=64)
    small, cut = pruned(teacher, ratio=0.5)
    plain = error(teacher, small, others)
    result = reconstruct(teacher, small, cut, images)
    assert result.error_refitted < 0.05 * result.error_plain
    assert error(teacher, small, others) < 0.05 * plain


def test_larger_maps_are_fitted_on_fewer_images(monkeypatch):
    """Memory stays that of the smallest maps, and the layers behind the upsampling are refitted all the same."""
    seen = []

    def watch(conv, inputs, wanted):
        seen.append(tuple(inputs.shape))
        return refit(conv, inputs, wanted)
    monkeypatch.setattr(reconstruct_module, 'refit', watch)
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8).eval()
    many = nn.functional.interpolate(torch.rand(16, 3, 8, 8), 32, mode='bicubic').clamp(0, 1)
    small, cut = pruned(net, 'width')
    result = reconstruct(net, small, cut, many)
    assert {shape[0]: shape[2] for shape in seen} == {16: 32, 4: 128} and result.layers == len(seen)
    assert max(count * channels * height * width for count, channels, height, width in seen) <= 4 * 16 * 40 * 32 * 32
    assert result.error_refitted < 0.5 * result.error_plain


def test_too_few_positions_are_told_with_how_many_images_would_do():
    net = varied_rrdbnet(num_feat=16, num_block=1, num_grow_ch=16).eval()
    few = torch.rand(1, 3, 16, 16)  # 256 positions; conv5 reads up to 9 x 80 values
    report = prune(net, ratio=0.2, round_to=4, importance='l2', calibration=few, reconstruct=True)
    (note,) = [line for line in report.notes if 'too few' in line]
    needed = int(note.split('Expected ')[1].split()[0])
    assert needed > 1 and 'layers were not refitted: these 1 calibration images' in note
    enough = prune(net, ratio=0.2, round_to=4, importance='l2', calibration=few.repeat(needed, 1, 1, 1),
                   reconstruct=True)
    assert not [line for line in enough.notes if 'too few' in line]


def test_what_enters_a_module_is_kept_until_it_is_read_for_the_last_time():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    with ExitStack() as stack:
        entered = _Entered(stack, net, ['0', '1', '1'])
        net(torch.rand(1, 3, 4, 4))
        first = entered.take('1')
        kept = weakref.ref(first)
        assert entered.take('1') is first and entered.take('0').shape == (1, 3, 4, 4)
        del first
        assert kept() is None and not entered._inputs
    assert not any(module._forward_pre_hooks for module in net)
