"""What runs a network of images on arrays; another runtime takes the place of PyTorch by a class with these calls."""
from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_kd.utils.memory import free_memory


class Runner(Protocol):
    """Runs a network of images."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Enlarge images: (n, 3, h, w) float32, RGB in [0, 1], to (n, 3, scale·h, scale·w), not clamped."""

    def memory(self, pixels: int) -> int:
        """Bytes that it takes at least, while it runs, for so many pixels of its input."""

    def free_memory(self) -> float:
        """Bytes that are free where it runs."""


class TorchRunner:
    """Runs a network with PyTorch.

    Args:
        net: In evaluation mode, on its device.
        device: That device.
        side: Of a trial image.
    """

    def __init__(self, net: nn.Module, device: torch.device, side: int) -> None:
        self.net = net
        self.device = device
        self._side = side

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
        return self.net(tensor).float().cpu().numpy()

    def memory(self, pixels: int) -> int:
        """The input and the output of the largest convolution, which are in memory at once; the rest is not counted."""
        return self._per_pixel * pixels

    @cached_property
    def _per_pixel(self) -> int:
        """Of the input; found by a run on a trial image."""
        sizes = [0]

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, output)))

        layers = [module for module in self.net.modules() if isinstance(module, nn.Conv2d)]
        hooks = [layer.register_forward_hook(note) for layer in layers]
        try:
            self(np.zeros((1, 3, self._side, self._side), np.float32))
        finally:
            for hook in hooks:
                hook.remove()
        return max(sizes) // self._side**2

    def free_memory(self) -> float:
        if self.device.type == 'cuda':
            reserved = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
            return torch.cuda.mem_get_info(self.device)[0] + reserved
        return free_memory()
