"""The columns that several tables of a report share."""
from __future__ import annotations

import statistics
from collections.abc import Sequence

from basicsr_kd.report.cells import NOTHING, Cell, amount, score, seconds
from basicsr_kd.report.methods import METRICS, Method
from basicsr_kd.report.paper import average_beside
from basicsr_kd.report.runs import Runs


def metric_title(metric: str) -> str:
    """With an arrow that says which way is better."""
    title, _, higher = METRICS[metric]
    return f'{title} {"↑" if higher else "↓"}'


def seconds_title(number_format: str) -> str:
    """The column of :func:`times` for one number format."""
    return f'seconds ({number_format})'


def average_title(runs: Runs) -> str:
    """What :func:`average` is of."""
    names = [images.name for images in runs.sets]
    of = f'average of {", ".join(names)}' if len(names) > 1 else names[0]
    return f'{of}, means over frames' if runs.clips else of


def average(runs: Runs, method: Method, metric: str) -> Cell:
    """Over the sets of the report, with the paper's where it compares."""
    names = [images.name for images in runs.sets]
    return score(method.averages(names, metric), METRICS[metric][1], average_beside(runs, method, metric))


def size(method: Method, methods: Sequence[Method]) -> list[Cell]:
    """Parameters and MACs in G, with their shares of the unpruned teacher's."""
    teacher = unpruned_teacher(method, methods)
    whole = {name: statistics.fmean(counts) for name in ('params', 'macs')
             if teacher and (counts := teacher.counts(name))}
    return [amount(method.counts('params'), whole.get('params')),
            amount(method.counts('macs'), whole.get('macs'), 1e9, 2)]


def times(method: Method, methods: Sequence[Method], number_formats: Sequence[str]) -> list[Cell]:
    """Seconds by number format, with their shares of the unpruned teacher's."""
    teacher, cells = unpruned_teacher(method, methods), []
    for number_format in number_formats:
        speed, whole = method.speed(number_format), teacher.speed(number_format) if teacher else None
        cells.append(seconds(speed.seconds, whole.seconds[1] if whole else None) if speed else NOTHING)
    return cells


def training(method: Method) -> list[Cell]:
    """Iterations, and how many seeds were trained."""
    about = method.about
    return [NOTHING if about.iterations is None else amount([about.iterations]),
            NOTHING if about.seed is None and len(method.runs) == 1 else amount([len(method.runs)])]


def unpruned_teacher(method: Method, methods: Sequence[Method]) -> Method | None:
    """What a method's costs are compared with: the unpruned teacher, where there is one and it is another method."""
    teachers = [other for other in methods if other.about.role == 'teacher']
    return teachers[0] if len(teachers) == 1 and teachers[0] is not method else None
