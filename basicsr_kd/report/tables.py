"""The tables that answer how much smaller, how much faster and how much worse."""
from __future__ import annotations

from collections.abc import Sequence

from basicsr_kd.report.cells import NOTHING, Cell, Table, amount, table
from basicsr_kd.report.columns import average, average_title, metric_title, seconds_title, size, times, training
from basicsr_kd.report.methods import Method, measured, number_formats
from basicsr_kd.report.runs import Runs


def overview_table(runs: Runs, methods: Sequence[Method]) -> Table:
    """A line a method: size, time in the first number format, training, and the averages of all metrics."""
    formats, metrics = number_formats(methods)[:1], measured(methods)
    rows = [[Cell(method.label), Cell(method.role) if method.role else NOTHING, *size(method, methods),
             *times(method, methods, formats), *training(method),
             *(average(runs, method, metric) for metric in metrics)] for method in methods]
    return table('overview', f'How much smaller, how much faster, how much worse ({average_title(runs)})',
                 ['method', 'what it is', 'parameters', 'MACs (G)', *map(seconds_title, formats), 'iterations', 'seeds',
                  *map(metric_title, metrics)], [[row] for row in rows])


def cost_table(methods: Sequence[Method]) -> Table | None:
    """A line a method with all that it costs; None where nothing was counted or timed."""
    formats = number_formats(methods)
    counted = [method for method in methods if method.counts('params') or any(map(method.speed, formats))]
    if not counted:
        return None
    rows = []
    for method in counted:
        peaks = [speed.peak_bytes if speed else None for speed in map(method.speed, formats)]
        rows.append([Cell(method.label), *size(method, methods), amount(method.counts('params_nonzero')),
                     amount(method.counts('activations'), unit=1e6, decimals=1),
                     amount(method.counts('file_bytes'), unit=1e6, decimals=1), *times(method, methods, formats),
                     *(amount([peak] if peak else [], unit=1e6) for peak in peaks)])
    return table('cost', 'Size, work, and measured time and memory',
                 ['method', 'parameters', 'MACs (G)', 'not zero', 'activations (M)', 'file (MB)',
                  *map(seconds_title, formats), *(f'peak memory (MB, {name})' for name in formats)],
                 [[row] for row in rows])
