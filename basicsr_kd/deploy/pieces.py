"""Cuts an image of any size into pieces, so that memory depends on the piece and not on the image."""
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
    """Distance from piece to piece, in pixels of the image; 0: the whole image at once."""
    overlap: int = OVERLAP
    """Least number of pixels that the network sees around the kept part of a piece."""
    batch: int = 1
    """How many pieces the network gets at once."""

    def side(self, length: int) -> int:
        """How long pieces are along an axis of this many pixels."""
        return min(self.tile + 2 * self.overlap, length) if self.tile else length

    def in_multiples(self, multiple: int) -> Tiling:
        """The same tiling, with pieces that begin and end at multiples, as a network wants it."""
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
        """The part of the image that the network sees."""
        return slice(self.y.start, self.y.stop), slice(self.x.start, self.x.stop)

    def size(self, scale: int) -> tuple[int, int]:
        """Height and width of the network's output for the piece."""
        return scale * (self.y.stop - self.y.start), scale * (self.x.stop - self.x.start)

    def kept(self, scale: int) -> Box:
        """The part of that output that is kept."""
        rows, columns = (slice(scale * (span.first - span.start), scale * (span.last - span.start)) for span in self)
        return rows, columns

    def place(self, scale: int) -> Box:
        """Where the kept part belongs in the result."""
        rows, columns = (slice(scale * span.first, scale * span.last) for span in self)
        return rows, columns


def cut(height: int, width: int, tiling: Tiling) -> list[Piece]:
    """Pieces that cover an image.

    All have the same size, `tile + 2·overlap` or the whole of a shorter axis; pieces at the border are moved inwards.
    With an even `tile` all of them start at even pixels, as needed by networks that first shrink by 2.

    Put together, the pieces give the same as the whole image, up to rounding, if the network looks no further than
    `overlap` pixels. Otherwise they are close to it: a 23-block RRDBNet looks hundreds of pixels far, with little
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
