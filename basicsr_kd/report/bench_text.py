"""A benchmark as text: a table, and what a reader has to know."""
from __future__ import annotations

from basicsr_kd.bench.schema import Bench
from basicsr_kd.report.text import milliseconds, peak, wrap
from basicsr_kd.utils.text import markdown_table

_MISSING = '-'


def bench_text(bench: Bench) -> str:
    """Lay out the result of `bench` as text."""
    return '\n\n'.join([bench_table(bench), *map(wrap, [bench_note(bench), *bench.left_out])])


def bench_table(bench: Bench) -> str:
    """A table with a row for each network in each way to run it."""
    several = _several(bench)
    ratios = ['time / first', 'MACs / first'] if several else []
    return markdown_table(['network', 'runs in', 'threads', 'ms', 'time', *ratios, 'memory'], [
        [row.network, row.way, str(row.threads), milliseconds(row.speed), f'{row.time_ratio:.3f}',
         *([_ratio(row.network_ratio), _ratio(row.macs_ratio)] if several else []), peak(row.speed)]
        for row in bench.rows])


def bench_note(bench: Bench) -> str:
    """The conditions under which the figures were measured."""
    height, width = bench.lr_size
    first, turns = bench.rows[0].network, min(row.speed.turns or 0 for row in bench.rows)
    found = [f'Milliseconds of one random {width}x{height} image on {bench.device.name}, median (quartiles) of at '
             f"least {turns} runs, all rows in turns in one process; time: as a share of the first row's."]
    if _several(bench):
        found.append(f'"time / first" is the time as a share of that of {first} in the same runtime, precision and '
                     'number of threads, beside the ratio of multiply-accumulates (MACs): where it is higher, time '
                     'does not follow them.')
    found.append('Memory: seen in a process of its own, from before the network is opened to the peak of one run; '
                 "PyTorch itself and the runtime's package are not in it.")
    if any(row.runtime == 'torch-nchw' for row in bench.rows):
        found.append("PyTorch with NCHW is how people's scripts run it.")
    return ' '.join(found)


def _several(bench: Bench) -> bool:
    return len({row.network for row in bench.rows}) > 1


def _ratio(value: float | None) -> str:
    return _MISSING if value is None else f'{value:.3f}'
