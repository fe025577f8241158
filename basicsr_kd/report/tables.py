"""The tables of a report: how much smaller, how much faster and how much worse methods are."""
from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from basicsr_kd.evaluation.schema import MeasuredSet
from basicsr_kd.report.cells import NOTHING, Cell, Table, amount, score, seconds, table
from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.methods import MethodGroup, measured, number_formats
from basicsr_kd.report.paper import average_beside, beside
from basicsr_kd.report.paper_video import change_beside
from basicsr_kd.utils.metric_names import METRICS

PART_TITLES = {'fnet': 'FNet', 'srnet': 'SRNet'}

_CONTROLS = ('student_l1', 'student_without_distillation')


def overview_table(runs: Runs, methods: Sequence[MethodGroup]) -> Table:
    """A table with a line a method: size, time in the first number format, training, averages of all metrics."""
    formats, metrics = number_formats(methods)[:1], measured(methods)
    rows = [[Cell(method.label), Cell(method.role) if method.role else NOTHING, *size(method, methods),
             *times(method, methods, formats), *training(method),
             *(average(runs, method, metric) for metric in metrics)] for method in methods]
    return table('overview', f'How much smaller, how much faster, how much worse ({average_title(runs)})',
                 ['method', 'what it is', 'parameters', 'MACs (G)', *map(seconds_title, formats), 'iterations', 'seeds',
                  *map(metric_title, metrics)], [[row] for row in rows])


def cost_table(methods: Sequence[MethodGroup]) -> Table | None:
    """A table with a line a method and all its costs; None where nothing was counted or timed."""
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


def metric_title(metric: str) -> str:
    """The metric's title with an arrow that says which way is better."""
    return f'{METRICS[metric].column} {METRICS[metric].arrow}'


def seconds_title(number_format: str) -> str:
    """The title of `times`' column for one number format."""
    return f'seconds ({number_format})'


def average_title(runs: Runs) -> str:
    """The title of the column of `average`: what it is the average of."""
    names = [images.name for images in runs.sets]
    of = f'average of {", ".join(names)}' if len(names) > 1 else names[0]
    return f'{of}, means over frames' if runs.clips else of


def average(runs: Runs, method: MethodGroup, metric: str) -> Cell:
    """A metric's average over the sets of the report, with the paper's where it compares."""
    names = [images.name for images in runs.sets]
    return score(method.averages(names, metric), METRICS[metric].decimals, average_beside(runs, method, metric))


def size(method: MethodGroup, methods: Sequence[MethodGroup]) -> list[Cell]:
    """Parameters and MACs in G, with their shares of the unpruned teacher's."""
    teacher = unpruned_teacher(method, methods)
    whole = {name: statistics.fmean(counts) for name in ('params', 'macs')
             if teacher and (counts := teacher.counts(name))}
    return [amount(method.counts('params'), whole.get('params')),
            amount(method.counts('macs'), whole.get('macs'), 1e9, 2)]


def times(method: MethodGroup, methods: Sequence[MethodGroup], number_formats: Sequence[str]) -> list[Cell]:
    """Seconds by number format, with their shares of the unpruned teacher's."""
    teacher, cells = unpruned_teacher(method, methods), []
    for number_format in number_formats:
        speed, whole = method.speed(number_format), teacher.speed(number_format) if teacher else None
        cells.append(seconds(speed.seconds, whole.seconds[1] if whole else None) if speed else NOTHING)
    return cells


def training(method: MethodGroup) -> list[Cell]:
    """Iterations, and how many seeds were trained."""
    about = method.about
    return [NOTHING if about.iterations is None else amount([about.iterations]),
            NOTHING if about.seed is None and len(method.runs) == 1 else amount([len(method.runs)])]


def unpruned_teacher(method: MethodGroup, methods: Sequence[MethodGroup]) -> MethodGroup | None:
    """The unpruned teacher, which a method's costs are compared with; None if there is none or it is the method."""
    teachers = [other for other in methods if other.about.role == 'teacher']
    return teachers[0] if len(teachers) == 1 and teachers[0] is not method else None


def parts_table(runs: Runs, methods: Sequence[MethodGroup]) -> Table | None:
    """A table with a block a method: its parts and the whole, with changes against the unpruned teacher; quality once.

    Returns:
        The table, or None where no network has parts.
    """
    shown = [method for method in methods if _parts(method)]
    if not shown:
        return None
    columns = [(metric, images.name) for images in runs.sets for metric in measured(shown)
               if METRICS[metric].in_plots]
    blocks = [_block(runs, method, methods, columns) for method in shown]
    quality = [f'{metric_title(metric)} ({name})' for metric, name in columns]
    return table('parts', 'Parameters and operations by part', ['method', 'blocks', 'part', 'parameters', 'MACs (G)',
                                                                *quality], blocks, once=['method', 'blocks', *quality])


def _block(runs: Runs, method: MethodGroup, methods: Sequence[MethodGroup],
           columns: Sequence[tuple[str, str]]) -> list[list[Cell]]:
    teacher = unpruned_teacher(method, methods)
    blocks = NOTHING if method.about.blocks is None else amount([method.about.blocks])
    quality = []
    for metric, name in columns:
        before = teacher.values(name, metric) if teacher else []
        paper = change_beside(runs, method, teacher, metric, name) if teacher else None
        quality.append(_quality(method.values(name, metric), before, METRICS[metric].decimals, paper))
    rows = []
    for part in [*_parts(method), None]:
        params, macs = ((_counts(method, part, name), _counts(teacher, part, name) if teacher else [])
                        for name in ('params', 'macs'))
        title = PART_TITLES.get(part, part) if part else 'whole'
        rows.append([Cell(method.label), blocks, Cell(title), _count(*params), _count(*macs, unit=1e9, decimals=2),
                     *quality])
    return rows


def _parts(method: MethodGroup) -> list[str]:
    return list(dict.fromkeys(part for run in method.runs if run.complexity for part in run.complexity.parts))


def _counts(method: MethodGroup, part: str | None, name: str) -> list[float]:
    return method.part_counts(part, name) if part else method.counts(name)


def _count(values: Sequence[float], before: Sequence[float], unit: float = 1, decimals: int = 0) -> Cell:
    """A count, and its change in per cent."""
    cell = amount(values, unit=unit, decimals=decimals)
    if not values or not before:
        return cell
    change = statistics.fmean(values) / statistics.fmean(before) - 1
    return Cell(f'{cell.text} ({100 * change:+.1f} %)', {**cell.figures, ' change': change})


def _quality(values: Sequence[float], before: Sequence[float], decimals: int, paper: float | None) -> Cell:
    """A figure, its change, and the paper's change."""
    cell = score(values, decimals)
    if not values or not before or not all(map(math.isfinite, [*values, *before])):
        return cell
    change = statistics.fmean(values) - statistics.fmean(before)
    beside, figures = ('', {}) if paper is None else (f', paper {paper:+g}', {' paper change': paper})
    return Cell(f'{cell.text} ({change:+.{decimals}f}{beside})', {**cell.figures, ' change': change, **figures})


def table_1(runs: Runs, methods: Sequence[MethodGroup]) -> Table | None:
    """Table 1 of the paper: students of one width, whose teachers were pruned by different ratios.

    Bicubic and the teacher come first; then each student has a column, in the order of the ratios.

    Returns:
        The table, or None if there is no width of which at least two ratios were measured.
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


def table_2(runs: Runs, methods: Sequence[MethodGroup]) -> Table | None:
    """Table 2: a block of rows for each method, with a row a metric and a column a set, and their average.

    A set of several clips has two columns: means over all frames, and means over clips.

    Returns:
        The table, or None where no quality was measured.
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


def _averages(images: MeasuredSet) -> list[str]:
    """What the means in a set's columns are over: frames or clips, or '' where that need not be said."""
    return ['frames', 'clips'] if len(images.clips) > 1 else ['']


def _score(runs: Runs, method: MethodGroup, metric: str, name: str, over: str) -> Cell:
    if over == 'clips':
        return score(method.clip_values(name, metric), METRICS[metric].decimals)
    kid = method.kid(name) if metric == 'kid' else None
    shown = METRICS[metric].shown
    return score(method.values(name, metric), METRICS[metric].decimals, beside(runs, method, metric, name),
                 (shown(kid.low), shown(kid.high)) if kid else None)


def _floor(methods: Sequence[MethodGroup], columns: Sequence[tuple[MeasuredSet, str]]) -> list[Cell]:
    """KID between two halves of the ground truth: a smaller figure tells nothing."""
    cells = []
    for images, over in columns:
        kid = next((found for method in methods for run in method.runs
                    if images.name in run.scores and (found := run.scores[images.name].kid)), None)
        shown = METRICS['kid'].shown
        cells.append(score([shown(kid.floor)], METRICS['kid'].decimals,
                           interval=(shown(kid.floor_low), shown(kid.floor_high)))
                     if kid and over != 'clips' else NOTHING)
    return cells
