"""What runs a network on arrays, in whatever program; and PyTorch as one of them."""
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

    Takes float32 arrays, as a rule one (n, c, h, w), RGB in [0, 1], and gives one (n, c', scale·h, scale·w), about
    [0, 1] but not clamped. FRNet takes three: see its `step`.
    """

    name: str
    """Of the runtime, with its version."""
    precision: str
    """In which it computes: fp32, bf16, fp16 or int8."""
    inputs: int = 1
    """How many arrays it takes."""
    told: Mapping[str, str] = {}
    """What its file says of the network: 'scale' and 'multiple', where this package wrote it."""

    @abstractmethod
    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        ...

    def memory(self, pixels: int) -> int:
        """Bytes that it takes at least, while it runs, for so many pixels of its input; 0: nobody knows."""
        return 0

    def free_memory(self) -> float:
        """Bytes that are free where it runs."""
        return free_memory()


class Torch(Runner):
    """PyTorch.

    Args:
        net: In evaluation mode; moved to `device`, and its weights into the order of channels.
        device: Where it runs.
        precision: By autocast 'bf16' or 'fp16'; 'fp32': as PyTorch is set around the call.
        channels_last: Whether channels lie last in memory, which is faster; people's scripts do without.
        threads: How many on a CPU; None: as PyTorch has it.
        side: Of an image that it can run, on which memory is measured.
        channels: Of its input.
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
        """The input and the output of the largest convolution, which are in memory at once; the rest is not counted."""
        return self._per_pixel * pixels

    @cached_property
    def _per_pixel(self) -> int:
        """Of the input; found by a run on a trial image."""
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
