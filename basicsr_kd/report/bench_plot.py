"""A benchmark as bars."""
from __future__ import annotations

from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

from basicsr_kd.bench.schema import Bench

_BAR, _CHARACTER = 0.24, 0.075  # inches: the height of a bar, and the width of a letter beside it


def bench_plot(path: Path, bench: Bench) -> None:
    """Write a plot with a bar for each row of a benchmark, in one colour for each network; whiskers are quartiles.

    Args:
        path: The PNG to write; its folder exists.
        bench: At least one row.
    """
    networks = list(dict.fromkeys(row.network for row in bench.rows))
    labels = [f'{row.way}, {row.threads} thread{"s" * (row.threads > 1)}' for row in bench.rows]
    places = [index + 0.6 * networks.index(row.network) for index, row in enumerate(bench.rows)]  # networks set apart
    figure = Figure(figsize=(4.5 + _CHARACTER * max(map(len, labels)), 1.2 + _BAR * (places[-1] + 1)), dpi=130,
                    layout='constrained')
    axes = figure.add_subplot()
    for row, place in zip(bench.rows, places, strict=True):
        low, median, high = (1000 * seconds for seconds in row.speed.seconds)
        number = networks.index(row.network)
        first = row.network not in [other.network for other in bench.rows[:bench.rows.index(row)]]
        axes.barh(place, median, xerr=[[median - low], [high - median]], height=0.8, capsize=2,
                  color=colormaps['tab10'](number % 10), error_kw={'linewidth': 0.8},
                  label=row.network if first else None)
        axes.annotate(f'{median:.0f}' if median >= 100 else f'{median:.3g}', (high, place), xytext=(5, 0),
                      textcoords='offset points', va='center', fontsize=7)
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.tick_params(axis='x', labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(True, axis='x', color='#e5e5e5')
    axes.set_axisbelow(True)
    height, width = bench.lr_size
    axes.set_xlabel(f'milliseconds of a {width}x{height} image, {bench.device.name}', fontsize=8)
    figure.legend(loc='outside upper left', fontsize=8, frameon=False, ncols=min(3, len(networks)))
    figure.savefig(path)
