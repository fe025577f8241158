"""The names of all metrics. Imports neither torch nor BasicSR."""
from __future__ import annotations

METRICS_OF_SETS = {'calculate_fid': 'fid', 'calculate_kid': 'kid'}
