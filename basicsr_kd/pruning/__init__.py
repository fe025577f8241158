"""Pruning to an exact budget: it makes a smaller network of a network's most important parts."""
from basicsr_kd.data.calibration import read_calibration, read_calibration_for, read_whole
from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.cut import Cut
from basicsr_kd.pruning.pruner import check_prune, prune
from basicsr_kd.pruning.report import PruneReport
from basicsr_kd.utils.prune_request import Request, needs_calibration

__all__ = ['Cut', 'PruneReport', 'PruningError', 'Request', 'check_prune', 'needs_calibration', 'prune',
           'read_calibration', 'read_calibration_for', 'read_whole']
