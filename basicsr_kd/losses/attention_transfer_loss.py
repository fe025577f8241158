"""Attention transfer: where in the image the features are strong."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from basicsr_kd.losses.distill_loss import DistillLoss


class AttentionTransferLoss(DistillLoss):
    """Activation-based attention transfer (Zagoruyko, Komodakis: "Paying More Attention to Attention", ICLR 2017).

    The attention map of a layer is the sum of squares over channels, as a vector of h·w entries of length 1. Student
    and teacher may have any channels: nothing is adapted.

    The form is that of the authors' code, the mean of squared differences over samples and positions. (The formula in
    the paper takes the length of the difference, without the square.) As the vectors have length 1, a layer gives at
    most 2 / (h·w), at 32x32 positions 0.002; so `loss_weight` is large, 1000 in the authors' experiments.

    Args:
        loss_weight: The factor on the sum over layers.
    """

    def layer_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one layer: (n, c_student, h, w) against (n, c_teacher, h, w)."""
        return (_attention(student) - _attention(teacher)).square().mean()


def _attention(features: Tensor) -> Tensor:
    """(n, c, h, w) to (n, h·w); features that are all zero give zeros."""
    return F.normalize(features.square().sum(1).flatten(1), dim=1)
