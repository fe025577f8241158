"""A comparison picture: for every photo the whole, and one small part of it as each method enlarges it."""
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

_DPI = 100
_GAP = 6  # pixels between panels
_FONT = 9  # points
_CHARACTER = 7.3  # pixels of a character at this size, rather too wide
_TEXT = 17  # pixels: the height of a line
_LINES = 3  # lines of text below a panel: a name in at most two, and a note


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines at spaces and after a name's joining characters; inside a word only if it is longer than a line."""

    wordsep_re = re.compile(r'(\s+)|(?<=[_/-])')


@dataclass(frozen=True)
class Comparison:
    """One row of the picture."""

    images: Mapping[str, np.ndarray]
    """Whole results by label, in the order to show them, ground truth last: (h, w, 3) RGB uint8, all of one size."""
    box: tuple[int, int, int]
    """The part to enlarge: left, top, side in pixels."""
    notes: Mapping[str, str]
    """A line of text below some of the labels, such as `27.31 dB`."""
    name: str = ''
    """The photo's name."""
    whole: str = ''
    """Label of the image that is shown as a whole; default: the last."""

    @property
    def overview(self) -> np.ndarray:
        """The image that is shown as a whole."""
        return self.images[self.whole or list(self.images)[-1]]

    @property
    def mark(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the part that is marked in the whole."""
        left, top, side = self.box
        return left, top, side, side

    def part(self, label: str) -> np.ndarray:
        """The part of one image that is enlarged, (side, side, 3) RGB uint8."""
        left, top, side = self.box
        return self.images[label][top:top + side, left:left + side]


@dataclass(frozen=True)
class TimeSlice(Comparison):
    """Shows, instead of the part, the row of pixels through its middle over time, downwards: flicker looks ragged."""

    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    """That row of successive frames, by label: (frames, side, 3) RGB uint8."""

    @property
    def mark(self) -> tuple[int, int, int, int]:
        left, top, side = self.box
        return left, top + side // 2, side, 1

    def part(self, label: str) -> np.ndarray:
        """The rows of one method, (side, side, 3) RGB uint8; each row is repeated where there are fewer than `side`."""
        rows, side = self.rows[label], self.box[2]
        return rows[np.arange(side) * len(rows) // side]


def busiest_box(truth: np.ndarray, baseline: np.ndarray, side: int, border: int = 0) -> tuple[int, int, int]:
    """Find the square where a baseline (bicubic) loses most, so that no one has to choose what to show.

    Args:
        truth, baseline: (h, w, 3) uint8 of one size, neither side shorter than `side`.
        border: Pixels at each edge that the square keeps out of, unless the image is too small for that.

    Returns:
        Left, top and side of the square with the largest mean absolute difference.
    """
    loss = np.abs(truth.astype(np.float32) - baseline.astype(np.float32)).mean(axis=2)
    # With the anchor at the corner, means[y, x] is the mean over the square whose upper left corner is (x, y).
    means = cv2.boxFilter(loss, -1, (side, side), anchor=(0, 0))
    first = border if min(loss.shape) >= side + 2 * border else 0
    allowed = means[first:loss.shape[0] - side - first + 1, first:loss.shape[1] - side - first + 1]
    top, left = np.unravel_index(int(np.argmax(allowed)), allowed.shape)
    return int(left) + first, int(top) + first, side


def comparison_figure(path: Path, rows: Sequence[Comparison], title: str, panel: int = 192, most: int = 5) -> None:
    """Write a PNG with one row for each photo: the ground truth with the part marked, then that part of every method.

    Parts are enlarged with nearest neighbour by a whole factor, so that the pixels themselves are seen.

    Args:
        path: The PNG to write; its folder exists.
        rows: One comparison for each row, all with the same labels and the same side of the box.
        panel: Least side of a panel in pixels.
        most: How many panels at most stand side by side; more go on further lines, beside a larger whole.

    Raises:
        ValueError: There are no rows, images in a row differ in size, or a box leaves its image.
    """
    if not rows:
        raise ValueError('Expected at least one row to draw, got none.')
    for row in rows:
        _check(row)
    zoom = -(-panel // rows[0].box[2])
    panel = zoom * rows[0].box[2]
    lines = -(-len(rows[0].images) // most)
    columns = -(-len(rows[0].images) // lines)
    cell, step = panel + _GAP, panel + _LINES * _TEXT + _GAP
    whole = (lines - 1) * step + panel  # as high as all lines, without the text below the last
    width = _GAP + whole + _GAP + columns * cell
    heading = textwrap.wrap(title, int((width - 2 * _GAP) / _CHARACTER))
    top = len(heading) * _TEXT + 2 * _GAP
    height = top + len(rows) * lines * step
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor='white')
    figure.text(_GAP / width, 1 - _GAP / height, '\n'.join(heading), va='top', fontsize=_FONT)

    def show(image: np.ndarray, left: int, above: int, side: int, interpolation: str, *text: str) -> Axes:
        axes = figure.add_axes((left / width, 1 - (above + side) / height, side / width, side / height), anchor='N')
        axes.imshow(image, interpolation=interpolation)
        axes.axis('off')
        axes.text(0.5, -3 / side, '\n'.join(filter(None, text)), transform=axes.transAxes, ha='center', va='top',
                  fontsize=_FONT)
        return axes

    for index, row in enumerate(rows):
        above = top + index * lines * step
        left, upper, wide, high = row.mark
        axes = show(row.overview, _GAP, above, whole, 'antialiased', *_fit(row.name, whole))
        axes.add_patch(Rectangle((left - 0.5, upper - 0.5), wide, high, fill=False, edgecolor='yellow', linewidth=1.5,
                                 path_effects=[withStroke(linewidth=3.5, foreground='black')]))
        for place, label in enumerate(row.images):
            line, column = divmod(place, columns)
            part = row.part(label).repeat(zoom, axis=0).repeat(zoom, axis=1)
            show(part, 2 * _GAP + whole + column * cell, above + line * step, panel, 'nearest', *_fit(label, panel),
                 row.notes.get(label, ''))
    FigureCanvasAgg(figure).print_png(str(path))


def _check(row: Comparison) -> None:
    shapes = {label: image.shape for label, image in row.images.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f'Expected images of one size in a row, got {shapes}.')
    left, top, side = row.box
    height, width = next(iter(shapes.values()))[:2]
    if min(left, top) < 0 or left + side > width or top + side > height:
        raise ValueError(f'Expected a box inside the image of {width}x{height}, got {row.box}.')


def _fit(label: str, side: int) -> list[str]:
    """Break a label into two lines at most; a longer label ends in dots."""
    return _Wrapper(int(side / _CHARACTER), max_lines=_LINES - 1, placeholder='…').wrap(label)
