"""Distillation of the response: the student's output against the teacher's."""
from __future__ import annotations

from torch import Tensor

from basicsr_kd.losses.distill_loss import DistillLoss, check_criterion, error
from basicsr_kd.utils.fine_detail import stronger


class ResponseDistillLoss(DistillLoss):
    """The mean error of the student's image (n, 3, h, w) against the teacher's, both RGB around [0, 1].

    The oldest form of knowledge distillation (Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network",
    2015), for an image instead of class probabilities: the "teacher supervision" of FAKD (ICIP 2020), an L1 loss.

    Args:
        detail: The factor by which the teacher's fine detail is made stronger in the target: an error alone makes a
            student softer than its teacher, see `basicsr_kd.utils.fine_detail.stronger`.
        criterion: 'l1' (absolute difference), 'l2' (squared difference, MSE) or 'charbonnier' (sqrt(d² + 1e-6)).
        loss_weight: The factor on the loss.

    Raises:
        ValueError: An unknown criterion, or a negative `detail`.
    """

    of_outputs = True

    def __init__(self, criterion: str = 'l1', loss_weight: float = 1.0, detail: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.criterion = check_criterion(criterion)
        if detail < 0:
            raise ValueError(f'detail is {detail}, expected at least 0; 1 leaves the teacher as it is')
        self.detail = detail

    def layer_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair of images."""
        return error(self.criterion, student, stronger(teacher, self.detail)).mean()
