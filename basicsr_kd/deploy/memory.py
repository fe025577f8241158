"""Checks before the work that there is enough memory to enlarge a photo."""
from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from basicsr_kd.deploy.formats import Format
from basicsr_kd.deploy.network import TrainedNetwork
from basicsr_kd.errors import BadImageError
from basicsr_kd.utils.memory import free_memory, in_words

_FLOATS = 4 * 3 * 2  # bytes a pixel of the network's output and of its copy for rounding


def check_memory(path: Path, pixels: np.ndarray, network: TrainedNetwork, form: Format) -> None:
    """Check that a photo and its result fit into memory, along with what the network computes at a time.

    Args:
        path: The photo's file, for the error.
        pixels: (h, w, c), in memory already.
        network: The network that is to enlarge it.
        form: The format that the result is to be written in.

    Raises:
        BadImageError: There is not enough memory.
    """
    height, width = pixels.shape[:2]
    area, scale = network.scale**2, network.scale
    at_once = prod(network.tiling.in_multiples(network.multiple).side(length) for length in (height, width))
    at_once *= min(network.tiling.batch, -(-height * width // at_once))
    floats = at_once * _FLOATS * area
    result = pixels.nbytes * area
    needed = result + max(floats, result * (form.copies - 1))
    found = f'{width}x{height}, would become {width * scale}x{height * scale} pixels: '
    smaller = ('Give a smaller --tile.' if network.tiling.tile else
               'Give --tile 256, with which less is in memory at once.')
    if needed > (free := free_memory()):
        if result * form.copies > free:
            smaller = 'Expected a smaller image: cut it into parts.'
        raise BadImageError(path, f'{found}the result alone takes {in_words(result)} of memory and the whole '
                            f'{in_words(needed)}, {in_words(free)} are free. {smaller}')
    layers = network.run_net.memory(at_once)
    if layers > (free := network.run_net.free_memory()):
        raise BadImageError(path, f'{found}a layer of {network.file} takes {in_words(layers)} of memory for '
                            f'{"a tile" if network.tiling.tile else "all of it"}, {in_words(free)} are free. '
                            f'{smaller}')
