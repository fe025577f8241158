"""Structured pruning to an exact budget: a network in, a smaller one out, with the weights that matter most."""
from basicsr_kd.pruning.errors import PruningError
from basicsr_kd.pruning.prune import check_prune, prune_network
from basicsr_kd.pruning.result import PruneResult

__all__ = ['PruneResult', 'PruningError', 'check_prune', 'prune_network']
