"""The interface of programs that run a network on arrays, and PyTorch as one of them."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_kd.utils.memory import free_memory
from basicsr_kd.utils.modes import HALF


class Runner(ABC):
    """A network that a runtime holds ready.

    It takes float32 arrays, as a rule one (n, c, h, w), RGB in [0, 1], and gives one (n, c', scale·h, scale·w), about
    [0, 1] but not clamped. FRNet takes three: see its `step`.
    """

    name: str
    """The runtime's name with its version."""
    precision: str
    """The number format that it computes in: fp32, bf16, fp16 or int8."""
    inputs: int = 1
    """How many arrays it takes."""
    told: Mapping[str, str] = {}
    """What the file says about the network: 'scale' and 'multiple', if this package wrote it."""

    @abstractmethod
    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        ...

    def memory(self, pixels: int) -> int:
        """Bytes that a run takes at least, for so many pixels of input; 0: unknown."""
        return 0

    def free_memory(self) -> float:
        """Free bytes on the device where it runs."""
        return free_memory()


class Torch(Runner):
    """A network in PyTorch.

    Args:
        net: The network in evaluation mode; it is moved to `device`, and its weights into the order of channels.
        device: Where it runs.
        precision: 'bf16' or 'fp16' by autocast; 'fp32': as PyTorch is set around the call.
        channels_last: Whether channels lie last in memory, which is faster; people's scripts do not do it.
        threads: Number of threads on a CPU; None: PyTorch's setting.
        side: Side of an image that the network can take, on which memory is measured.
        channels: Number of channels of its input.
    """

    def __init__(self, net: nn.Module, device: str | torch.device = 'cpu', precision: str = 'fp32',
                 channels_last: bool = True, threads: int | None = None, side: int = 64,
                 channels: int = 3) -> None:
        self.name, self.precision = f'PyTorch {torch.__version__.partition("+")[0]}', precision
        self._device, self._threads = torch.device(device), threads
        self._trial = 1, channels, side, side
        self._format: Any = torch.channels_last if channels_last else torch.contiguous_format
        self._net = net.eval().to(self._device).to(memory_format=self._format)

    @torch.inference_mode()
    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        half = HALF.get(self.precision)
        torch.set_num_threads(self._threads or before)
        try:
            with torch.autocast(self._device.type, half) if half else nullcontext():
                output = self._net(*(torch.from_numpy(array).to(self._device, memory_format=self._format)
                                     for array in arrays))
            return output.float().contiguous().cpu().numpy()
        finally:
            torch.set_num_threads(before)

    def memory(self, pixels: int) -> int:
        """Bytes of the largest convolution's input and output, which are in memory at once; nothing else is counted."""
        return self._per_pixel * pixels

    @cached_property
    def _per_pixel(self) -> int:
        """These bytes for each pixel of the network's input, found by a run on a trial image."""
        sizes = [0]

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, output)))

        layers = [module for module in self._net.modules() if isinstance(module, nn.Conv2d)]
        hooks = [layer.register_forward_hook(note) for layer in layers]
        try:
            self(np.zeros(self._trial, np.float32))
        finally:
            for hook in hooks:
                hook.remove()
        return max(sizes) // self._trial[-1]**2

    def free_memory(self) -> float:
        if self._device.type == 'cuda':
            reserved = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
            return torch.cuda.mem_get_info(self._device)[0] + reserved
        return free_memory()
