"""PruneRealESRGANModel: pruning, then training on Real-ESRGAN's degradation."""
from __future__ import annotations

from basicsr_kd.models.prune_gan_model import PruneGANModel
from basicsr_kd.models.second_order import SecondOrder


class PruneRealESRGANModel(PruneGANModel, SecondOrder):
    """PruneGANModel, whose low resolution is made as `SecondOrder` says; the GAN loss is the standard one."""

    relativistic_by_default = False
