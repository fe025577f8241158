"""Benchmarks beside evaluations: the quality of methods against their time in a runtime."""
from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from basicsr_kd.bench.schema import FORMAT, Bench, Row
from basicsr_kd.errors import ReportError
from basicsr_kd.report.cells import NOTHING, Cell, Table, amount, table
from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.methods import MethodGroup, measured
from basicsr_kd.report.pareto import Panel, Point
from basicsr_kd.report.tables import average, average_title, metric_title
from basicsr_kd.utils.metric_names import METRICS


@dataclass(frozen=True)
class Timed:
    """A method of the report in one way to run it."""

    method: MethodGroup
    row: Row

    @property
    def has_quality(self) -> bool:
        """Whether the method's quality holds for this row: 8 bits are another network, unless evaluated as such."""
        return self.row.precision != 'int8' or any(run.runtime for run in self.method.runs)


def is_bench(path: Path) -> bool:
    """Whether a file is what `basicsr-kd bench --json` wrote, of whatever version."""
    try:
        content: Any = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # the reader of evaluations says what is wrong with it
    found = content.get('format') if isinstance(content, dict) else None
    return isinstance(found, str) and found.startswith(FORMAT.rpartition(' ')[0])


def read_benches(paths: Sequence[Path], methods: Sequence[MethodGroup]) -> tuple[Bench | None, list[Timed], list[str]]:
    """Read benchmarks, and find the methods of their networks by their names.

    Args:
        paths: Files for which `is_bench` holds.
        methods: The methods of the report.

    Returns:
        The first benchmark, which all others are compared with; all rows; and a note for everything that is left out:
        networks that were not evaluated, files from another machine or with another image size.

    Raises:
        ReportError: A file has a fault.
    """
    first: Bench | None = None
    timed: dict[tuple[str, str, int], Timed] = {}
    notes: list[str] = []
    for path in paths:
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Bench)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ReportError(f'{path} is a benchmark with a fault: {error}. Expected a file that `basicsr-kd bench '
                              '--json FILE` wrote.') from None
        if found.format != FORMAT:
            raise ReportError(f'{path} has the format {found.format!r}, and this version of basicsr_kd reads '
                              f'{FORMAT!r}. Time the networks again.')
        first = first or found
        if (found.device.name, found.lr_size) != (first.device.name, first.lr_size):
            notes.append(f'The times in {path} are left out: {_where(found)} does not compare with {_where(first)}.')
            continue
        for row in found.rows:
            its = next((one for one in methods if row.network in [run.name for run in one.runs]), None)
            if its:
                timed.setdefault((its.label, row.way, row.threads), Timed(its, row))
            else:
                notes.append(f'{row.network} ({path}) was timed, and there is no evaluation of it under this name.')
    return first, list(timed.values()), list(dict.fromkeys(notes))


def runtimes_table(runs: Runs, timed: Sequence[Timed]) -> Table | None:
    """A table with a line for each method in each way to run it; None where nothing was timed."""
    if not timed:
        return None
    metrics = [metric for metric in measured([one.method for one in timed]) if METRICS[metric].in_plots]
    rows = [[Cell(one.method.label), Cell(one.row.way), amount([one.row.threads]), _milliseconds(one.row),
             *(NOTHING if ratio is None else Cell(f'{100 * ratio:.0f} %', {'': ratio})
               for ratio in (one.row.network_ratio, one.row.macs_ratio)),
             amount([peak] if (peak := one.row.speed.peak_bytes) else [], unit=1e6),
             *(average(runs, one.method, metric) if one.has_quality else NOTHING for metric in metrics)]
            for one in timed]
    return table('runtimes', f'Time in the runtime, and quality ({average_title(runs)})',
                 ['method', 'runs in', 'threads', 'milliseconds', 'share of time', 'share of MACs', 'peak memory (MB)',
                  *map(metric_title, metrics)], [[row] for row in rows])


def runtimes_panels(runs: Runs, timed: Sequence[Timed]) -> list[Panel]:
    """Plots of quality against time, a panel for each metric that at least two points have.

    A method is shown once for each runtime: in the precision and with the threads in which it is fastest there.
    """
    fastest: dict[tuple[str, str], Timed] = {}
    for one in sorted((one for one in timed if one.has_quality), key=lambda its: its.row.speed.seconds[1]):
        fastest.setdefault((one.method.label, one.row.runtime), one)
    shown = [one for one in timed if one in fastest.values()]
    names = [images.name for images in runs.sets]
    panels = []
    for metric, about in METRICS.items():
        if not about.in_plots:
            continue
        points = [_point(one, values) for one in shown
                  if (values := one.method.averages(names, metric)) and all(map(math.isfinite, values))]
        if len(points) > 1:
            unit = f' ({about.unit})' if about.unit else ''
            panels.append(Panel('milliseconds in the runtime', f'{about.column}{unit}', about.higher_is_better,
                                tuple(points)))
    return panels


def bench_notes(bench: Bench, timed: Sequence[Timed]) -> list[str]:
    """How to read times in runtimes."""
    notes = [f'Milliseconds in a runtime: median with quartiles in brackets, all in turns; {_where(bench)}. Shares of '
             'time and of MACs are those of the first network that was timed, in the same way to run it: where time is '
             'the larger, it does not follow the MACs.']
    if any(one.row.precision == 'bf16' for one in timed):
        notes.append('Quality beside bf16 is that of fp32.')
    if any(not one.has_quality for one in timed):
        notes.append('Without quality stands what was made 8 bits for the benchmark: evaluate the file that '
                     '`basicsr-kd export --int8` writes, and give `basicsr-kd bench` the same file.')
    return notes


def _where(bench: Bench) -> str:
    height, width = bench.lr_size
    return f'{bench.device.name}, one LR image of {width}x{height}'


def _milliseconds(row: Row) -> Cell:
    low, median, high = (1000 * seconds for seconds in row.speed.seconds)
    return Cell(f'{median:.1f} [{low:.1f}, {high:.1f}]', {'': median, ' low': low, ' high': high})


def _point(one: Timed, values: Sequence[float]) -> Point:
    low, median, high = (1000 * seconds for seconds in one.row.speed.seconds)
    threads = f', {one.row.threads} threads' if one.row.threads > 1 else ''
    return Point(f'{one.method.label}: {one.row.way}{threads}', one.method.label, median, statistics.fmean(values),
                 (median - low, high - median), statistics.stdev(values) if len(values) > 1 else 0.0)
