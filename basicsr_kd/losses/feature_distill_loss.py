"""The distillation loss of pruning + knowledge distillation of ESRGAN (J. Broadcast Engineering 29(6), 2024)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CRITERIA = ('l1', 'l2', 'charbonnier')
REDUCTIONS = ('mean', 'norm')
CHARBONNIER_EPS = 1e-6  # added to the squared difference, as TecoGAN has it; BasicSR's own loss takes 1e-12


class FeatureDistillLoss(nn.Module):
    r"""L_distill = Σ_t ‖f_t(C_t(x)) − C'_t(x)‖ over the distilled layers t.

    C_t is the student's feature map, f_t its adapter, C'_t the (pruned) teacher's feature map. The paper does not say
    which norm it takes; here it is a choice.

    Args:
        criterion: 'l1' (absolute difference), 'l2' (squared difference, MSE) or 'charbonnier' (sqrt(d² + 1e-6)).
        reduction: 'mean': over all elements of a layer. 'norm': the literal ‖·‖ of each sample (the sum of absolute
            differences for 'l1' and 'charbonnier', the root of the sum of squares for 'l2'), mean over the samples.
        normalize: Divide both sides of each layer by the root mean square of the teacher's features, so that layers
            of different scale weigh the same.
        loss_weight: λ_distill.

    Raises:
        ValueError: An unknown criterion or reduction.
    """

    def __init__(self, criterion: str = 'l2', reduction: str = 'mean', normalize: bool = False,
                 loss_weight: float = 1.0) -> None:
        super().__init__()
        if criterion not in CRITERIA:
            raise ValueError(f'criterion is {criterion!r}, expected one of {", ".join(CRITERIA)}')
        if reduction not in REDUCTIONS:
            raise ValueError(f'reduction is {reduction!r}, expected one of {", ".join(REDUCTIONS)}')
        self.criterion, self.reduction, self.normalize = criterion, reduction, normalize
        self.loss_weight = loss_weight

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The weighted sum over layers.

        Args:
            student: The adapted student features, one (n, c, h, w) a layer.
            teacher: The teacher's features in the same order and shapes.
        """
        return self.loss_weight * torch.stack([self._layer(s, t) for s, t in zip(student, teacher, strict=True)]).sum()

    def _layer(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = student.float(), teacher.detach().float()  # features are in bf16 under autocast
        if self.normalize:
            scale = teacher.square().mean().sqrt().clamp_min(1e-8)
            student, teacher = student / scale, teacher / scale
        difference = student - teacher
        if self.reduction == 'norm' and self.criterion == 'l2':
            return torch.linalg.vector_norm(difference.flatten(1), dim=1).mean()  # has a gradient at 0, sqrt has not
        if self.criterion == 'l1':
            error = difference.abs()
        elif self.criterion == 'l2':
            error = difference.square()
        else:
            error = (difference.square() + CHARBONNIER_EPS).sqrt()
        return error.mean() if self.reduction == 'mean' else error.flatten(1).sum(1).mean()
