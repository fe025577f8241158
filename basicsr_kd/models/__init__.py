"""Models that the plugin puts into BasicSR's MODEL_REGISTRY: every name of `__all__`."""
from basicsr_kd.models.kdgan_model import KDGANModel
from basicsr_kd.models.prune_gan_model import PruneGANModel
from basicsr_kd.models.realesrgan_model import KDRealESRGANModel, PruneRealESRGANModel
from basicsr_kd.models.tecogan_model import TecoGANModel

__all__ = ['KDGANModel', 'KDRealESRGANModel', 'PruneGANModel', 'PruneRealESRGANModel', 'TecoGANModel']
