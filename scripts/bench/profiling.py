"""What a training step does besides its convolutions: casts between number formats, waits for the device, idle time."""
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from basicsr_kd.report import markdown_table
from bench.steps import WARM_UP

_CASTS = ('aten::_to_copy',)
_WAITS = {'cpu': ('aten::_local_scalar_dense',),
          'cuda': ('cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaEventSynchronize')}


def profile_step(run: Callable[[], None], device: str) -> dict[str, Any]:
    """Run a step once under PyTorch's profiler, after `WARM_UP` times without.

    Returns:
        `casts` and `waits`, how often; `cast_seconds` of the device; `busy`, the share of the time in which a GPU
        computes, None on a CPU; `seconds`, which the profiler makes more than they are.
    """
    cuda = device == 'cuda'
    for _ in range(WARM_UP):
        run()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as found:
        start = time.perf_counter()
        run()
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    events: Any = found.key_averages()
    casts = [event for event in events if event.key in _CASTS]
    return {
        'casts': sum(event.count for event in casts),
        'cast_seconds': sum(event.device_time_total if cuda else event.cpu_time_total for event in casts) / 1e6,
        # on a GPU without the one that ends the measurement
        'waits': sum(event.count for event in events if event.key in _WAITS[device]) - cuda,
        # of kernels alone: the operations that launched them are told the same time
        'busy': sum(event.self_device_time_total for event in events if event.device_type == DeviceType.CUDA and
                    not event.is_user_annotation) / 1e6 / seconds if cuda else None,
        'seconds': seconds}


def profile_table(profiles: dict[str, dict[str, Any]]) -> str:
    """A row a step, by its name."""
    return markdown_table(['profiled step', 'casts', 'ms of casts', 'waits', 'GPU busy'], [
        [name, str(found['casts']), f'{1000 * found["cast_seconds"]:.2f}', str(found['waits']),
         '-' if found['busy'] is None else f'{100 * found["busy"]:.0f} %'] for name, found in profiles.items()])
