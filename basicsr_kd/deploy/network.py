"""Trained networks from files, which enlarge images."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils import tensor2img
from torch import Tensor, nn

from basicsr_kd.archs.from_file import build_from_file, describe
from basicsr_kd.archs.probe import enlargement, is_recurrent
from basicsr_kd.archs.spandrel_net import as_module
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.deploy.luma import OfLuma
from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.deploy.planes import Bar, NotFiniteError, enlarge_planes
from basicsr_kd.deploy.runner import Runner, Torch
from basicsr_kd.errors import InferError

_TRIAL = 64  # least side of the image that shows how much memory a network takes
WHOLE = Tiling()


class TrainedNetwork:
    """A network from its file, in a runtime.

    Args:
        name: The network's name.
        file: The file that it is from.
        run_net: The runtime that holds it.
        scale: How many times it enlarges.
        multiple: The number that the sides of its input have to be multiples of.
        tiling: How it takes images in pieces, in LR pixels.
    """

    device = torch.device('cpu')
    """Device of the frames that are given to `step`."""

    def __init__(self, name: str, file: Path, run_net: Runner, scale: int, multiple: int,
                 tiling: Tiling = WHOLE) -> None:
        self.name = name
        self.file = file
        self.run_net = run_net
        self.scale = scale
        self.multiple = multiple
        self.tiling = tiling
        self.recurrent = run_net.inputs > 1
        """Whether the network goes from frame to frame by `step`."""

    def sample(self, lr_size: tuple[int, int]) -> tuple[np.ndarray, ...]:
        """The input that the network is timed on: a random image, with itself as the past if the network is recurrent.

        Args:
            lr_size: (height, width), multiples of `multiple`.
        """
        lr = np.random.default_rng(0).random((1, 3, *lr_size), np.float32)
        if not self.recurrent:
            return (lr,)
        return lr, lr, lr.repeat(self.scale, 2).repeat(self.scale, 3)

    def enlarge(self, lr: np.ndarray, where: str) -> np.ndarray:
        """Enlarge an image, (h, w, 3) to (scale·h, scale·w, 3) BGR uint8.

        Args:
            lr: The image.
            where: Its file, for the error.

        Raises:
            InferError: The network fails on it.
        """
        height, width = lr.shape[:2]
        result = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        self.fill(result[:, :, ::-1], lr[:, :, ::-1], where)
        return result

    def fill(self, result: np.ndarray, image: np.ndarray, where: str, bar: Bar = iter) -> None:
        """Enlarge an image into an array that is there; see `enlarge_planes`.

        Args:
            result: To be filled: (scale·h, scale·w, c) of the image's type.
            image: (h, w, c): RGB or one channel, uint8 or uint16.
            where: Its file, for the error.
            bar: Shows how far it is.

        Raises:
            InferError: The network fails on it.
        """
        try:
            enlarge_planes(self.run_net, image, result, self.multiple, self.tiling, bar)
        except NotFiniteError:
            raise self._not_finite(where) from None
        except (RuntimeError, ValueError) as error:
            short = 'memory' in str(error) and not self.tiling.tile
            hint = ' --tile 256 takes the image in pieces.' if short else ''
            raise InferError(f'{self.file} fails on {where}, {image.shape[1]}x{image.shape[0]}: {error}.{hint}') \
                from error

    def step(self, lr_curr: Tensor, lr_prev: Tensor, hr_prev: Tensor) -> Tensor:
        """Enlarge the next frame with a recurrent network; see `FRNet.step`."""
        return torch.from_numpy(self.run_net(*(tensor.numpy() for tensor in (lr_curr, lr_prev, hr_prev))))

    def as_image(self, output: Tensor, where: str) -> np.ndarray:
        """Turn a recurrent network's output, (1, 3, h, w) RGB, into (h, w, 3) BGR uint8.

        Raises:
            InferError: Values are not finite.
        """
        if not output.isfinite().all():
            raise self._not_finite(where)
        return tensor2img(output)

    def _not_finite(self, where: str) -> InferError:
        return InferError(f'{self.file} makes values of {where} that are not finite. Expected the weights of a network '
                          'that works; has its training diverged?')


class TorchNetwork(TrainedNetwork):
    """A network from a checkpoint, which PyTorch runs.

    Args:
        name: The network's name.
        file: Its checkpoint, which also tells the architecture.
        device: Where it runs.
        tiling: How it takes images in pieces, in LR pixels.
        precision: See `Torch`.
        threads: See `Torch`.
        param_key: Which of the checkpoint's state dicts to read; see `read_state_dict`.

    Raises:
        CheckpointError: The file holds no network that can be built.
        InferError: The network takes neither RGB nor luma alone, or does not enlarge.
    """

    def __init__(self, name: str, file: Path, device: str | torch.device = 'cpu', tiling: Tiling = WHOLE,
                 precision: str = 'fp32', threads: int | None = None, param_key: str | None = None) -> None:
        described = describe(read_state_dict(str(file), param_key), str(file), elsewhere='')
        if isinstance(described, dict):
            self.options: dict[str, Any] = described
            net = build_from_file(str(file), param_key, described)
        else:
            self.options = {'type': described.architecture.name}
            net = as_module(described)
        self.device = torch.device(device)
        self.net: Any = net.eval().to(self.device).to(memory_format=torch.channels_last)
        self.channels, scale, multiple = _channels_and_scale(self.net, file)
        side = -(-_TRIAL // multiple) * multiple
        runner = Torch(self.net, device, precision, threads=threads, side=side, channels=self.channels)
        super().__init__(name, file, OfLuma(runner) if self.channels == 1 else runner, scale, multiple, tiling)
        self.recurrent = is_recurrent(self.net)

    def step(self, lr_curr: Tensor, lr_prev: Tensor, hr_prev: Tensor) -> Tensor:
        return self.net.step(lr_curr, lr_prev, hr_prev)


def _channels_and_scale(net: nn.Module, file: Path) -> tuple[int, int, int]:
    """The number of channels of a network's images, three or one, and the result of `enlargement`."""
    errors = []
    for channels in (3, 1):
        try:
            return channels, *enlargement(net, channels, channels)
        except ValueError as error:
            errors.append(str(error))
    raise InferError(f'{file} enlarges images neither of three channels nor of one: {errors[0]}')
