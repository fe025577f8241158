"""Feature affinity: which positions of the image have similar features."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr_kd.losses.distill_loss import DistillLoss


class FeatureAffinityLoss(DistillLoss):
    """FAKD's spatial affinity.

    He, Dai, Lu, Jiang, Xia: "FAKD: Feature-Affinity Based Knowledge Distillation for Efficient Image Super-Resolution",
    ICIP 2020.

    Each position's channels are a vector of length 1; the affinity of two positions is the product of their vectors,
    in [-1, 1]. The loss is the mean absolute difference of the two matrices over all pairs of positions. Student and
    teacher may have any channels: nothing is adapted.

    A matrix has (h·w)² entries for each image, and autograd keeps one for each layer: for an image and a layer 4 MB
    with features of 32x32, 64 MB with 64x64, 1 GB with 128x128. So this loss is for layers before the up-sampling.

    Args:
        loss_weight: The factor on the sum over layers.
    """

    def layer_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one layer: (n, c_student, h, w) against (n, c_teacher, h, w)."""
        with torch.autocast(student.device.type, enabled=False):  # in bf16, products near 1 are 0.004 apart
            return (_affinity(student) - _affinity(teacher)).abs().mean()


def _affinity(features: Tensor) -> Tensor:
    """(n, c, h, w) to (n, h·w, h·w)."""
    # at a vector of zeros the gradient is that of x / eps, so eps is not tiny
    vectors = F.normalize(features.flatten(2), dim=1, eps=1e-4)
    return vectors.transpose(1, 2) @ vectors
