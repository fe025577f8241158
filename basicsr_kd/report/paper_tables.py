"""Quality in the layout of the paper's Tables 1 and 2, with the rows that make it honest."""
from __future__ import annotations

import statistics
from collections.abc import Sequence

from basicsr_kd.report.cells import NOTHING, Cell, Table, score, table
from basicsr_kd.report.columns import average, average_title, metric_title, seconds_title, size, times, training
from basicsr_kd.report.methods import METRICS, Method, measured, number_formats
from basicsr_kd.report.paper import beside
from basicsr_kd.report.runs import Runs
from basicsr_kd.report.schema import ImageSet

_CONTROLS = ('student_l1', 'student_without_distillation')


def table_1(runs: Runs, methods: Sequence[Method]) -> Table | None:
    """A column for each student of one width, by how far its teacher was pruned; before them what they compare with.

    Returns:
        None where there are no students of one width from teachers pruned by different ratios.
    """
    students = [method for method in methods if method.about.role == 'student' and method.about.pruned is not None]
    ratios = {width: {method.about.pruned for method in students if method.about.features == width}
              for width in sorted({method.about.features for method in students if method.about.features})}
    width = max(ratios, key=lambda found: len(ratios[found]), default=None)
    if width is None or len(ratios[width]) < 2:
        return None
    shown = [method for method in methods if method.about.role in ('bicubic', 'teacher') or (
        method.about.features == width and (method.about.role in _CONTROLS or method in students))]
    formats = number_formats(shown)[:1]
    titles = ['teacher pruned by', 'parameters', 'iterations', 'seeds', *map(seconds_title, formats)]
    columns = [[Cell(f'{method.about.pruned:g}', {'': method.about.pruned or 0}) if method in students else NOTHING,
                size(method, methods)[0], *training(method), *times(method, methods, formats)] for method in shown]
    facts = [[Cell(title), *(column[index] for column in columns)] for index, title in enumerate(titles)]
    quality = [[Cell(metric_title(metric)), *(average(runs, method, metric) for method in shown)]
               for metric in measured(shown)]
    blocks = [[row for row in rows if any(cell != NOTHING for cell in row[1:])] for rows in (facts, quality)]
    return table('table1', f'Students of {width} features by how far their teacher was pruned ({average_title(runs)})',
                 ['figure', *(method.label for method in shown)], blocks)


def table_2(runs: Runs, methods: Sequence[Method]) -> Table | None:
    """A block of rows for each method, metrics down, sets across, and their average.

    A set of several clips has two columns: means over all frames, and means over clips.

    Returns:
        None where no quality was measured.
    """
    metrics, formats = measured(methods), number_formats(methods)[:1]
    columns = [(images, over) for images in runs.sets for over in _averages(images)]
    if not metrics:
        return None
    blocks = []
    for method in methods:
        millions = [value / 1e6 for value in method.counts('params')]
        label = f'{method.label} ({statistics.fmean(millions):.3g} M)' if millions else method.label
        cost = [*training(method), *times(method, methods, formats)]
        blocks.append([[Cell(label), Cell(metric_title(metric)),
                        *(_score(runs, method, metric, images.name, over) for images, over in columns),
                        average(runs, method, metric) if len(runs.sets) > 1 else NOTHING, *cost]
                       for metric in metrics])
    costs = ['iterations', 'seeds', *map(seconds_title, formats)]
    if 'kid' in metrics:
        blocks.append([[Cell('two halves of the ground truth'), Cell(metric_title('kid')), *_floor(methods, columns),
                        *[NOTHING] * (1 + len(costs))]])
    titles = [f'{images.name} ({over})' if over else images.name for images, over in columns]
    return table('table2', 'Quality by method and set', ['method', 'metric', *titles, 'average', *costs], blocks,
                 once=['method', *costs])


def _averages(images: ImageSet) -> list[str]:
    """Over what a set's columns are means, where that has to be said."""
    return ['frames', 'clips'] if len(images.clips) > 1 else ['']


def _score(runs: Runs, method: Method, metric: str, name: str, over: str) -> Cell:
    if over == 'clips':
        return score(method.clip_values(name, metric), METRICS[metric][1])
    kid = method.kid(name) if metric == 'kid' else None
    return score(method.values(name, metric), METRICS[metric][1], beside(runs, method, metric, name),
                 (kid.low, kid.high) if kid else None)


def _floor(methods: Sequence[Method], columns: Sequence[tuple[ImageSet, str]]) -> list[Cell]:
    """What KID is between two halves of the ground truth: less than that tells nothing."""
    cells = []
    for images, over in columns:
        kid = next((found for method in methods for run in method.runs
                    if images.name in run.scores and (found := run.scores[images.name].kid)), None)
        cells.append(score([kid.floor], METRICS['kid'][1], interval=(kid.floor_low, kid.floor_high))
                     if kid and over != 'clips' else NOTHING)
    return cells
