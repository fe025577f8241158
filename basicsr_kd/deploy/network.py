"""A trained network from its file, that enlarges images."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils import tensor2img
from torch import Tensor
from torch.nn.functional import pad

from basicsr_kd.archs.from_file import build_from_file, describe
from basicsr_kd.archs.probe import enlargement
from basicsr_kd.archs.spandrel_net import as_module
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.deploy.tiles import run_tiled
from basicsr_kd.errors import InferError
from basicsr_kd.utils.arrays import as_tensor

_OVERLAP = 16  # of tiles


class TrainedNetwork:
    """Runs a trained network in fp32.

    Args:
        name: How it is called.
        file: Its checkpoint; the architecture is read off it.
        device: Where it runs.
        tile: How large pieces of an image it gets, in LR pixels; 0: whole images.

    Raises:
        CheckpointError: The file holds no network that can be built.
        InferError: It takes no RGB images, or does not enlarge them.
    """

    def __init__(self, name: str, file: Path, device: str | torch.device = 'cpu', tile: int = 0) -> None:
        self.name = name
        self.file: Path = file
        self.tile = tile
        self.device = torch.device(device)
        described = describe(read_state_dict(str(file)), str(file), elsewhere='')
        if isinstance(described, dict):
            self.options: dict[str, Any] = described
            net = build_from_file(str(file), network=described)
        else:
            self.options = {'type': described.architecture.name}
            net = as_module(described)
        self.net = net.eval().to(self.device).to(memory_format=torch.channels_last)
        try:
            self.scale, self.multiple = enlargement(self.net, out_channels=3)
        except ValueError as error:
            raise InferError(f'{file} does not enlarge RGB images: {error}') from None

    @torch.inference_mode()
    def enlarge(self, lr: np.ndarray, where: str) -> np.ndarray:
        """Enlarge an image, (h, w, 3) to (scale·h, scale·w, 3) BGR uint8.

        Args:
            lr: The image.
            where: Its file, for the error.

        Raises:
            InferError: The network fails on it.
        """
        height, width = lr.shape[:2]
        image = as_tensor(lr).to(self.device, memory_format=torch.channels_last)
        tile, overlap = (-(-length // self.multiple) * self.multiple for length in (self.tile, _OVERLAP))
        try:
            more_height, more_width = -height % self.multiple, -width % self.multiple
            mode = 'reflect' if more_height < height and more_width < width else 'replicate'  # too small to mirror
            image = pad(image, (0, more_width, 0, more_height), mode)
            output = run_tiled(self.net, image, tile, overlap, self.scale)
        except (RuntimeError, ValueError) as error:
            hint = '' if self.tile else ' Where memory is short, --tile 256 takes the image in pieces.'
            raise InferError(f'{self.file} fails on {where}, {width}x{height}: {error}.{hint}') from error
        return self.as_image(output[:, :, :height * self.scale, :width * self.scale], where)

    def as_image(self, output: Tensor, where: str) -> np.ndarray:
        """What the network made, (1, 3, h, w) RGB, as (h, w, 3) BGR uint8.

        Raises:
            InferError: Values are not finite.
        """
        if not output.isfinite().all():
            raise InferError(f'{self.file} makes values of {where} that are not finite. Expected the weights of '
                                  'a network that works; has its training diverged?')
        return tensor2img(output)
