"""The base of the distillation losses: one term for each layer, in fp32, with a gradient for the student only."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHARBONNIER_EPS = 1e-6  # added to the squared difference, as in TecoGAN; BasicSR's own loss takes 1e-12

_ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'l1': lambda student, teacher: (student - teacher).abs(),
    'l2': lambda student, teacher: F.mse_loss(student, teacher, reduction='none'),  # half the time of square()
    'charbonnier': lambda student, teacher: ((student - teacher).square() + CHARBONNIER_EPS).sqrt(),
}


class DistillLoss(nn.Module):
    """The weighted sum of a loss over pairs of feature maps; a subclass defines `layer_loss`, the loss of one pair.

    Attributes:
        adapts: Whether a learnable 1x1 convolution brings the student's features to the teacher's channels.
        of_outputs: Whether it compares the networks' outputs, so that it takes no layers.
        one_layer: Whether a layer is so expensive that only the last one is compared if none is named.

    Args:
        loss_weight: The factor on the sum.
    """

    adapts = False
    of_outputs = False
    one_layer = False

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The weighted sum over layers, a scalar in fp32.

        Args:
            student: The student's features, one (n, c, h, w) for each layer; in bf16 under autocast.
            teacher: The teacher's features in the same order, of the same n, h and w.

        Raises:
            ValueError: The lists differ in length.
        """
        losses = [self.layer_loss(s.float(), t.detach().float()) for s, t in zip(student, teacher, strict=True)]
        return self.loss_weight * torch.stack(losses).sum()

    def layer_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one layer, a scalar; both sides are in fp32, the teacher's is detached."""
        raise NotImplementedError


def check_criterion(criterion: str) -> str:
    """Check a criterion's name, and return it.

    Raises:
        ValueError: An unknown criterion.
    """
    if criterion not in _ERRORS:
        raise ValueError(f'criterion is {criterion!r}, expected one of {", ".join(_ERRORS)}')
    return criterion


def error(criterion: str, student: Tensor, teacher: Tensor) -> Tensor:
    """The error of each element of two tensors, in their common shape.

    Args:
        criterion: 'l1' (absolute difference), 'l2' (squared difference) or 'charbonnier' (sqrt(d² + 1e-6)).
        student: Any shape.
        teacher: The same shape.
    """
    return _ERRORS[criterion](student, teacher)
