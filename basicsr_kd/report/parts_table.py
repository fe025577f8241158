"""Size and work of the parts of networks that go from frame to frame, beside quality: what pruning a part is worth."""
from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from basicsr_kd.report.cells import NOTHING, Cell, Table, amount, score, table
from basicsr_kd.report.columns import metric_title, unpruned_teacher
from basicsr_kd.report.methods import METRICS, Method, measured
from basicsr_kd.report.paper_video import change_beside
from basicsr_kd.report.runs import Runs

_METRICS = ('psnr', 'lpips', 'tof')
_TITLES = {'fnet': 'FNet', 'srnet': 'SRNet'}


def parts_table(runs: Runs, methods: Sequence[Method]) -> Table | None:
    """A block a method: its parts and the whole, with changes against the unpruned teacher; quality once.

    Returns:
        None where no network has parts.
    """
    shown = [method for method in methods if _parts(method)]
    if not shown:
        return None
    columns = [(metric, images.name) for images in runs.sets for metric in _METRICS if metric in measured(shown)]
    blocks = [_block(runs, method, methods, columns) for method in shown]
    quality = [f'{metric_title(metric)} ({name})' for metric, name in columns]
    return table('parts', 'Parameters and operations by part', ['method', 'blocks', 'part', 'parameters', 'MACs (G)',
                                                                *quality], blocks, once=['method', 'blocks', *quality])


def _block(runs: Runs, method: Method, methods: Sequence[Method],
           columns: Sequence[tuple[str, str]]) -> list[list[Cell]]:
    teacher = unpruned_teacher(method, methods)
    blocks = NOTHING if method.about.blocks is None else amount([method.about.blocks])
    quality = []
    for metric, name in columns:
        before = teacher.values(name, metric) if teacher else []
        paper = change_beside(runs, method, teacher, metric, name) if teacher else None
        quality.append(_quality(method.values(name, metric), before, METRICS[metric][1], paper))
    rows = []
    for part in [*_parts(method), None]:
        params, macs = ((_counts(method, part, name), _counts(teacher, part, name) if teacher else [])
                        for name in ('params', 'macs'))
        rows.append([Cell(method.label), blocks, Cell(_TITLES.get(part, part) if part else 'whole'), _count(*params),
                     _count(*macs, unit=1e9, decimals=2), *quality])
    return rows


def _parts(method: Method) -> list[str]:
    return list(dict.fromkeys(part for run in method.runs if run.complexity for part in run.complexity.parts))


def _counts(method: Method, part: str | None, name: str) -> list[float]:
    return method.part_counts(part, name) if part else method.counts(name)


def _count(values: Sequence[float], before: Sequence[float], unit: float = 1, decimals: int = 0) -> Cell:
    """A count, and its change in per cent."""
    cell = amount(values, unit=unit, decimals=decimals)
    if not values or not before:
        return cell
    change = statistics.fmean(values) / statistics.fmean(before) - 1
    return Cell(f'{cell.text} ({100 * change:+.1f} %)', {**cell.figures, ' change': change})


def _quality(values: Sequence[float], before: Sequence[float], decimals: int, paper: float | None) -> Cell:
    """A figure, its change, and the paper's."""
    cell = score(values, decimals)
    if not values or not before or not all(map(math.isfinite, [*values, *before])):
        return cell
    change = statistics.fmean(values) - statistics.fmean(before)
    beside, figures = ('', {}) if paper is None else (f', paper {paper:+g}', {' paper change': paper})
    return Cell(f'{cell.text} ({change:+.{decimals}f}{beside})', {**cell.figures, ' change': change, **figures})
