"""What must hold before a run creates anything: device, files, names, networks, layers."""
from basicsr_kd.preflight.checks import check, check_options
from basicsr_kd.preflight.parse import parse_ours

__all__ = ['check', 'check_options', 'parse_ours']
