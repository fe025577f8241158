"""Distillation of fine detail: as much of it in the student's output as in the teacher's."""
from __future__ import annotations

from torch import Tensor

from basicsr_kd.losses.distill_loss import DistillLoss
from basicsr_kd.utils.fine_detail import detail_gap


class DetailDistillLoss(DistillLoss):
    """How far the fine detail of the student's image (n, 3, h, w) differs in strength from that of the teacher's.

    Stands beside ResponseDistillLoss, which alone makes a student softer than its teacher: each place of 32 x 32 pixels
    is to have as much detail, in parts of what the teacher has there. It does not ask for the right detail.

    Args:
        loss_weight: The factor on the loss.
    """

    of_outputs = True

    def layer_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair of images."""
        return detail_gap(student, teacher)
