"""FeatureDistillLoss against a plain re-computation."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr_kd.losses import FeatureDistillLoss

SHAPES = [(2, 3, 5, 4), (2, 6, 5, 4)]


def features() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return [torch.randn(shape, requires_grad=True) for shape in SHAPES], [3 * torch.randn(shape) for shape in SHAPES]


def recomputed(student, teacher, criterion, reduction, normalize) -> float:
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        s, t = s.detach().double().numpy(), t.double().numpy()
        if normalize:
            scale = np.sqrt((t**2).mean())
            s, t = s / scale, t / scale
        error = {'l1': np.abs(s - t), 'l2': (s - t)**2, 'charbonnier': np.sqrt((s - t)**2 + 1e-6)}[criterion]
        if reduction == 'mean':
            total += error.mean()
        else:
            sums = error.reshape(len(s), -1).sum(1)
            total += (np.sqrt(sums) if criterion == 'l2' else sums).mean()
    return total


@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize('reduction', ['mean', 'norm'])
@pytest.mark.parametrize('criterion', ['l1', 'l2', 'charbonnier'])
def test_equals_the_formula(criterion, reduction, normalize):
    student, teacher = features()
    loss = FeatureDistillLoss(criterion, reduction, normalize, loss_weight=0.5)(student, teacher)
    assert loss.item() == pytest.approx(0.5 * recomputed(student, teacher, criterion, reduction, normalize), rel=1e-5)


def test_gradient_goes_to_the_student_only():
    student, teacher = features()
    teacher = [feature.requires_grad_() for feature in teacher]
    FeatureDistillLoss()(student, teacher).backward()
    assert all(feature.grad is not None and feature.grad.abs().sum() > 0 for feature in student)
    assert all(feature.grad is None for feature in teacher)


@pytest.mark.parametrize('criterion', ['l1', 'l2', 'charbonnier'])
@pytest.mark.parametrize('reduction', ['mean', 'norm'])
def test_equal_features_have_a_finite_gradient(criterion, reduction):
    student = torch.ones(1, 2, 3, 3, requires_grad=True)
    FeatureDistillLoss(criterion, reduction)([student], [torch.ones(1, 2, 3, 3)]).backward()
    assert torch.isfinite(student.grad).all()


def test_half_precision_features_are_compared_in_fp32():
    student = [torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)]  # 300² does not fit into fp16
    loss = FeatureDistillLoss()(student, [torch.zeros(1, 1, 2, 2, dtype=torch.float16)])
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(90000)


def test_lists_of_different_length_are_refused():
    student, teacher = features()
    with pytest.raises(ValueError):
        FeatureDistillLoss()(student, teacher[:1])


@pytest.mark.parametrize('arguments', [{'criterion': 'mse'}, {'reduction': 'sum'}])
def test_an_unknown_choice_is_named(arguments):
    with pytest.raises(ValueError, match=f'{next(iter(arguments.values()))}.*expected one of'):
        FeatureDistillLoss(**arguments)
