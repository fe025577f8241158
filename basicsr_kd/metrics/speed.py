"""Measures how fast networks are on this device, and how much memory they take."""
from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import nn

from basicsr_kd.metrics.process_memory import growth_of_process
from basicsr_kd.metrics.timing import Call, quartiles, reason, time_in_turns
from basicsr_kd.utils.measured import Device, Speed
from basicsr_kd.utils.modes import HALF

Failures = dict[tuple[str, str], str]
"""The reason why a network cannot run in a format, by network and format."""
Passes = Mapping[tuple[str, str], Call]
"""A call that runs a network once, by network and format."""


def device_info(device: str | torch.device) -> Device:
    """The device that measured figures hold for."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else _cpu_name()
    return Device(name, device.type, torch.get_num_threads(), str(torch.__version__))


def measure_speed(networks: Mapping[str, nn.Module], lr_size: tuple[int, int], formats: Sequence[str],
                  device: str | torch.device, turns: int = 10, budget: float = 30.0, progress: bool = False,
                  others: Passes | None = None) -> tuple[dict[str, dict[str, Speed]], Failures]:
    """Time networks on one image, and measure their memory; see `forward_times`.

    Args:
        networks: Networks that take (1, 3, h, w). They are moved to the device and put into evaluation mode.
        lr_size: (height, width) of the input.
        formats: Some of 'fp32', 'bf16' and 'fp16', as from `utils.modes.fast_formats`.
        device: Where to run.
        turns: How often each network runs in each format.
        budget: Seconds after which no new turn starts, once there are three.
        progress: Whether to show a bar.
        others: Networks that another program runs, on an image of `lr_size`; their memory is not measured.

    Returns:
        Speed by network and format, and why a network cannot run in a format (an operation lacks it, memory).
    """
    image = torch.rand(1, 3, *lr_size, generator=torch.Generator().manual_seed(0)).to(device)
    result: dict[str, dict[str, Speed]] = {name: {} for name in networks}
    taken, failures = forward_times(networks, image, formats, turns, budget, progress, others)
    for (name, kind), times in taken.items():
        try:
            peak = _peak_bytes(networks[name], image, kind) if name in networks else None
        except Exception as error:  # whatever the network raises; as it ran before, memory has become short
            failures[name, kind] = reason(error)
            continue
        result.setdefault(name, {})[kind] = Speed(seconds=quartiles(times), peak_bytes=peak, lr_size=lr_size,
                                                  turns=len(times))
    return result, failures


def forward_times(networks: Mapping[str, nn.Module], image: torch.Tensor, formats: Sequence[str], turns: int,
                  budget: float = math.inf, progress: bool = False,
                  others: Passes | None = None) -> tuple[dict[tuple[str, str], list[float]], Failures]:
    """Seconds of forward passes, with networks taking turns in all formats: see `time_in_turns`.

    Channels lie last in memory, which is faster on CPUs and GPUs. fp32 depends on PyTorch's settings: on NVIDIA GPUs
    convolutions round to TF32 by default. bf16 and fp16 are by autocast, which leaves the weights in fp32.

    Args:
        networks: They are moved to the image's device and put into evaluation mode.
        image: (n, c, h, w).
        formats: As in `measure_speed`.
        turns: As in `time_in_turns`.
        budget: As in `time_in_turns`.
        progress: As in `time_in_turns`.
        others: Networks that another program runs, timed along with these.

    Returns:
        The time of each turn by network and format, and the reason why a network cannot run in a format, which then has
        no times.
    """
    image = image.to(memory_format=torch.channels_last)
    for net in networks.values():
        net.to(image.device).to(memory_format=torch.channels_last).eval()
    passes: dict[tuple[str, str], Call] = {
        (name, kind): partial(forward_once, net, image, kind) for kind in formats for name, net in networks.items()}
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True  # as in BasicSR
    try:
        return time_in_turns({**passes, **(others or {})}, turns, budget, progress)
    finally:
        torch.backends.cudnn.benchmark = benchmark


@torch.inference_mode()
def forward_once(net: nn.Module, image: torch.Tensor, kind: str) -> None:
    """Run a network on an image, both on one device, in a format of `measure_speed`, and wait until it is done."""
    with _precision(image.device, kind):
        net(image)
        if image.is_cuda:
            torch.cuda.synchronize()


def _precision(device: torch.device, kind: str) -> AbstractContextManager:
    return nullcontext() if kind == 'fp32' else torch.autocast(device.type, dtype=HALF[kind])


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
    grown = growth_of_process(run) if image.device.type == 'cpu' else None
    return None if grown is None else grown + weights


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    names = [line.partition(': ')[2] for line in info.read_text().splitlines()
             if line.startswith('model name')] if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
