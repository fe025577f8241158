"""A comparison picture: for every photo the whole, and the same small part of it as each method made it."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

_DPI = 100
_GAP = 6  # pixels between panels
_LABEL = 38  # pixels above a panel, enough for two lines of text


@dataclass(frozen=True)
class Comparison:
    """One row of the picture."""

    images: Mapping[str, np.ndarray]
    """Whole results by label, in the order to show them, ground truth last: (h, w, 3) RGB uint8, all of one size."""
    box: tuple[int, int, int]
    """The part to enlarge: left, top, side in pixels."""
    notes: Mapping[str, str]
    """A second line of text below some of the labels, such as `27.31 dB`."""


def busiest_box(truth: np.ndarray, baseline: np.ndarray, side: int) -> tuple[int, int, int]:
    """Find the square where a baseline (bicubic) loses most, so that no one has to choose what to show.

    Args:
        truth, baseline: (h, w, 3) uint8 of one size, neither side shorter than `side`.

    Returns:
        left, top, side of the square with the largest mean absolute difference.
    """
    loss = np.abs(truth.astype(np.float32) - baseline.astype(np.float32)).mean(axis=2)
    # With the anchor at the corner, means[y, x] is that of the square whose left upper corner is (x, y).
    means = cv2.boxFilter(loss, -1, (side, side), anchor=(0, 0))[:loss.shape[0] - side + 1, :loss.shape[1] - side + 1]
    top, left = np.unravel_index(int(np.argmax(means)), means.shape)
    return int(left), int(top), side


def comparison_figure(path: Path, rows: Sequence[Comparison], title: str, panel: int = 192) -> None:
    """Write a PNG with one row a photo: the ground truth with the part marked, then that part from every method.

    Parts are enlarged with nearest neighbour by a whole factor, so that what is seen are the pixels themselves.

    Args:
        path: the PNG to write; its folder exists.
        rows: same labels in each.
        panel: least side of a panel in pixels.

    Raises:
        ValueError: no rows, images of different sizes in a row, or a box that leaves its image.
    """
    if not rows:
        raise ValueError('Expected at least one row to draw, got none.')
    zoom = -(-panel // rows[0].box[2])
    panel = zoom * rows[0].box[2]
    width = (len(rows[0].images) + 1) * (panel + _GAP) + _GAP
    height = len(rows) * (panel + _LABEL) + _LABEL + _GAP
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor='white')
    figure.text(_GAP / width, 1 - _LABEL / 2 / height, title, va='center', fontsize=10)

    def show(row: int, column: int, image: np.ndarray, label: str):
        left, bottom = _GAP + column * (panel + _GAP), height - _LABEL - (row + 1) * (panel + _LABEL)
        axes = figure.add_axes((left / width, bottom / height, panel / width, panel / height))
        axes.imshow(image, interpolation='nearest' if column else 'antialiased')
        axes.set_title(label, fontsize=9, pad=3)
        axes.axis('off')
        return axes

    for index, row in enumerate(rows):
        shapes = {label: image.shape for label, image in row.images.items()}
        truth = list(row.images.values())[-1]
        left, top, side = row.box
        if len(set(shapes.values())) != 1:
            raise ValueError(f'Expected images of one size in a row, got {shapes}.')
        if min(left, top) < 0 or left + side > truth.shape[1] or top + side > truth.shape[0]:
            raise ValueError(f'Expected a box inside the image of shape {truth.shape}, got {row.box}.')
        whole = show(index, 0, truth, '')
        whole.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor='yellow', linewidth=1.5))
        for column, (label, image) in enumerate(row.images.items(), start=1):
            part = image[top:top + side, left:left + side].repeat(zoom, axis=0).repeat(zoom, axis=1)
            show(index, column, part, '\n'.join(filter(None, [label, row.notes.get(label, '')])))
    FigureCanvasAgg(figure).print_png(str(path))
