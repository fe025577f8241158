"""Names of points beside a plot, where they cannot hide one another."""
from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

Point = tuple[str, object, float, float]
"""Name, colour (as matplotlib takes it), x, y."""
_GAP = 0.06


def label_beside(axes: Axes, points: Sequence[Point], gap: float = _GAP) -> None:
    """Write names to the right of the plot, from top to bottom as their points lie, each with a line to its point.

    Call it when the limits of the plot stand.

    Args:
        gap: least distance of two names as a share of the plot's height.
    """
    bottom, top = axes.get_ylim()  # of an axis upside down the bottom is the larger
    ordered = sorted(points, key=lambda point: -(point[3] - bottom) / (top - bottom))
    heights = spread([(point[3] - bottom) / (top - bottom) for point in ordered], gap)
    for (name, colour, x, y), height in zip(ordered, heights, strict=True):
        axes.annotate(name, (x, y), xytext=(1.03, height), textcoords='axes fraction', fontsize=9, color=colour,
                      va='center', annotation_clip=False,
                      arrowprops={'arrowstyle': '-', 'color': colour, 'linewidth': 0.5, 'alpha': 0.6,
                                  'relpos': (0, 0.5)})


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move heights apart, all together as little as possible (least squares), within 0 and 1 where that is enough.

    Args:
        wanted: from the highest to the lowest.
        gap: least distance of two neighbours.
    """
    # With i gaps added to the i-th height, far enough apart is not rising: pool what rises (isotonic regression).
    pools: list[tuple[float, int]] = []
    for index, height in enumerate(wanted):
        total, number = height + index * gap, 1
        while pools and total / number > pools[-1][0] / pools[-1][1]:
            total, number = total + pools[-1][0], number + pools.pop()[1]
        pools.append((total, number))
    lowest = (len(wanted) - 1) * gap
    level = [min(max(total / number, lowest), 1.0) for total, number in pools for _ in range(number)]
    return [height - index * gap for index, height in enumerate(level)]
