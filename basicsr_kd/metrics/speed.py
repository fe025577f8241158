"""How fast networks are on this device, and how much memory they take: measured, not counted."""
from __future__ import annotations

import ctypes
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from basicsr_kd.utils.measured import Device, Speed
from basicsr_kd.utils.modes import HALF

WARM_UP = 2  # turns that do not count
LEAST_TURNS = 3  # that count, however long they take: quartiles of fewer would say nothing

Failures = dict[tuple[str, str], str]
"""By network and format the reason why it cannot run."""


def device_info(device: str | torch.device) -> Device:
    """What measured figures hold for."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else _cpu_name()
    return Device(name, device.type, torch.get_num_threads(), str(torch.__version__))


def measure_speed(networks: Mapping[str, nn.Module], lr_size: tuple[int, int], formats: Sequence[str],
                  device: str | torch.device, turns: int = 10, budget: float = 30.0,
                  progress: bool = False) -> tuple[dict[str, dict[str, Speed]], Failures]:
    """Time networks on one image, and measure their memory; see `forward_times`.

    Args:
        networks: Each takes (1, 3, h, w). They are moved to the device and put into evaluation mode.
        lr_size: (height, width) of the input.
        formats: Of 'fp32', 'bf16' and 'fp16': `utils.modes.fast_formats`.
        device: Where to run.
        turns: How often each network runs in each format.
        budget: Seconds after which no new turn starts, once there are three.
        progress: Whether to show a bar.

    Returns:
        Speed by network and format, and where a network cannot run in a format (an operation without it, memory), why.
    """
    image = torch.rand(1, 3, *lr_size, generator=torch.Generator().manual_seed(0)).to(device)
    result: dict[str, dict[str, Speed]] = {name: {} for name in networks}
    taken, failures = forward_times(networks, image, formats, turns, budget, progress)
    for (name, kind), times in taken.items():
        low, median, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
        try:
            peak = _peak_bytes(networks[name], image, kind)
        except Exception as error:  # as below; it did run before, so memory has become short
            failures[name, kind] = _reason(error)
            continue
        result[name][kind] = Speed(seconds=(low, median, high), peak_bytes=peak, lr_size=lr_size, turns=len(times))
    return result, failures


def forward_times(networks: Mapping[str, nn.Module], image: torch.Tensor, formats: Sequence[str], turns: int,
                  budget: float = math.inf,
                  progress: bool = False) -> tuple[dict[tuple[str, str], list[float]], Failures]:
    """Seconds of forward passes. Networks take turns in all formats, so that a slow moment meets each of them.

    Channels lie last in memory, which is faster on CPUs and GPUs. fp32 is what PyTorch's settings make of it: on NVIDIA
    GPUs convolutions round to TF32 by default. bf16 and fp16 are autocast, which leaves the weights in fp32.

    Args:
        networks: They are moved to the image's device and put into evaluation mode.
        image: (n, c, h, w).
        formats: As in `measure_speed`.
        turns: As in `measure_speed`; two more go before as a warm-up.
        budget: As in `measure_speed`.
        progress: As in `measure_speed`.

    Returns:
        By network and format the time of each turn, and why a network cannot run in a format, which has no times then.
    """
    image = image.to(memory_format=torch.channels_last)
    for net in networks.values():
        net.to(image.device).to(memory_format=torch.channels_last).eval()
    taken: dict[tuple[str, str], list[float]] = {(name, kind): [] for kind in formats for name in networks}
    failures: Failures = {}
    started = time.perf_counter()
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True  # as BasicSR has it
    try:
        for turn in tqdm(range(-WARM_UP, turns), desc='timing', disable=not progress,
                         bar_format='{desc} {bar} {n_fmt}/{total_fmt} {elapsed}'):
            if turn >= LEAST_TURNS and time.perf_counter() - started > budget:
                break
            runs = list(taken)
            for position in range(len(runs)):  # each turn starts with another
                name, kind = runs[(turn + position) % len(runs)]
                try:
                    seconds = _seconds(networks[name], image, kind)
                except Exception as error:  # whatever the network's own code raises
                    failures[name, kind] = _reason(error)
                    del taken[name, kind]
                    continue
                if turn >= 0:
                    taken[name, kind].append(seconds)
    finally:
        torch.backends.cudnn.benchmark = benchmark
    return taken, failures


def _reason(error: Exception) -> str:
    """What went wrong, in one line; PyTorch has the stack behind it."""
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


def _precision(device: torch.device, kind: str) -> AbstractContextManager:
    return nullcontext() if kind == 'fp32' else torch.autocast(device.type, dtype=HALF[kind])


@torch.inference_mode()
def _seconds(net: nn.Module, image: torch.Tensor, kind: str) -> float:
    synchronize = torch.cuda.synchronize if image.is_cuda else lambda: None
    with _precision(image.device, kind):
        synchronize()
        start = time.perf_counter()
        net(image)
        synchronize()
        return time.perf_counter() - start


@torch.inference_mode()
def _peak_bytes(net: nn.Module, image: torch.Tensor, kind: str) -> int | None:
    image = image.to(memory_format=torch.channels_last)
    def run() -> None:
        with _precision(image.device, kind):
            net(image)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    if image.is_cuda:
        torch.cuda.reset_peak_memory_stats(image.device)
        before = torch.cuda.memory_allocated(image.device)
        run()
        return torch.cuda.max_memory_allocated(image.device) - before + weights
    grown = _growth_of_process(run) if image.device.type == 'cpu' else None
    return None if grown is None else grown + weights


def _growth_of_process(run: Callable[[], None]) -> int | None:
    """Bytes by which this process's memory grew at most while `run` ran; None outside of Linux and where it is barred.

    Linux keeps the peak (VmHWM), and a 5 written into clear_refs sets it back to what is in use. Free memory that the
    allocator has not given back would be used unseen, so it is asked to give it back; in a process that has run long it
    may hold on to some, and the figure is too small then.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')
    except (OSError, AttributeError, TypeError):  # no Linux, no GNU C library, a kernel or container without the file
        return None
    before = _status('VmRSS')
    run()
    return _status('VmHWM') - before


def _status(entry: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{entry}:'))


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    names = [line.partition(': ')[2] for line in info.read_text().splitlines()
             if line.startswith('model name')] if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
