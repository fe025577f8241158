"""What is evaluated: bicubic enlargement, networks from files, folders of finished images."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils import tensor2img
from basicsr.utils.matlab_functions import imresize
from torch import Tensor
from torch.nn.functional import pad

from basicsr_kd.archs.from_file import build_from_file, describe
from basicsr_kd.archs.spandrel_net import as_module
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.deploy.tiles import run_tiled
from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.evaluation.images import read_image
from basicsr_kd.evaluation.sets import ImagePair
from basicsr_kd.metrics.arrays import as_tensor

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)  # of what networks want the sides of an image to be: pixel-unshuffle, windows
_TRIAL = 17  # side, at least, of the image that tells; odd
_OVERLAP = 16  # of tiles


class Method(ABC):
    """A way to an enlarged image."""

    name: str
    kind: str
    """'bicubic', 'network' or 'images'."""
    file: Path | None
    """The checkpoint, or the folder of finished images."""

    @abstractmethod
    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        """Enlarge an image.

        Args:
            pair: its files.
            lr: (h, w, 3) BGR uint8; None where there is no file, which is for finished images alone.

        Returns:
            (scale·h, scale·w, 3) BGR uint8.

        Raises:
            EvaluationError: it cannot be done; the text says why.
        """


class Bicubic(Method):
    """Enlarges as published figures of bicubic do."""

    kind = 'bicubic'
    file = None

    def __init__(self, name: str, scale: int) -> None:
        self.name = name
        self.scale = scale

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        assert lr is not None
        return bicubic(lr, self.scale)


class FinishedImages(Method):
    """Takes what another program made: the files that `pair_folders` found for its name."""

    kind = 'images'

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file: Path = file

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        return read_image(pair.results[self.name])


class Network(Method):
    """Runs a trained network in fp32.

    Args:
        name: How it is called.
        file: Its checkpoint; the architecture is read off it.
        device: Where it runs.
        tile: How large pieces of an image it gets, in LR pixels; 0: whole images.

    Raises:
        CheckpointError: The file holds no network that can be built.
        EvaluationError: It takes no RGB images, or does not enlarge them.
    """

    kind = 'network'

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
        self.scale, self._multiple = self._what_it_takes()

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        assert lr is not None
        return self.enlarge(lr, str(pair.lr))

    @torch.inference_mode()
    def enlarge(self, lr: np.ndarray, where: str) -> np.ndarray:
        """Enlarge an image, (h, w, 3) to (scale·h, scale·w, 3) BGR uint8.

        Args:
            lr: The image.
            where: Its file, for the error.

        Raises:
            EvaluationError: The network fails on it.
        """
        height, width = lr.shape[:2]
        image = as_tensor(lr).to(self.device, memory_format=torch.channels_last)
        tile, overlap = (-(-length // self._multiple) * self._multiple for length in (self.tile, _OVERLAP))
        try:
            more_height, more_width = -height % self._multiple, -width % self._multiple
            mode = 'reflect' if more_height < height and more_width < width else 'replicate'  # too small to mirror
            image = pad(image, (0, more_width, 0, more_height), mode)
            output = run_tiled(self.net, image, tile, overlap, self.scale)
        except (RuntimeError, ValueError) as error:
            hint = '' if self.tile else ' Where memory is short, --tile 256 takes the image in pieces.'
            raise EvaluationError(f'{self.file} fails on {where}, {width}x{height}: {error}.{hint}') from error
        return self.as_image(output[:, :, :height * self.scale, :width * self.scale], where)

    def as_image(self, output: Tensor, where: str) -> np.ndarray:
        """What the network made, (1, 3, h, w) RGB, as (h, w, 3) BGR uint8.

        Raises:
            EvaluationError: Values are not finite.
        """
        if not output.isfinite().all():
            raise EvaluationError(f'{self.file} makes values of {where} that are not finite. Expected the weights of '
                                  'a network that works; has its training diverged?')
        return tensor2img(output)

    @torch.inference_mode()
    def _what_it_takes(self) -> tuple[int, int]:
        """How many times larger its output is, and of what the sides of its input have to be a multiple."""
        errors = []
        for multiple in _MULTIPLES:
            side = multiple * (-(-_TRIAL // multiple) // 2 * 2 + 1)
            try:
                output = self.net(torch.rand(1, 3, side, side, device=self.device))
            except Exception as error:  # whatever the network's own code raises
                errors.append(f'{type(error).__name__}: {error}')
                continue
            scale = output.shape[-1] // side
            if scale and tuple(output.shape) == (1, 3, scale * side, scale * side):
                return scale, multiple
            errors.append(f'it makes {tuple(output.shape)} of (1, 3, {side}, {side})')
        raise EvaluationError(f'{self.file} does not enlarge RGB images: {errors[0]}')


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge by the MATLAB-like bicubic that published figures come from, (h, w, 3) to (scale·h, scale·w, 3) uint8."""
    return (imresize(lr.astype(np.float32) / 255, scale).clip(0, 1) * 255).round().astype(np.uint8)


def unique_names(files: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Tell methods of one name apart by folders: those in which their paths differ (`s16/net_g_latest`), else all.

    Raises:
        EvaluationError: That does not tell them apart, as where one is there twice.
    """
    folders = [file.parent.relative_to(file.anchor).parts for file in files]
    unique = []
    for index, name in enumerate(names):
        same = [folders[other] for other, its in enumerate(names) if its == name and other != index]
        differing = [part for part in folders[index] if any(part not in parts for parts in same)]
        unique.append('/'.join([*differing, name]))
    unique = ['/'.join([*parts, name]) if unique.count(short) > 1 else short
              for parts, name, short in zip(folders, names, unique, strict=True)]
    twice = next((name for name in unique if unique.count(name) > 1), None)
    if twice is not None:
        raise EvaluationError(f'Two methods would both be called {twice}. Expected files or folders of different '
                              'names; is one of them given twice?')
    return unique
