"""Costs and quality of networks. `__all__` lists what the plugin puts into BasicSR's METRIC_REGISTRY."""
from basicsr_kd.metrics.edges import calculate_gmsd, calculate_haarpsi, calculate_mdsi
from basicsr_kd.metrics.fid import calculate_fid
from basicsr_kd.metrics.jod import calculate_jod, calculate_jod20
from basicsr_kd.metrics.kid import calculate_kid
from basicsr_kd.metrics.lpips import calculate_lpips
from basicsr_kd.metrics.texture import calculate_texture
from basicsr_kd.metrics.tlp import calculate_tlp
from basicsr_kd.metrics.tof import calculate_tof

__all__ = ['calculate_fid', 'calculate_gmsd', 'calculate_haarpsi', 'calculate_jod', 'calculate_jod20', 'calculate_kid',
           'calculate_lpips', 'calculate_mdsi', 'calculate_texture', 'calculate_tlp', 'calculate_tof']
