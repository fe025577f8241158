"""Enlarges arrays: one batch of tiles at a time is in floating point, and is at once written into an integer result."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from basicsr_kd.deploy.pieces import Piece, Tiling, cut
from basicsr_kd.deploy.runner import Runner

Bar = Callable[[Sequence[Sequence[Piece]]], Iterator[Sequence[Piece]]]


class NotFiniteError(ValueError):
    """The network makes values that are not finite."""


def enlarge_planes(run: Runner, image: np.ndarray, result: np.ndarray, multiple: int, tiling: Tiling,
                   bar: Bar = iter) -> None:
    """Enlarge the colours of an image, or one channel as a grey image.

    Args:
        run: Runs the network.
        image: (h, w, 3) RGB, or (h, w, 1), which the network gets as three equal channels.
        result: (scale·h, scale·w, c) of the same type as `image`, to be filled; one channel is the mean of three.
        multiple: The number that the sides of the network's input have to be multiples of; the image is mirrored up
            to that.
        tiling: How the image is taken in pieces.
        bar: Is given the batches of pieces; shows the progress.

    Raises:
        NotFiniteError: The network makes values that are not finite.
        ValueError: The network's scale is not that of `result`. The network's own errors are passed on.
    """
    scale = result.shape[0] // image.shape[0]
    padded = _pad(image, multiple)
    tiling = tiling.in_multiples(multiple)
    pieces = cut(padded.shape[0], padded.shape[1], tiling)
    for batch in bar([pieces[start:start + tiling.batch] for start in range(0, len(pieces), tiling.batch)]):
        for piece, output in zip(batch, run(_as_inputs(padded, batch)), strict=True):
            if output.shape[1:] != piece.size(scale):
                raise ValueError(f'it makes {output.shape[2]}x{output.shape[1]} pixels of a piece, expected {scale} '
                                 'times its size')
            _put(output[(...,) + piece.kept(scale)], result[piece.place(scale)])


def _pad(image: np.ndarray, multiple: int) -> np.ndarray:
    sides = image.shape[:2]
    more = [-side % multiple for side in sides]
    if not any(more):
        return image
    # too small to mirror: the last pixels are repeated
    mode: Literal['reflect', 'edge'] = 'reflect' if all(np.less(more, sides)) else 'edge'
    return np.pad(image, [(0, more[0]), (0, more[1]), (0, 0)], mode)


def _as_inputs(image: np.ndarray, batch: Sequence[Piece]) -> np.ndarray:
    """Pieces of an image (h, w, 1 or 3) as a batch (n, 3, h, w) in [0, 1]."""
    height, width = batch[0].size(1)
    inputs = np.empty((len(batch), 3, height, width), np.float32)
    for piece, values in zip(batch, inputs, strict=True):
        np.divide(image[piece.seen].transpose(2, 0, 1), np.iinfo(image.dtype).max, out=values, dtype=np.float32)
    return inputs


def _put(output: np.ndarray, result: np.ndarray) -> None:
    """Write an output (3, h, w) into a result (h, w, 1 or 3), which is smaller where the image was padded."""
    height, width, channels = result.shape
    values = output[:, :height, :width]
    if not np.isfinite(values).all():
        raise NotFiniteError
    values = values.mean(0, keepdims=True) if channels == 1 else values
    values = values.clip(0, 1)
    values *= np.iinfo(result.dtype).max
    np.copyto(result, np.rint(values, out=values).transpose(1, 2, 0), casting='unsafe')
