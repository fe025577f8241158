"""Losses that the plugin puts into BasicSR's LOSS_REGISTRY: every name of `__all__`."""
from basicsr_kd.losses.attention_transfer_loss import AttentionTransferLoss
from basicsr_kd.losses.cosine_perceptual_loss import CosinePerceptualLoss
from basicsr_kd.losses.discriminator_feature_loss import DiscriminatorFeatureLoss
from basicsr_kd.losses.feature_affinity_loss import FeatureAffinityLoss
from basicsr_kd.losses.feature_distill_loss import FeatureDistillLoss
from basicsr_kd.losses.response_distill_loss import ResponseDistillLoss

__all__ = [
    'AttentionTransferLoss', 'CosinePerceptualLoss', 'DiscriminatorFeatureLoss', 'FeatureAffinityLoss',
    'FeatureDistillLoss', 'ResponseDistillLoss'
]
