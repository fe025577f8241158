"""An image of any size in pieces, so that memory depends on the piece and not on the image."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

OVERLAP = 16
Box = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Tiling:
    """How an image is taken in pieces."""
    tile: int = 0
    """How far apart they are, in pixels of the image; 0: the whole image at once."""
    overlap: int = OVERLAP
    """The least number of pixels that a piece sees around what is kept of it."""
    batch: int = 1
    """How many of them the network gets at once."""

    def side(self, length: int) -> int:
        """How long pieces are along an axis of this many pixels."""
        return min(self.tile + 2 * self.overlap, length) if self.tile else length

    def in_multiples(self, multiple: int) -> Tiling:
        """With pieces that begin and end where a network wants them to."""
        tile, overlap = (-(-length // multiple) * multiple for length in (self.tile, self.overlap))
        return Tiling(tile, overlap, self.batch)


class _Span(NamedTuple):
    """A piece along one axis, in pixels: the network sees start … stop, of which first … last is kept."""
    start: int
    stop: int
    first: int
    last: int


class Piece(NamedTuple):
    """A piece of an image."""
    y: _Span
    x: _Span

    @property
    def seen(self) -> Box:
        """What the network sees, of the image."""
        return slice(self.y.start, self.y.stop), slice(self.x.start, self.x.stop)

    def size(self, scale: int) -> tuple[int, int]:
        """Height and width of what the network makes of it."""
        return scale * (self.y.stop - self.y.start), scale * (self.x.stop - self.x.start)

    def kept(self, scale: int) -> Box:
        """What is kept, of what the network makes of it."""
        rows, columns = (slice(scale * (span.first - span.start), scale * (span.last - span.start)) for span in self)
        return rows, columns

    def place(self, scale: int) -> Box:
        """Where that belongs in the result."""
        rows, columns = (slice(scale * span.first, scale * span.last) for span in self)
        return rows, columns


def cut(height: int, width: int, tiling: Tiling) -> list[Piece]:
    """Pieces that cover an image.

    All have the same size, `tile + 2·overlap` or the whole of a shorter axis; those at the border are moved inwards.
    With an even `tile` all of them start at even pixels, which networks want that first shrink by 2.

    What is put together of them is the result of the whole image, up to rounding, where the network looks no further
    than `overlap` pixels, and near to it otherwise: a 23-block RRDBNet looks hundreds of pixels far, with little
    weight.

    Raises:
        ValueError: A negative `tile` or `overlap`.
    """
    if tiling.tile < 0 or tiling.overlap < 0:
        raise ValueError(f'found tile {tiling.tile} and overlap {tiling.overlap}; expected 0 or more pixels (tile 0: '
                         'no tiles)')
    return [Piece(y, x) for y in _spans(height, tiling) for x in _spans(width, tiling)]


def _spans(length: int, tiling: Tiling) -> list[_Span]:
    size = tiling.side(length)
    spans: list[_Span] = []
    done = 0
    while done < length:
        start = min(max(done - tiling.overlap, 0), length - size)
        stop = start + size
        last = length if stop == length else stop - tiling.overlap
        spans.append(_Span(start, stop, done, last))
        done = last
    return spans
