"""SlimRRDBNet and PrunedRRDBNet, against BasicSR's own RRDBNet."""
import os
import random
from pathlib import Path

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from helpers.networks import count, largest_difference, masked, varied_rrdbnet

from basicsr_kd.archs import PrunedRRDBNet, SlimRRDBNet
from basicsr_kd.archs.rrdbnet_numbers import rrdbnet_options
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.errors import CheckpointError

SMALL = {'num_feat': 16, 'num_block': 2, 'num_grow_ch': 8}


def shapes(net):
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize(('num_feat', 'expected'), [(16, 6_538_115), (32, 9_588_355), (48, 12_974_979)])
def test_student_has_the_papers_parameters_and_rrdbnets_keys(num_feat, expected):
    with torch.device('meta'):
        student = SlimRRDBNet(num_feat=num_feat)
        reference = RRDBNet(3, 3, num_feat=num_feat)
    assert count(student) == expected
    assert list(shapes(student).items()) == list(shapes(reference).items())


@pytest.mark.parametrize('arch', [SlimRRDBNet, PrunedRRDBNet])
@pytest.mark.parametrize('scale', [4, 2, 1])
def test_rrdbnets_weights_give_bit_equal_output(arch, scale):
    reference = varied_rrdbnet(scale, **SMALL)
    net = arch(scale=scale, **SMALL)
    assert list(shapes(net).items()) == list(shapes(reference).items())

    net.load_state_dict(reference.state_dict())

    assert largest_difference(net, reference, torch.rand(2, 3, 16, 12)) == 0.0


def test_one_growth_for_all_and_a_list_of_equal_ones_are_the_same_network():
    with torch.device('meta'):
        assert shapes(PrunedRRDBNet(**SMALL)) == shapes(PrunedRRDBNet(**{**SMALL, 'num_grow_ch': [8] * 24}))


def test_growth_of_zero_leaves_the_convolution_out_and_computes_what_a_zeroed_one_does():
    growths = [8, 0, 8, 8] + [0, 0, 0, 0] + [8, 8, 8, 0] + [0, 8, 0, 8] * 3
    net = PrunedRRDBNet(**{**SMALL, 'num_grow_ch': growths})
    assert 'body.0.rdb1.conv2.weight' not in net.state_dict()
    assert net.body[0].rdb1.conv2 is None
    assert count(net.body[0].rdb2) == 16 * 16 * 9 + 16

    # Put these weights into an RRDBNet: the missing convolutions are zero there.
    paths = [f'body.{block}.rdb{dense}.conv{conv}' for block in (0, 1) for dense in (1, 2, 3) for conv in (1, 2, 3, 4)]
    gone = {path: [] for path, growth in zip(paths, growths, strict=True) if growth == 0}
    reference = masked(RRDBNet(3, 3, 4, **SMALL), gone)
    state = reference.state_dict()
    for name, tensor in net.state_dict().items():
        if tensor.dim() == 4 and tensor.shape[1] != state[name].shape[1]:
            dense, conv = name.split('.conv')
            before = [f'{dense}.conv{index}' not in gone for index in range(1, int(conv[0]))]
            inputs = [*range(16), *(16 + 8 * index + channel for index, here in enumerate(before) if here
                                    for channel in range(8))]
            state[name][:, inputs] = tensor
        else:
            state[name] = tensor
    reference.load_state_dict(state)

    assert largest_difference(net, reference, torch.rand(1, 3, 16, 16)) < 1e-5


@pytest.mark.parametrize('arch', [SlimRRDBNet, PrunedRRDBNet])
def test_channels_last_computes_the_same(arch):
    net = arch(**SMALL)
    image = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        expected = net(image)
        output = net.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter_of_a_pruned_network():
    net = PrunedRRDBNet(**{**SMALL, 'num_grow_ch': [4, 0, 8, 1] * 6})
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_options_are_read_off_the_shapes_of_any_network():
    draw = random.Random(0)
    for _ in range(20):
        num_block = draw.randint(1, 12)
        options = {'num_in_ch': draw.choice([1, 3]), 'num_out_ch': 3, 'scale': draw.choice([1, 2, 4]),
                   'num_feat': draw.randint(1, 9), 'num_block': num_block,
                   'num_grow_ch': [draw.choice([0, 1, 5]) for _ in range(12 * num_block)]}
        options['num_out_ch'] = options['num_in_ch']
        if draw.random() < 0.5:
            options['num_tail_ch'] = [10, *draw.choices([2, 10, 12], k=2)]
        with torch.device('meta'):
            net = PrunedRRDBNet(**options)
        assert rrdbnet_options(net.state_dict()) == {'type': 'PrunedRRDBNet', **options}


def test_a_tail_as_wide_as_the_body_is_the_plain_one():
    torch.manual_seed(0)
    plain = PrunedRRDBNet(**SMALL)
    torch.manual_seed(0)
    named = PrunedRRDBNet(**SMALL, num_tail_ch=16)
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), named.parameters(), strict=True))
    narrow = PrunedRRDBNet(**SMALL, num_tail_ch=[4, 8, 2])
    assert narrow(torch.rand(1, 3, 8, 8)).shape == (1, 3, 32, 32) and narrow.conv_last.in_channels == 2


@pytest.mark.parametrize('widths', [0, [4, 4], [4, 4, 0], [4, 4, 'x'], True, 'abc'])
def test_impossible_widths_of_the_tail(widths):
    with pytest.raises(ValueError, match='num_tail_ch is .*three whole numbers of at least 1'):
        PrunedRRDBNet(**SMALL, num_tail_ch=widths)


def test_equal_growths_are_read_as_basicsrs_own_type():
    with torch.device('meta'):
        found = rrdbnet_options(PrunedRRDBNet(scale=2, **SMALL).state_dict())
        nothing_grows = rrdbnet_options(PrunedRRDBNet(**{**SMALL, 'num_grow_ch': 0}).state_dict())
    assert found == {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 2, **SMALL}
    assert (nothing_grows['type'], nothing_grows['num_grow_ch']) == ('PrunedRRDBNet', [0] * 24)


def test_other_networks_have_no_rrdbnet_options():
    state = RRDBNet(3, 3, 4, **SMALL).state_dict()
    assert rrdbnet_options(MSRResNet().state_dict()) is None
    assert rrdbnet_options({}) is None
    assert rrdbnet_options({**state, 'attention.weight': torch.zeros(1)}) is None
    assert rrdbnet_options({**state, 'body.0.rdb1.conv5.weight': torch.zeros(16, 3, 3, 3)}) is None
    assert rrdbnet_options({name: tensor for name, tensor in state.items() if name != 'conv_hr.bias'}) is None
    assert rrdbnet_options({name: tensor for name, tensor in state.items() if not name.startswith('body.0.')}) is None


@pytest.mark.skipif(not os.environ.get('BASICSR_KD_DATA'), reason='BASICSR_KD_DATA, the folder with data, is not set')
def test_real_srvggnet_checkpoint_is_not_taken_for_an_rrdbnet():
    path = Path(os.environ['BASICSR_KD_DATA'], 'weights', 'realesr-general-x4v3.pth')
    assert rrdbnet_options(read_state_dict(path)) is None
    with pytest.raises(CheckpointError, match=r'realesr-general-x4v3\.pth \(like:\) is not an RRDBNet'):
        PrunedRRDBNet(like=path)


@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize('scale', [4, 2, 1])
def test_like_takes_every_width_from_the_file(tmp_path, device, scale):
    net = PrunedRRDBNet(scale=scale, num_feat=8, num_block=1, num_grow_ch=[0, 1, 2, 3] * 3)
    write_checkpoint(tmp_path / 'pruned.pth', net.state_dict())

    with torch.device(device):
        like = PrunedRRDBNet(like=tmp_path / 'pruned.pth', num_feat=64)

    assert shapes(like) == shapes(net)
    assert like.scale == scale
    assert {parameter.device.type for parameter in like.parameters()} == {device}


@pytest.mark.parametrize(('arch', 'options', 'message'), [
    (SlimRRDBNet, {'scale': 3}, 'SlimRRDBNet: scale is 3. Expected 4, 2 or 1'),
    (SlimRRDBNet, {'num_feat': 0}, 'SlimRRDBNet: num_feat is 0. Expected a whole number of at least 1'),
    (SlimRRDBNet, {'num_grow_ch': 0}, 'SlimRRDBNet: num_grow_ch is 0'),
    (PrunedRRDBNet, {'num_feat': '64'}, "PrunedRRDBNet: num_feat is '64'"),
    (PrunedRRDBNet, {'num_block': 2, 'num_grow_ch': [8] * 12},
     r'num_grow_ch lists 12 widths. Expected 24: four for each of the 3 dense blocks of 2 blocks'),
    (PrunedRRDBNet, {'num_block': 1, 'num_grow_ch': [8] * 11 + [-1]}, r'num_grow_ch\[11\] is -1'),
    (PrunedRRDBNet, {'num_block': 1, 'num_grow_ch': [8] * 11 + [1.5]}, r'num_grow_ch\[11\] is 1.5'),
    (PrunedRRDBNet, {'num_grow_ch': -8}, r'num_grow_ch\[0\] is -8. Expected a whole number of at least 0'),
])
def test_impossible_options_are_refused_by_name(arch, options, message):
    with pytest.raises(ValueError, match=message):
        arch(**options)


def test_student_checkpoint_opens_in_spandrel_with_no_difference(tmp_path):
    spandrel = pytest.importorskip('spandrel')
    student = SlimRRDBNet(num_feat=16).eval()
    write_checkpoint(tmp_path / 'student.pth', student.state_dict(), student.state_dict())

    opened = spandrel.ModelLoader(device='cpu').load_from_file(tmp_path / 'student.pth')

    assert opened.scale == 4
    assert largest_difference(student, opened.model, torch.rand(1, 3, 16, 16)) == 0.0
