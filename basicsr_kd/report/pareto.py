"""The cost of methods against their quality: parameters and measured seconds against the metrics, in plots."""
from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.methods import MethodGroup, number_formats
from basicsr_kd.report.tables import average_title
from basicsr_kd.utils.metric_names import METRICS

_MARKS = 'os^Dv<>PX*'
_WIDTH = 3.9  # inches, without names; one column of panels, so that a phone shows them large enough
_CHARACTER, _LINE = 0.078, 0.19  # inches: the width of a letter and the height of a line in a name
_TITLE_CHARACTER = 0.068

LabelledPoint = tuple[str, object, float, float]
"""Name, colour (as matplotlib takes it), x, y."""
_GAP = 0.06


@dataclass(frozen=True)
class Point:
    """A method in one panel; spreads are (down, up)."""

    label: str
    method: str
    """The method whose pictures belong to the point; the label also names the runtime."""
    x: float | None
    """None: the method has no such cost, and is drawn as a horizontal line."""
    y: float
    x_spread: tuple[float, float] = (0.0, 0.0)
    y_spread: float = 0.0


@dataclass(frozen=True)
class Spot:
    """Where a point lies in the picture of a plot, so that it can be pointed at."""

    method: str
    text: str
    """Name and figures."""
    left: float
    """As a share of the picture's width, from 0 to 1."""
    top: float


@dataclass(frozen=True)
class Panel:
    """One cost against one metric."""

    x_title: str
    y_title: str
    higher_is_better: bool
    points: tuple[Point, ...]

    def front(self) -> list[tuple[float, float]]:
        """Cost and quality of the points that no other point beats at the same cost or less, by rising cost."""
        found: list[tuple[float, float]] = []
        sign = 1 if self.higher_is_better else -1
        for x, y in sorted(((point.x, point.y) for point in self.points if point.x is not None),
                           key=lambda place: (place[0], -sign * place[1])):
            if not found or sign * y > sign * found[-1][1]:
                found.append((x, y))
        return found


def pareto_panels(runs: Runs, methods: Sequence[MethodGroup], in_runtimes: Collection[str] = ()) -> list[Panel]:
    """A panel for each cost and each metric that at least two methods have; quality is the average over the sets.

    Args:
        in_runtimes: Labels of methods that a benchmark has timed. If these are all methods, seconds in PyTorch are
            left out.
    """
    names, formats = [images.name for images in runs.sets], number_formats(methods)[:1]
    if in_runtimes and all(method.label in in_runtimes for method in methods if any(map(method.speed, formats))):
        formats = []
    panels = []
    for metric, about in METRICS.items():
        if not about.in_plots:
            continue
        quality = {method.label: values for method in methods
                   if (values := method.averages(names, metric)) and all(map(math.isfinite, values))}
        for x_title in ['parameters (millions)', *(f'measured seconds ({name})' for name in formats)]:
            points = []
            for method in methods:
                if method.label not in quality:
                    continue
                values = quality[method.label]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                x, x_spread = _seconds(method, formats[0]) if 'seconds' in x_title else _millions(method)
                points.append(Point(method.label, method.label, x, statistics.fmean(values), x_spread, spread))
            if sum(point.x is not None for point in points) > 1:
                unit = f' ({about.unit})' if about.unit else ''
                panels.append(Panel(x_title, f'{about.column}{unit}', about.higher_is_better, tuple(points)))
    return panels


def pareto_plot(path: Path, runs: Runs, panels: Sequence[Panel]) -> list[Spot]:
    """Write the panels below one another; in each of them, up and to the left is better.

    Args:
        path: The PNG to write; its folder exists.
        panels: At least one.

    Returns:
        Where the points lie in the picture.
    """
    # one method has one colour and one mark in all panels
    order = list(dict.fromkeys(point.label for panel in panels for point in panel.points if point.x is not None))
    tall = max(2.6, 0.5 + _LINE * max(len(panel.points) for panel in panels))
    width = _WIDTH + _CHARACTER * max(len(point.label) for panel in panels for point in panel.points)
    title = textwrap.fill(f'Quality ({average_title(runs)}) against cost. Up and to the left is better; the grey line '
                          'joins what nothing beats in both; bars: ± 1 sd over seeds, quartiles of times.',
                          int(width / _TITLE_CHARACTER))
    figure = Figure(figsize=(width, 0.25 + 0.2 * title.count('\n') + (tall + 0.5) * len(panels)), dpi=130,
                    layout='constrained')
    figure.suptitle(title, fontsize=9, x=0.02, ha='left')
    drawn: list[tuple[Axes, Point, Panel]] = []
    for index, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(len(panels), 1, index)
        _draw(axes, panel, order)
        label_beside(axes, [(point.label, _colour(order, point), axes.get_xlim()[1] if point.x is None else point.x,
                             point.y) for point in panel.points], _LINE / tall)
        drawn += [(axes, point, panel) for point in panel.points]
    figure.savefig(path)
    to_shares = figure.transFigure.inverted()
    spots = []
    for axes, point, panel in drawn:
        x = axes.get_xlim()[1] if point.x is None else point.x
        left, bottom = to_shares.transform(axes.transData.transform((x, point.y)))
        cost = '' if point.x is None else f', {panel.x_title} {point.x:.4g}'
        spots.append(Spot(point.method, f'{point.label}: {panel.y_title} {point.y:.4g}{cost}', left, 1 - bottom))
    return spots


def _draw(axes: Axes, panel: Panel, order: Sequence[str]) -> None:
    for point in panel.points:
        colour = _colour(order, point)
        if point.x is None:
            axes.axhline(point.y, linestyle='--', color=colour, linewidth=1)
        else:
            position = order.index(point.label)
            axes.errorbar(point.x, point.y, xerr=[[spread] for spread in point.x_spread], yerr=point.y_spread,
                          color=colour, linewidth=1, capsize=2,
                          marker=_MARKS[(position + position // len(_MARKS)) % len(_MARKS)])
    axes.set_xlabel(panel.x_title, fontsize=9)
    axes.set_ylabel(panel.y_title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, color='#e5e5e5')
    axes.set_axisbelow(True)
    axes.margins(0.08)
    right = axes.get_xlim()[1]
    axes.set_xlim(0, right)
    axes.locator_params(axis='x', nbins=6)  # long figures, such as 0.005 seconds, would touch
    front = panel.front()
    axes.step(*zip(*front, (right, front[-1][1]), strict=True), where='post', color='#999999', linewidth=1, zorder=0)
    if not panel.higher_is_better:
        axes.invert_yaxis()


def _colour(order: Sequence[str], point: Point) -> tuple[float, float, float, float]:
    return (0.0, 0.0, 0.0, 1.0) if point.x is None else colormaps['tab10'](order.index(point.label) % 10)


def _millions(method: MethodGroup) -> tuple[float | None, tuple[float, float]]:
    counts = method.counts('params')
    return (statistics.fmean(counts) / 1e6 if counts else None), (0.0, 0.0)


def _seconds(method: MethodGroup, number_format: str) -> tuple[float | None, tuple[float, float]]:
    speed = method.speed(number_format)
    if speed is None:
        return None, (0.0, 0.0)
    low, median, high = speed.seconds
    return median, (median - low, high - median)


def label_beside(axes: Axes, points: Sequence[LabelledPoint], gap: float = _GAP) -> None:
    """Write names to the right of the plot, from top to bottom as their points lie, each with a line to its point.

    Call it when the limits of the plot are final.

    Args:
        gap: Least distance of two names as a share of the plot's height.
    """
    bottom, top = axes.get_ylim()  # on an inverted axis the bottom is the larger value
    ordered = sorted(points, key=lambda point: -(point[3] - bottom) / (top - bottom))
    heights = spread([(point[3] - bottom) / (top - bottom) for point in ordered], gap)
    for (name, colour, x, y), height in zip(ordered, heights, strict=True):
        axes.annotate(name, (x, y), xytext=(1.03, height), textcoords='axes fraction', fontsize=9, color=colour,
                      va='center', annotation_clip=False,
                      arrowprops={'arrowstyle': '-', 'color': colour, 'linewidth': 0.5, 'alpha': 0.6,
                                  'relpos': (0, 0.5)})


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move heights apart by as little as possible in total (least squares), within 0 and 1 if they fit there.

    Args:
        wanted: The wanted heights, from the highest to the lowest.
        gap: Least distance of two neighbours.
    """
    # With i gaps added to the i-th height, heights that are far enough apart never rise: pool those that do rise
    # (isotonic regression).
    pools: list[tuple[float, int]] = []
    for index, height in enumerate(wanted):
        total, number = height + index * gap, 1
        while pools and total / number > pools[-1][0] / pools[-1][1]:
            total, number = total + pools[-1][0], number + pools.pop()[1]
        pools.append((total, number))
    lowest = (len(wanted) - 1) * gap
    level = [min(max(total / number, lowest), 1.0) for total, number in pools for _ in range(number)]
    return [height - index * gap for index, height in enumerate(level)]
