"""The plugin's networks; the plugin puts all of `__all__` into BasicSR's ARCH_REGISTRY."""
from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.archs.pruned_net_arch import PrunedNet
from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedRRDBNet
from basicsr_kd.archs.slim_rrdbnet_arch import SlimRRDBNet
from basicsr_kd.archs.spatio_temporal_discriminator_arch import SpatioTemporalDiscriminator

__all__ = ['FRNet', 'PrunedNet', 'PrunedRRDBNet', 'SlimRRDBNet', 'SpatioTemporalDiscriminator']
