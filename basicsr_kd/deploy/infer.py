"""Enlarging without ground truth: clips frame by frame, images one by one."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from basicsr_kd.deploy.network import TrainedNetwork
from basicsr_kd.deploy.stream import run_stream
from basicsr_kd.errors import InferError
from basicsr_kd.utils.arrays import as_tensor
from basicsr_kd.utils.modes import HALF, fast_formats, full_fp32

Frames = Iterable[tuple[str, np.ndarray]]


def enlarge(network: TrainedNetwork, frames: Frames) -> Iterator[tuple[str, np.ndarray]]:
    """Enlarge frames; at most six of them are in memory.

    Args:
        network: A network of images, or a recurrent one, which starts as `run_stream` says.
        frames: Names and images, (h, w, 3) BGR uint8, fetched one by one; of one size for a recurrent network.

    Yields:
        Names and (scale·h, scale·w, 3) BGR uint8.

    Raises:
        InferError: The network fails on a frame. Errors of reading a frame are passed on.
    """
    if not network.recurrent:
        for name, image in frames:
            yield name, network.enlarge(image, name)
        return
    names: deque[str] = deque()

    def tensors() -> Iterator[Tensor]:
        for name, image in frames:
            names.append(name)
            yield as_tensor(image).to(network.device)

    try:
        for output in run_stream(network, tensors()):
            name = names.popleft()
            yield name, network.as_image(output, name)
    except (RuntimeError, ValueError) as error:
        raise InferError(f'{network.file} fails on frame {names[0]}: {error}') from error


def precision(device: str, half: bool) -> AbstractContextManager[object]:
    """The context that a network runs in: full fp32, or half precision by autocast; FRNet warps in fp32 all the same.

    Raises:
        InferError: Half precision would be slower than fp32 on this device.
    """
    if not half:
        return full_fp32()
    formats = [name for name in HALF if name in fast_formats(device)]
    if not formats:
        raise InferError(f'--half: {device} has no fast half precision. Leave it out, or give a GPU (--device cuda).')
    return torch.autocast(torch.device(device).type, HALF[formats[0]])
