"""The pictures of an ablation: PSNR over iterations, and PSNR against a perceptual metric."""
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ablation_plan import Study
from ablation_results import Row, image_mean, mean_sd, seed_values
from ablation_tables import COLUMNS
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basicsr_kd.report.labels import label_beside

_SHOWN = 2.0
"""How far below the lowest end of a panel's curves it shows them (dB): what is to be compared are the ends."""
_MARKS = 'os^Dv<>PX*'


def curves_plot(path: Path, study: Study, rows: Mapping[str, Sequence[Row]]) -> None:
    """PSNR (Y) on the held-out photos over iterations, a panel a group: mean over seeds, band of a standard deviation.

    Args:
        rows: one a seed, by arm.
    """
    figure, panels = _panels(study, rows, 'PSNR-Y on the held-out photos over iterations; bands: ± 1 sd over seeds')
    for axes, arms in panels:
        ends = []
        for name, colour, _ in _styles(arms):
            curves = [row['curve'] for row in rows[name]]
            shared = sorted(set.intersection(*({at for at, _ in curve} for curve in curves)))
            values = np.array([[dict(map(tuple, curve))[at] for at in shared] for curve in curves])
            mean = values.mean(axis=0)
            axes.plot(shared, mean, color=colour, linewidth=1.5, marker='.')
            if len(values) > 1:
                sd = values.std(axis=0, ddof=1)
                axes.fill_between(shared, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
            ends.append((name, colour, shared[-1], float(mean[-1])))
        axes.set_ylim(bottom=max(axes.get_ylim()[0], min(end for *_, end in ends) - _SHOWN))
        axes.set_xlabel('iterations')
        axes.set_ylabel('PSNR-Y (dB)')
        label_beside(axes, ends)
    figure.savefig(path)


def plane_plot(path: Path, study: Study, rows: Mapping[str, Sequence[Row]], references: Mapping[str, Row], name: str,
               metric: str) -> None:
    """PSNR (Y) against a perceptual metric on one set, a panel a group, a point an arm with standard deviations.

    Args:
        rows: one a seed, by arm.
        references: rows of bicubic and the teacher.
        metric: niqe or lpips; lower is better.
    """
    figure, panels = _panels(study, rows, f'{name}: PSNR-Y against {COLUMNS[metric][0]} (lower is better); '
                                          'bars: ± 1 sd over seeds')
    for axes, arms in panels:
        points = []
        for title, row in references.items():
            x, y = image_mean(row, name, metric), image_mean(row, name, 'psnr_y')
            if x is not None and y is not None:
                axes.plot(x, y, marker='+', color='black', markersize=9)
                points.append((title, 'black', x, y))
        for arm, colour, mark in _styles(arms):
            xs, ys = seed_values(rows[arm], name, metric), seed_values(rows[arm], name, 'psnr_y')
            if xs and ys:
                (x, x_sd), (y, y_sd) = mean_sd(xs), mean_sd(ys)
                axes.errorbar(x, y, xerr=x_sd, yerr=y_sd, color=colour, marker=mark, capsize=2, linewidth=1)
                points.append((arm, colour, x, y))
        axes.set_xlabel(COLUMNS[metric][0])
        axes.set_ylabel('PSNR-Y (dB)')
        label_beside(axes, points)
    figure.savefig(path)


def _panels(study: Study, rows: Mapping[str, Sequence[Row]], title: str) -> tuple[Figure, list[tuple[Axes, list[str]]]]:
    """A panel for each group that has results."""
    groups = {group: [name for name in names if rows.get(name)] for group, names in study.groups.items()}
    groups = {group: names for group, names in groups.items() if names}
    lines = math.ceil(len(groups) / 2)
    figure = Figure(figsize=(13, 0.6 + 4.4 * lines), dpi=110, layout='constrained')
    figure.suptitle(title, fontsize=11)
    panels = []
    for index, (group, names) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(lines, min(2, len(groups)), index)
        axes.set_title(group, fontsize=10, loc='left')
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(True, color='#e5e5e5')
        axes.set_axisbelow(True)
        axes.margins(0.08)
        panels.append((axes, names))
    return figure, panels


def _styles(arms: Sequence[str]):
    for index, arm in enumerate(arms):
        yield arm, colormaps['tab10'](index % 10), _MARKS[index % len(_MARKS)]
