"""What the distillation losses measure a difference by."""
from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

CHARBONNIER_EPS = 1e-6  # added to the squared difference, as TecoGAN has it; BasicSR's own loss takes 1e-12

_ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'l1': lambda student, teacher: (student - teacher).abs(),
    'l2': lambda student, teacher: F.mse_loss(student, teacher, reduction='none'),  # half the time of square()
    'charbonnier': lambda student, teacher: ((student - teacher).square() + CHARBONNIER_EPS).sqrt(),
}


def check_criterion(criterion: str) -> str:
    """The name itself.

    Raises:
        ValueError: An unknown criterion.
    """
    if criterion not in _ERRORS:
        raise ValueError(f'criterion is {criterion!r}, expected one of {", ".join(_ERRORS)}')
    return criterion


def error(criterion: str, student: Tensor, teacher: Tensor) -> Tensor:
    """The error of each element, in the shape of the two tensors, which is the same.

    Args:
        criterion: 'l1' (absolute difference), 'l2' (squared difference) or 'charbonnier' (sqrt(d² + 1e-6)).
        student: Any shape.
        teacher: The same shape.
    """
    return _ERRORS[criterion](student, teacher)
