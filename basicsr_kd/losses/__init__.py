"""Losses that the plugin puts into BasicSR's LOSS_REGISTRY: every name of `__all__`."""
from basicsr_kd.losses.feature_distill_loss import FeatureDistillLoss

__all__ = ['FeatureDistillLoss']
