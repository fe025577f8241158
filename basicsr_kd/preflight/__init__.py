"""What must hold before a run creates anything: device, files, names, networks, layers."""
from basicsr_kd.preflight.checks import check, check_options

__all__ = ['check', 'check_options']
