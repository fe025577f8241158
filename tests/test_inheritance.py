"""Students that start with the teacher's channels."""
from __future__ import annotations

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from basicsr_kd.archs import PrunedRRDBNet, SlimRRDBNet
from basicsr_kd.distillation.inheritance import InheritanceError, inherit_rrdbnet

IMAGE = torch.rand(1, 3, 8, 8)


def teacher(blocks: int = 2) -> RRDBNet:
    net = RRDBNet(3, 3, num_feat=8, num_block=blocks, num_grow_ch=4)
    for parameter in net.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return net


def test_a_student_of_the_same_size_is_the_teacher():
    big, student = teacher(), SlimRRDBNet(num_feat=8, num_block=2, num_grow_ch=4)
    inherit_rrdbnet(student, big)
    assert all(torch.equal(tensor, big.state_dict()[name]) for name, tensor in student.state_dict().items())


def test_dead_channels_are_left_behind_and_the_output_stays():
    """A teacher in which half of each group of channels is dead gives a half-size student with the same output."""
    big = teacher()
    for name, parameter in big.named_parameters():
        if not name.startswith('conv_last'):
            parameter.data[1::2] = 0
    student = SlimRRDBNet(num_feat=4, num_block=2, num_grow_ch=2)
    inherit_rrdbnet(student, big)
    torch.testing.assert_close(student(IMAGE), big(IMAGE), rtol=1e-5, atol=1e-6)


def test_channels_the_teacher_lacks_start_without_effect_and_can_learn():
    growths = [4, 4, 0, 2] * 6
    narrow = PrunedRRDBNet(num_feat=8, num_block=2, num_grow_ch=growths)
    for parameter in narrow.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    student = SlimRRDBNet(num_feat=8, num_block=2, num_grow_ch=4)
    inherit_rrdbnet(student, narrow)
    torch.testing.assert_close(student(IMAGE), narrow(IMAGE), rtol=1e-5, atol=1e-6)
    student(IMAGE).sum().backward()
    conv5 = student.body[0].rdb1.conv5.weight
    assert conv5.grad[:, 16:20].abs().sum() > 0  # what reads conv3's channels, which the teacher does not have


def test_blocks_of_a_deeper_teacher_are_taken_at_even_distances():
    big, student = teacher(blocks=5), SlimRRDBNet(num_feat=8, num_block=3, num_grow_ch=4)
    inherit_rrdbnet(student, big)
    for own, theirs in zip(range(3), (0, 2, 4), strict=True):
        assert torch.equal(student.body[own].rdb2.conv4.weight, big.body[theirs].rdb2.conv4.weight)


def test_the_teacher_is_not_changed():
    big = teacher()
    before = {name: tensor.clone() for name, tensor in big.state_dict().items()}
    inherit_rrdbnet(SlimRRDBNet(num_feat=4, num_block=2, num_grow_ch=2), big)
    assert all(torch.equal(tensor, before[name]) for name, tensor in big.state_dict().items())


@pytest.mark.parametrize(('student', 'words'), [
    (lambda: SRVGGNetCompact(num_feat=4, num_conv=2), 'the student is none'),
    (lambda: SlimRRDBNet(num_feat=4, num_block=3, num_grow_ch=2), 'student has 3 blocks, the teacher only 2'),
    (lambda: SlimRRDBNet(num_feat=4, num_block=2, num_grow_ch=2, scale=2), 'scale is 2 in the student and 4'),
])
def test_a_student_that_cannot_inherit_is_told_why(student, words):
    with pytest.raises(InheritanceError, match=words):
        inherit_rrdbnet(student(), teacher())
