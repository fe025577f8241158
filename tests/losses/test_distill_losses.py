"""Response, attention, affinity and discriminator losses against plain re-computations."""
from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.archs.discriminator_arch import UNetDiscriminatorSN, VGGStyleDiscriminator
from basicsr.losses import build_loss
from torch import nn

from basicsr_kd.errors import LayerError
from basicsr_kd.losses import (
    AttentionTransferLoss,
    DiscriminatorFeatureLoss,
    FeatureAffinityLoss,
    FeatureDistillLoss,
    ResponseDistillLoss,
)
from basicsr_kd.losses.discriminator_feature_loss import _orthonormal

CRITERIA = {'l1': np.abs, 'l2': np.square, 'charbonnier': lambda d: np.sqrt(d * d + 1e-6)}


def vgg() -> VGGStyleDiscriminator:
    """A discriminator whose BatchNorm has seen something."""
    net = VGGStyleDiscriminator(3, 4, 128)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.01, 0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


def attached(net: nn.Module, layers=None, size=(128, 128), **arguments) -> DiscriminatorFeatureLoss:
    loss = DiscriminatorFeatureLoss(*([layers] if layers else []), **arguments)
    loss.attach(net, size)
    return loss


LOSSES = {
    'response': ResponseDistillLoss, 'attention': AttentionTransferLoss, 'affinity': FeatureAffinityLoss,
    'vgg': lambda: attached(vgg()), 'unet': lambda: attached(UNetDiscriminatorSN(3, 4), size=(24, 16))
}
every_loss = pytest.mark.parametrize('make', LOSSES.values(), ids=LOSSES)


def maps(*channels: int, size=(6, 5), scale: float = 1.0) -> list[torch.Tensor]:
    return [scale * torch.randn(2, c, *size) for c in channels]


# each against loops in double precision

def numpy_lists(*lists):
    return [[feature.detach().double().numpy() for feature in features] for features in lists]


@pytest.mark.parametrize('criterion', CRITERIA)
def test_response_is_the_mean_error_of_the_images(criterion):
    student, teacher = maps(3, scale=2e-3), maps(3, scale=2e-3)  # small enough for charbonnier's 1e-6 to count
    loss = ResponseDistillLoss(criterion, loss_weight=0.5)(student, teacher)
    (s,), (t,) = numpy_lists(student, teacher)
    total = sum(float(CRITERIA[criterion](s[index] - t[index])) for index in np.ndindex(s.shape))
    assert loss.item() == pytest.approx(0.5 * total / s.size, rel=1e-5)


def test_response_with_stronger_detail_asks_for_an_image_that_is_sharper():
    (teacher,) = maps(3, size=(24, 20))
    taps = np.array([1, 4, 6, 4, 1]) / 16
    padded = np.pad(teacher.double().numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), 'reflect')
    coarse = sum(taps[i] * taps[j] * padded[..., i:i + 24, j:j + 20] for i in range(5) for j in range(5))
    sharper = torch.from_numpy(coarse + 1.5 * (teacher.double().numpy() - coarse)).float()
    loss = ResponseDistillLoss('l2', detail=1.5)
    assert loss([sharper], [teacher]).item() == pytest.approx(0, abs=1e-10) and loss([teacher], [teacher]).item() > 0.01
    with pytest.raises(ValueError, match='detail is -1, expected at least 0'):
        ResponseDistillLoss(detail=-1)


def attention(features: np.ndarray) -> np.ndarray:
    n, c, h, w = features.shape
    found = np.zeros((n, h, w))
    for i in range(n):
        for k in range(c):
            found[i] += features[i, k] ** 2
        found[i] /= np.sqrt((found[i] ** 2).sum())
    return found


def test_attention_is_where_the_squares_are_large():
    student, teacher = maps(4, 2), maps(7, 2)
    loss = AttentionTransferLoss(loss_weight=1000)(student, teacher)
    expected = sum(((attention(s) - attention(t)) ** 2).mean()
                   for s, t in zip(*numpy_lists(student, teacher), strict=True))
    assert loss.item() == pytest.approx(1000 * expected, rel=1e-5)


def affinity(features: np.ndarray) -> np.ndarray:
    n, c, h, w = features.shape
    found = np.zeros((n, h * w, h * w))
    for i in range(n):
        vectors = [features[i, :, y, x] for y in range(h) for x in range(w)]
        for a, one in enumerate(vectors):
            for b, other in enumerate(vectors):
                found[i, a, b] = one @ other / np.sqrt((one @ one) * (other @ other))
    return found


def test_affinity_is_the_cosine_of_every_pair_of_positions():
    student, teacher = maps(4, 2), maps(7, 2)
    loss = FeatureAffinityLoss(loss_weight=10)(student, teacher)
    expected = sum(np.abs(affinity(s) - affinity(t)).mean()
                   for s, t in zip(*numpy_lists(student, teacher), strict=True))
    assert loss.item() == pytest.approx(10 * expected, rel=1e-5)


def images(student: np.ndarray, teacher: np.ndarray, size: tuple[int, int]) -> list[torch.Tensor]:
    """Both sides as the discriminator gets them; cv2.resize for the interpolation."""
    to_image = _orthonormal(3, teacher.shape[1], torch.device('cpu')).double().numpy()
    found = []
    for features in (student, teacher):
        n, _, h, w = features.shape
        image = np.zeros((n, 3, *size))
        for channel in range(3):
            expected = np.tensordot(to_image[channel], teacher, (0, 1))  # (n, h, w)
            small = np.tensordot(to_image[channel], features, (0, 1))
            small = (small - expected.mean()) / expected.std() * 0.25 + 0.5
            for i in range(n):
                image[i, channel] = cv2.resize(small[i], size[::-1], interpolation=cv2.INTER_LINEAR)
        found.append(torch.from_numpy(image).float())
    return found


@torch.no_grad()
def seen_by_vgg(net: VGGStyleDiscriminator, image: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of bn0_1, bn1_1 and bn2_1 with the statistics of BatchNorm as they are."""

    def norm(x, bn):
        return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, training=False, eps=bn.eps)

    x = F.conv2d(image, net.conv0_0.weight, net.conv0_0.bias, padding=1)
    found = [norm(F.conv2d(F.leaky_relu(x, 0.2), net.conv0_1.weight, stride=2, padding=1), net.bn0_1)]
    for stage in ('1', '2'):
        conv, bn = getattr(net, f'conv{stage}_0'), getattr(net, f'bn{stage}_0')
        x = norm(F.conv2d(F.leaky_relu(found[-1], 0.2), conv.weight, padding=1), bn)
        conv, bn = getattr(net, f'conv{stage}_1'), getattr(net, f'bn{stage}_1')
        found.append(norm(F.conv2d(F.leaky_relu(x, 0.2), conv.weight, stride=2, padding=1), bn))
    return found


@torch.no_grad()
def seen_by_unet(net: UNetDiscriminatorSN, image: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of conv1, conv2 and conv3 with the spectral norms as they are."""
    found = [F.conv2d(image, net.conv0.weight, net.conv0.bias, padding=1)]
    for conv in (net.conv1, net.conv2, net.conv3):
        norm = conv.weight_u @ conv.weight_orig.flatten(1) @ conv.weight_v
        found.append(F.conv2d(F.leaky_relu(found[-1], 0.2), conv.weight_orig / norm, stride=2, padding=1))
    return found[1:]


@pytest.mark.parametrize('criterion', CRITERIA)
@pytest.mark.parametrize('make, seen, size', [
    (vgg, seen_by_vgg, (128, 128)), (lambda: UNetDiscriminatorSN(3, 4), seen_by_unet, (24, 16))
], ids=['vgg', 'unet'])
def test_discriminator_features_of_the_mapped_features(make, seen, size, criterion):
    net = make()
    student, teacher = maps(8, 5, scale=3.0), maps(8, 5, scale=0.2)
    loss = attached(copy.deepcopy(net), size=size, criterion=criterion, loss_weight=0.1)(student, teacher)
    expected = 0.0
    for s, t in zip(*numpy_lists(student, teacher), strict=True):
        for found, wanted in zip(*(seen(net, image) for image in images(s, t, size)), strict=True):
            expected += CRITERIA[criterion]((found - wanted).double().numpy()).mean()
    assert loss.item() == pytest.approx(0.1 * expected, rel=1e-4)


# what holds for all

@every_loss
def test_the_gradient_goes_to_the_student_only(make):
    student, teacher = maps(3, 3), maps(3, 3)
    for feature in student + teacher:
        feature.requires_grad_()
    make()(student, teacher).backward()
    assert all(feature.grad is not None and feature.grad.abs().sum() > 0 for feature in student)
    assert all(feature.grad is None for feature in teacher)


@every_loss
def test_equal_features_cost_nothing_and_others_something(make):
    teacher = maps(3, 3)
    loss = make()
    assert loss([feature.clone() for feature in teacher], teacher).item() == 0
    assert loss(maps(3, 3), teacher).item() > 0


@every_loss
def test_layers_are_added_and_weighted(make):
    loss = make()
    student, teacher = maps(3, 3), maps(3, 3)
    both = loss(student, teacher)
    assert both.shape == ()
    alone = [loss([s], [t]) for s, t in zip(student, teacher, strict=True)]
    assert both.item() == pytest.approx(sum(alone).item(), rel=1e-5)
    loss.loss_weight = 0.25
    assert loss(student, teacher).item() == pytest.approx(both.item() / 4, rel=1e-5)


@pytest.mark.parametrize('make', [LOSSES[name] for name in ('response', 'attention', 'affinity')],
                         ids=['response', 'attention', 'affinity'])
def test_bf16_features_are_compared_in_fp32(make):
    student, teacher = ([feature.bfloat16() for feature in maps(3, 3)] for _ in range(2))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = make()(student, teacher)
    assert loss.dtype == torch.float32
    exact = make()([feature.double() for feature in student], [feature.double() for feature in teacher])
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)


def test_the_discriminator_runs_in_bf16_and_the_map_to_images_in_fp32():
    net = vgg()
    student, teacher = ([feature.bfloat16() for feature in maps(8)] for _ in range(2))
    loss = attached(net)
    inputs, dtypes = [], []
    net.conv0_0.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    net.conv0_1.register_forward_pre_hook(lambda module, args: dtypes.append(args[0].dtype))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student, teacher)
    assert dtypes == [torch.bfloat16] * 2 and value.dtype == torch.float32
    assert inputs[0].dtype == torch.float32
    expected = images(student[0].double().numpy(), teacher[0].double().numpy(), (128, 128))
    for found, wanted in zip(inputs, expected[::-1], strict=True):  # the teacher's image goes first
        assert torch.allclose(found, wanted, atol=1e-5)
    assert value.item() == pytest.approx(loss(student, teacher).item(), rel=0.02)


@every_loss
def test_features_of_zeros_have_a_finite_gradient(make):
    everywhere, here = torch.zeros(2, 3, 6, 5), torch.randn(2, 3, 6, 5)
    here[..., 2] = 0
    for student, teacher in ((everywhere, here), (here, here + 1), (everywhere, everywhere)):
        student = student.clone().requires_grad_()
        make()([student], [teacher]).backward()
        assert student.grad.isfinite().all() and student.grad.abs().max() < 1e4


@every_loss
def test_lists_of_different_length_are_refused(make):
    with pytest.raises(ValueError):
        make()(maps(3, 3), maps(3))


@pytest.mark.parametrize('loss', [FeatureDistillLoss, ResponseDistillLoss, DiscriminatorFeatureLoss])
def test_an_unknown_criterion_is_named(loss):
    with pytest.raises(ValueError, match="'mse'.*expected one of l1, l2, charbonnier"):
        loss(criterion='mse')


@pytest.mark.parametrize('loss, adapts', [
    (FeatureDistillLoss, True), (ResponseDistillLoss, False), (AttentionTransferLoss, False),
    (FeatureAffinityLoss, False), (DiscriminatorFeatureLoss, True)
])
def test_basicsr_builds_them_by_name(loss, adapts):
    built = build_loss({'type': loss.__name__, 'loss_weight': 0.5})
    assert type(built) is loss and built.loss_weight == 0.5 and built.adapts is adapts


# the discriminator

def test_the_discriminator_is_frozen_and_no_part_of_the_loss():
    net = vgg()
    before = copy.deepcopy(net.state_dict())
    loss = attached(net).train()
    student = maps(8)[0].requires_grad_()
    loss([student], maps(8)).backward()
    assert not net.training and all(not p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not loss.state_dict() and not list(loss.parameters()) and list(loss.modules()) == [loss]


def test_the_map_to_images_is_always_the_same_and_has_orthonormal_rows():
    state = torch.get_rng_state()
    first = _orthonormal.__wrapped__(3, 64, torch.device('cpu'))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(_orthonormal.__wrapped__(3, 64, torch.device('cpu')), first)
    assert torch.allclose(first @ first.T, torch.eye(3), atol=1e-6)
    narrow = _orthonormal(3, 2, torch.device('cpu'))  # fewer channels than an image: columns
    assert torch.allclose(narrow.T @ narrow, torch.eye(2), atol=1e-6)


def test_scale_and_offset_of_the_teacher_do_not_matter():
    student, teacher = maps(8), maps(8)
    loss = attached(vgg())
    moved = loss([7 * student[0] + 3], [7 * teacher[0] + 3])
    assert moved.item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_a_glob_means_all_that_match():
    net, student, teacher = vgg(), maps(8), maps(8)
    by_glob = attached(net, ['bn?_1', 'conv0_0'])(student, teacher)
    by_name = attached(net, ['conv0_0', *(f'bn{k}_1' for k in range(5))])(student, teacher)
    assert by_glob.item() == pytest.approx(by_name.item(), rel=1e-6)


def test_a_channels_last_discriminator_gives_the_same():
    net, student, teacher = vgg(), maps(8), maps(8)
    expected = attached(copy.deepcopy(net))(student, teacher)
    net.to(memory_format=torch.channels_last)
    net.bn4_1.register_forward_hook(lambda module, args, output: output.contiguous())  # the head flattens with view()
    last = [[feature.contiguous(memory_format=torch.channels_last) for feature in side] for side in (student, teacher)]
    assert attached(net)(*last).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_layer_that_the_discriminator_lacks_is_named():
    with pytest.raises(LayerError, match=r"'bn0_2' matches no module of the discriminator \(VGGStyle.*bn0_1"):
        attached(vgg(), ['bn0_2'])
    with pytest.raises(LayerError, match='only for VGGStyle.* and UNet.*; the discriminator is Sequential: name its'):
        attached(nn.Sequential(nn.Conv2d(3, 4, 3)))


def test_layers_can_be_checked_on_the_meta_device():
    with torch.device('meta'):
        net = VGGStyleDiscriminator(3, 4, 128)
    attached(net)
    with pytest.raises(LayerError, match='bn9'):
        attached(net, ['bn9'])


def test_a_discriminator_without_convolution_is_refused():
    with pytest.raises(LayerError, match='Sequential.*no Conv2d'):
        attached(nn.Sequential(nn.Linear(3, 1)), ['0'])


def test_without_a_discriminator_it_says_so():
    with pytest.raises(RuntimeError, match=r'attach\(\)'):
        DiscriminatorFeatureLoss()(maps(8), maps(8))
