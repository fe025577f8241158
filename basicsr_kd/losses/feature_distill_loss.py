"""The distillation loss of pruning + knowledge distillation of ESRGAN (J. Broadcast Engineering 29(6), 2024)."""
from __future__ import annotations

import torch
from torch import Tensor

from basicsr_kd.losses.distill_loss import DistillLoss, check_criterion, error

REDUCTIONS = ('mean', 'norm')


class FeatureDistillLoss(DistillLoss):
    r"""L_distill = Σ_t ‖f_t(C_t(x)) − C'_t(x)‖ over the distilled layers t.

    C_t is the student's feature map, f_t its adapter, C'_t the (pruned) teacher's feature map. The paper does not say
    which norm it takes; here it is a choice.

    Args:
        criterion: 'l1' (absolute difference), 'l2' (squared difference, MSE) or 'charbonnier' (sqrt(d² + 1e-6)).
        reduction: 'mean': over all elements of a layer. 'norm': the literal ‖·‖ of each sample (the sum of absolute
            differences for 'l1' and 'charbonnier', the root of the sum of squares for 'l2'), mean over the samples.
        normalize: Whether to divide both sides of each layer by the root mean square of the teacher's features, so that
            layers of different scale have the same weight.
        loss_weight: λ_distill.

    Raises:
        ValueError: An unknown criterion or reduction.
    """

    adapts = True

    def __init__(self, criterion: str = 'l2', reduction: str = 'mean', normalize: bool = False,
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.criterion = check_criterion(criterion)
        if reduction not in REDUCTIONS:
            raise ValueError(f'reduction is {reduction!r}, expected one of {", ".join(REDUCTIONS)}')
        self.reduction, self.normalize = reduction, normalize

    def layer_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one layer; both sides are (n, c, h, w)."""
        if self.normalize:
            scale = teacher.square().mean().sqrt().clamp_min(1e-8)
            student, teacher = student / scale, teacher / scale
        if self.reduction == 'norm' and self.criterion == 'l2':
            difference = student - teacher
            return torch.linalg.vector_norm(difference.flatten(1), dim=1).mean()  # has a gradient at 0, sqrt has not
        errors = error(self.criterion, student, teacher)
        return errors.mean() if self.reduction == 'mean' else errors.flatten(1).sum(1).mean()
