"""Tiled inference: an image of any size in pieces, so that memory depends on the piece and not on the image."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class _Span(NamedTuple):
    """A piece along one axis, in pixels: the network sees start … stop, of which first … last is kept."""
    start: int
    stop: int
    first: int
    last: int


@torch.no_grad()
def run_tiled(net: nn.Module, image: Tensor, tile: int, overlap: int = 16, scale: int | None = None) -> Tensor:
    """Run an enlarging network on an image piece by piece.

    All pieces have the same size, `tile + 2·overlap` or the whole of a shorter axis; those at the border are moved
    inwards. With an even `tile` all of them start at even pixels, which networks want that first shrink by 2.

    The result is that of the whole image, up to rounding, where the network looks no further than `overlap` pixels, and
    near to it otherwise: a 23-block RRDBNet looks hundreds of pixels far, with little weight.

    Args:
        net: The network, in evaluation mode: (n, c, h, w) in, (n, c', scale·h, scale·w) out. Where the image lies on
            another device, pieces are moved to the network's and back.
        image: Images (n, c, h, w) in the network's value range.
        tile: How far apart the pieces are, in pixels of `image`; 0: the whole image at once.
        overlap: The least number of pixels that a piece sees around what is kept of it.
        scale: How many times larger the output is; None: as the first piece tells.

    Returns:
        (n, c', scale·h, scale·w) on the image's device, in the network's number format.

    Raises:
        ValueError: A negative `tile` or `overlap`, or a network that does not enlarge `scale` times.
    """
    if tile < 0 or overlap < 0:
        raise ValueError(f'found tile {tile} and overlap {overlap}; expected 0 or more pixels (tile 0: no tiles)')
    height, width = image.shape[2:]
    device = next((parameter.device for parameter in net.parameters()), image.device)
    output = None
    for y in _spans(height, tile, overlap):
        for x in _spans(width, tile, overlap):
            piece = net(image[..., y.start:y.stop, x.start:x.stop].to(device))
            scale = scale or piece.shape[2] // (y.stop - y.start)
            if piece.shape[2:] != (scale * (y.stop - y.start), scale * (x.stop - x.start)):
                raise ValueError(f'{type(net).__name__} makes {piece.shape[2]}x{piece.shape[3]} of '
                                 f'{y.stop - y.start}x{x.stop - x.start} pixels; expected {scale} times the size')
            if output is None:
                output = piece.new_empty((*piece.shape[:2], scale * height, scale * width), device=image.device)
            kept = piece[..., scale * (y.first - y.start):scale * (y.last - y.start),
                         scale * (x.first - x.start):scale * (x.last - x.start)]
            output[..., scale * y.first:scale * y.last, scale * x.first:scale * x.last] = kept
    assert output is not None
    return output


def _spans(length: int, tile: int, overlap: int) -> list[_Span]:
    size = min(tile + 2 * overlap, length) if tile else length
    spans: list[_Span] = []
    done = 0
    while done < length:
        start = min(max(done - overlap, 0), length - size)
        stop = start + size
        last = length if stop == length else stop - overlap
        spans.append(_Span(start, stop, done, last))
        done = last
    return spans
