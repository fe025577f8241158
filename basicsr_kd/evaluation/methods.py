"""The methods that are evaluated: bicubic enlargement, networks from files, folders of finished images."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from basicsr_kd.deploy.network import WHOLE
from basicsr_kd.deploy.open import open_network
from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.errors import EvaluationError
from basicsr_kd.evaluation.sets import ImagePair
from basicsr_kd.metrics.bicubic import bicubic
from basicsr_kd.utils.images import read_image


class Method(ABC):
    """A way to make an enlarged image."""

    name: str
    kind: Literal['bicubic', 'network', 'images']
    file: Path | None
    """The network's file, or the folder of finished images."""

    @abstractmethod
    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        """Enlarge an image.

        Args:
            pair: The image's files.
            lr: (h, w, 3) BGR uint8; None where there is no file, which only finished images allow.

        Returns:
            (scale·h, scale·w, 3) BGR uint8.

        Raises:
            EvaluationError, InferError: The image cannot be enlarged; the text says why.
        """


class Bicubic(Method):
    """Enlarges by the bicubic method behind published figures."""

    kind = 'bicubic'
    file = None

    def __init__(self, name: str, scale: int) -> None:
        self.name = name
        self.scale = scale

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        assert lr is not None
        return bicubic(lr, self.scale)


class FinishedImages(Method):
    """Takes the results of another program: the files that `pair_folders` found under the method's name."""

    kind = 'images'

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file: Path = file

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        return read_image(pair.results[self.name])


class Network(Method):
    """Runs a trained network, a checkpoint in fp32; see `open_network`."""

    kind = 'network'

    def __init__(self, name: str, file: Path, device: str | torch.device = 'cpu', tiling: Tiling = WHOLE,
                 param_key: str | None = None) -> None:
        self.name = name
        self.file: Path = file
        self.trained = open_network(name, file, threads=torch.get_num_threads(), device=device, tiling=tiling,
                                    param_key=param_key)
        self.scale = self.trained.scale

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        assert lr is not None
        return self.trained.enlarge(lr, str(pair.lr))


def unique_names(files: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Tell methods of the same name apart by the folders in which their paths differ (`s16/net_g_latest`), else by all.

    Raises:
        EvaluationError: Folders do not tell them apart, for example where a file is given twice.
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
