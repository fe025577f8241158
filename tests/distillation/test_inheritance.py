"""Students that start as the most important channels of their teacher."""
from __future__ import annotations

import copy

import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.networks import largest_difference
from torch import nn

from basicsr_kd.archs import PrunedRRDBNet, SlimRRDBNet
from basicsr_kd.distillation.inheritance import InheritanceError, check_inheritable, inherit
from basicsr_kd.pruning.channels.importance import MAGNITUDES
from basicsr_kd.pruning.channels.shuffles import find_shuffled_groups

IMAGE = torch.rand(1, 3, 8, 8)
KINDS = {  # features and blocks to a network; narrower students have half of all channels
    'RRDBNet': lambda feat, depth: RRDBNet(3, 3, num_feat=feat, num_block=depth, num_grow_ch=feat // 2),
    'SRVGGNetCompact': lambda feat, depth: SRVGGNetCompact(num_feat=feat, num_conv=depth),
    'MSRResNet': lambda feat, depth: MSRResNet(num_feat=feat, num_block=depth),
    'EDSR': lambda feat, depth: EDSR(3, 3, num_feat=feat, num_block=depth, res_scale=0.5),
    'RCAN': lambda feat, depth: RCAN(3, 3, num_feat=feat, num_group=2, num_block=depth, squeeze_factor=4),
}


def teacher(kind: str = 'RRDBNet', depth: int = 2) -> nn.Module:
    """A network with weights of the size of trained ones, so that every block does something."""
    net = KINDS[kind](8, depth)
    for parameter in net.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return net


def error(student: nn.Module, big: nn.Module, images: torch.Tensor) -> float:
    with torch.no_grad():
        return nn.functional.mse_loss(student(images), big(images)).item()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('reconstruct', [False, True])
def test_a_student_of_the_same_size_is_the_teacher(kind, reconstruct):
    big, student = teacher(kind), KINDS[kind](8, 2)
    inherit(student, big, calibration=torch.rand(1, 3, 16, 16), reconstruct=reconstruct)
    assert all(torch.equal(tensor, big.state_dict()[name]) for name, tensor in student.state_dict().items())


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('importance', ['l2', 'taylor'])
def test_dead_channels_are_left_behind_and_the_output_stays(kind, importance):
    """A teacher in which half of each group of channels is dead gives a half-size student with the same output."""
    big = teacher(kind)
    *_, last = (name for name, _ in big.named_modules() if isinstance(big.get_submodule(name), nn.Conv2d))
    for name, parameter in big.named_parameters():
        if not name.startswith(f'{last}.'):
            joined = 4 if name.startswith('up') else 1  # a pixel shuffle makes one channel of four
            parameter.data[torch.arange(len(parameter)) // joined % 2 == 1] = 0
    student = KINDS[kind](4, 2)
    inherit(student, big, importance=importance, calibration=torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(student(IMAGE), big(IMAGE), rtol=1e-5, atol=1e-6)


def test_taylor_keeps_what_moves_the_output_and_l2_what_is_large():
    big = teacher('SRVGGNetCompact')
    big.body[2].weight.data[1::2] *= 5
    big.body[4].weight.data[:, 1::2] = 0  # nobody reads these
    differences = {}
    for importance in ('taylor', 'l2'):
        student = SRVGGNetCompact(num_feat=8, num_conv=2)
        student.body[2], student.body[3] = nn.Conv2d(8, 4, 3, padding=1), nn.PReLU(4)
        student.body[4] = nn.Conv2d(4, 8, 3, padding=1)
        inherit(student, big, importance=importance, calibration=torch.rand(2, 3, 32, 32))
        differences[importance] = largest_difference(student, big, IMAGE)
    assert differences['taylor'] < 1e-6 < 1e-2 < differences['l2']


def test_channels_in_front_of_a_pixel_shuffle_go_together():
    """Of a network as wide as real ones: there torch-pruning itself would lose most of them."""
    net = MSRResNet(num_feat=64, num_block=1)
    groups = {group.root: group for group in find_shuffled_groups(net, IMAGE, MAGNITUDES['l2']())}
    group = groups['upconv1']
    assert (group.size, group.blocked) == (64, '')
    indices = [(part.tensor, part.dim, part.index[7]) for part in group.slices]
    assert sorted(indices) == sorted([(f'upconv1.{name}', 0, row) for name in ('weight', 'bias')
                                      for row in (28, 29, 30, 31)] + [('upconv2.weight', 1, 7)])


def test_channels_the_teacher_lacks_start_without_effect_and_can_learn():
    growths = [4, 4, 0, 2] * 6
    narrow = PrunedRRDBNet(num_feat=8, num_block=2, num_grow_ch=growths)
    for parameter in narrow.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    student = SlimRRDBNet(num_feat=8, num_block=2, num_grow_ch=4)
    inherit(student, narrow)
    torch.testing.assert_close(student(IMAGE), narrow(IMAGE), rtol=1e-5, atol=1e-6)
    student(IMAGE).sum().backward()
    conv5 = student.body[0].rdb1.conv5.weight
    assert conv5.grad[:, 16:20].abs().sum() > 0  # what reads conv3's channels, which the teacher does not have


def test_growth_that_the_student_lacks_is_left_out():
    big = teacher()
    for name, parameter in big.named_parameters():
        if 'rdb2.conv3' in name:
            parameter.data.zero_()
    student = PrunedRRDBNet(num_feat=8, num_block=2, num_grow_ch=[4, 4, 4, 4, 4, 4, 0, 4, 4, 4, 4, 4] * 2)
    inherit(student, big)
    torch.testing.assert_close(student(IMAGE), big(IMAGE), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('kind', 'depths', 'pairs'), [
    ('RRDBNet', (3, 5), [('body.0.rdb2.conv4', 'body.1.rdb2.conv4'), ('body.1.rdb1.conv1', 'body.2.rdb1.conv1'),
                         ('body.2.rdb3.conv5', 'body.4.rdb3.conv5')]),
    ('RCAN', (1, 3), [('body.0.residual_group.0.rcab.0', 'body.0.residual_group.2.rcab.0'),
                      ('body.1.residual_group.0.rcab.3.attention.1', 'body.1.residual_group.2.rcab.3.attention.1')]),
    ('SRVGGNetCompact', (2, 4), [('body.0', 'body.0'), ('body.2', 'body.4'), ('body.3', 'body.5'), ('body.4', 'body.8'),
                                 ('body.5', 'body.9'), ('body.6', 'body.10')]),
])
def test_blocks_of_a_deeper_teacher_are_spread(kind, depths, pairs):
    big, student = teacher(kind, depths[1]), KINDS[kind](8, depths[0])
    inherit(student, big)
    for own, theirs in pairs:
        assert torch.equal(student.get_submodule(own).weight, big.get_submodule(theirs).weight)


def test_groups_and_their_blocks_are_spread_each():
    big, student = (RCAN(3, 3, num_feat=8, num_group=groups, num_block=blocks, squeeze_factor=4)
                    for groups, blocks in ((4, 3), (2, 2)))
    inherit(student, big)
    for own, theirs in (('body.0.residual_group.0.rcab.0', 'body.1.residual_group.1.rcab.0'),
                        ('body.1.residual_group.1.rcab.2', 'body.3.residual_group.2.rcab.2'),
                        ('body.0.conv', 'body.1.conv')):
        assert torch.equal(student.get_submodule(own).weight, big.get_submodule(theirs).weight)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('feat', 'depth'), [(6, 3), (8, 1), (6, 1)])
def test_reconstruction_comes_nearer_to_the_whole_teacher(kind, feat, depth):
    """Nearer to the deep one, not to what is left of it without the blocks."""
    big, images = teacher(kind, depth=3), torch.rand(4, 3, 24, 24)
    if kind == 'RCAN':
        feat = 8 if feat == 8 else 4  # its attention divides the features
    students = [KINDS[kind](feat, depth) for _ in range(2)]
    for student, reconstruct in zip(students, (False, True), strict=True):
        inherit(student, big, importance='taylor', calibration=images, reconstruct=reconstruct)
    plain, refitted = (error(student, big, images) for student in students)
    assert refitted < 0.7 * plain


def test_teacher_random_state_and_modes_are_not_changed():
    big, student = teacher(depth=3).requires_grad_(False), SlimRRDBNet(num_feat=4, num_block=2, num_grow_ch=2)
    before, images = copy.deepcopy(big.state_dict()), torch.rand(1, 3, 16, 16)
    state = torch.get_rng_state()
    with torch.no_grad():
        inherit(student, big, importance='taylor', calibration=images, reconstruct=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in big.state_dict().items())
    assert big.training and student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert not any(parameter.requires_grad for parameter in big.parameters())


@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize(('student', 'kind', 'words'), [
    (lambda: SRVGGNetCompact(num_feat=4, num_conv=2), 'RRDBNet',
     'the student is SRVGGNetCompact, the teacher RRDBNet; use student.init: random'),
    (lambda: SlimRRDBNet(num_feat=4, num_block=3, num_grow_ch=2), 'RRDBNet',
     'the student has 3 blocks in body, the teacher only 2'),
    (lambda: SlimRRDBNet(num_feat=4, num_block=2, num_grow_ch=2, scale=2), 'RRDBNet',
     'scale 2 in the student and 4 in the teacher'),
    (lambda: SlimRRDBNet(1, num_feat=4, num_block=2, num_grow_ch=2), 'RRDBNet', 'input channels 1 .* and 3'),
    (lambda: SlimRRDBNet(3, 1, num_feat=4, num_block=2, num_grow_ch=2), 'RRDBNet', 'output channels 1 .* and 3'),
    (lambda: SlimRRDBNet(num_feat=12, num_block=2, num_grow_ch=2), 'RRDBNet',
     'conv_first has 12 channels in the student and 8 in the teacher'),
    (lambda: KINDS['SRVGGNetCompact'](8, 3), 'SRVGGNetCompact', 'the student has 3 blocks in body, the teacher only 2'),
    (lambda: KINDS['SRVGGNetCompact'](9, 2), 'SRVGGNetCompact', 'body.0 has 9 channels .* nowhere wider'),
    (lambda: SRVGGNetCompact(num_feat=8, num_conv=2, act_type='relu'), 'SRVGGNetCompact',
     'body.1.weight is .8,. in the pruned teacher, missing in the student'),
    (lambda: MSRResNet(num_feat=4, num_block=2, upscale=2), 'MSRResNet', 'scale 2 in the student and 4'),
    (lambda: KINDS['EDSR'](9, 2), 'EDSR', 'conv_first has 9 channels'),
    (lambda: KINDS['RCAN'](8, 3), 'RCAN', 'the student has 3 blocks in body.0.residual_group, the teacher only 2'),
])
def test_a_student_that_cannot_inherit_is_told_why(student, kind, words, device):
    with torch.device(device):
        small, big = student(), KINDS[kind](8, 2)
    with pytest.raises(InheritanceError, match=words):
        check_inheritable(small, big)
    if device == 'cpu':
        with pytest.raises(InheritanceError, match=words):
            inherit(small, big)


@pytest.mark.parametrize('kind', KINDS)
def test_shapes_are_enough_to_see_that_a_student_can_inherit(kind):
    with torch.device('meta'):
        check_inheritable(KINDS[kind](4, 1), KINDS[kind](8, 3))


@pytest.mark.parametrize(('student', 'options', 'words'), [
    (KINDS['EDSR'], {'importance': 'taylor'}, 'importance: taylor needs calibration images'),
    (KINDS['EDSR'], {'reconstruct': True}, 'reconstruct: true needs calibration images'),
    (KINDS['EDSR'], {'importance': 'fpgm'}, "found 'fpgm'; expected l2 or taylor"),
    (lambda feat, depth: EDSR(3, 3, num_feat=feat, num_block=depth), {}, 'res_scale'),
])
def test_nothing_changes_where_something_is_missing_or_another_number(student, options, words):
    big, small = teacher('EDSR'), student(4, 2)
    before = copy.deepcopy(small.state_dict())
    with pytest.raises(InheritanceError, match=words):
        inherit(small, big, **options)
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())


def test_a_teacher_with_broken_weights_is_refused():
    big = teacher()
    big.conv_body.weight.data[0, 0] = torch.nan
    with pytest.raises(InheritanceError, match='not finite .*conv_body.weight'):
        inherit(SlimRRDBNet(num_feat=4, num_block=2, num_grow_ch=2), big)


class Frozen(nn.Sequential):
    """A network that runs without gradients only, which torch-pruning follows."""

    def forward(self, x):
        assert not torch.is_grad_enabled(), 'no gradients here'
        return super().forward(x)


class Picky(nn.Sequential):
    def forward(self, x):
        assert x.shape[-1] >= 16, 'too small'
        return super().forward(x)


@pytest.mark.parametrize(('kind', 'words'), [
    (Frozen, 'the channels of Frozen cannot be traced: no gradients here'),
    (Picky, r'Picky cannot be run on an input of shape \(1, 3, 8, 8\): too small'),
])
def test_a_network_that_cannot_be_looked_into_is_named(kind, words):
    small, big = (kind(nn.Conv2d(3, feat, 3, padding=1), nn.Conv2d(feat, 3, 3, padding=1)) for feat in (4, 8))
    with pytest.raises(InheritanceError, match=words):
        check_inheritable(small, big)
