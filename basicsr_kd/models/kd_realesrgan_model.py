"""KDRealESRGANModel: feature distillation on Real-ESRGAN's degradation."""
from __future__ import annotations

from basicsr_kd.models.kdgan_model import KDGANModel
from basicsr_kd.models.second_order import SecondOrder


class KDRealESRGANModel(KDGANModel, SecondOrder):
    """KDGANModel, whose low resolution is made as `SecondOrder` says; teacher and student see the same."""
