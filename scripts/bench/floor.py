"""How long a training step must take at least: its floating-point operations over what the device does in a second."""
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from basicsr_kd.utils.modes import HALF

DTYPES = {'fp32': torch.float32, **HALF}
SIZES = {'cpu': 2048, 'cuda': 8192}
"""Of the matrices whose product gives the rate: large enough to be at the device's best."""
_REPEATS = 15


class FlopCounter(TorchDispatchMode):
    """Counts operations by number format, twice the multiply-accumulates; what is not compiled alone can be counted.

    PyTorch's FlopCounterMode has the same formulas, but follows modules by hooks that torch.autograd.grad refuses.

    Attributes:
        by_format: Operations of convolutions and matrix products, by the type of their first factor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_format: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            name = next(name for name, dtype in DTYPES.items() if dtype == args[0].dtype)
            self.by_format[name] += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        return out


def count_flops(run: Callable[[], None]) -> dict[str, int]:
    """Operations of one run by number format."""
    with FlopCounter() as counter:
        run()
    return dict(counter.by_format)


def matrix_rates(formats: Iterable[str], device: str) -> dict[str, float]:
    """Operations a second of a large matrix product in each format, the best of many.

    fp32 is what convolutions make of it: TF32 on NVIDIA GPUs unless PyTorch is told otherwise.
    """
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        return {name: _rate(DTYPES[name], device) for name in formats}
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def _rate(dtype: torch.dtype, device: str) -> float:
    size = SIZES[device]
    factor = torch.rand(size, size, device=device).to(dtype)
    factor @ factor
    return 2 * size**3 / min(seconds_of(lambda: factor @ factor, device) for _ in range(_REPEATS))


def floor(flops: Mapping[str, int], rates: Mapping[str, float]) -> float:
    """Seconds."""
    return sum(count / rates[name] for name, count in flops.items())


def seconds_of(run: Callable[[], Any], device: str) -> float:
    """Seconds of one run; on a GPU between two events on it."""
    if device == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
