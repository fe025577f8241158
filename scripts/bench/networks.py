"""The networks that bench_pruning.py compares, and what making them costs in seconds and memory."""
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import nn
from tqdm import tqdm

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.metrics.speed import device_info
from basicsr_kd.pruning import PruneReport, PruningError, prune

DEFAULT_LAYOUTS = ('growth', 'balanced')
DEFAULT_ROUND_TO = 16
COST_RATIO = 0.3
"""At which the pruning itself is measured."""

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Entry:
    """One network of the comparison; the unpruned one has no layout, and `blocks` no `round_to`."""

    name: str
    params: int
    mac_ratio: float = 1.0
    layout: str | None = None
    ratio: float = 0.0
    round_to: int | None = None

    @property
    def default(self) -> bool:
        """Whether pruning's defaults make it, so that its time should follow its MACs."""
        return self.layout in DEFAULT_LAYOUTS and self.round_to == DEFAULT_ROUND_TO


def load_network(weights: str | None) -> nn.Module:
    """The network of a file, or an RRDBNet of ESRGAN's size with random weights, every channel with its own scale.

    Raises:
        CheckpointError: the file cannot be used.
    """
    if weights is not None:
        return build_from_file(weights).eval()
    torch.manual_seed(0)
    net = RRDBNet(3, 3, num_feat=64, num_block=23, num_grow_ch=32)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() == 4:
                parameter.mul_(torch.rand(len(parameter), 1, 1, 1) * 2)
    return net.eval()


def pruned_networks(net: nn.Module, layouts: Sequence[str], ratios: Sequence[float],
                    steps: Sequence[int]) -> dict[Entry, nn.Module]:
    """The unpruned network, first, and all that can be made of it; says which cannot."""
    networks = {Entry('unpruned', sum(parameter.numel() for parameter in net.parameters())): net}
    wanted = [(layout, ratio, step) for layout in layouts for ratio in ratios
              for step in (steps if layout != 'blocks' else [DEFAULT_ROUND_TO])]
    for layout, ratio, step in tqdm(wanted, desc='pruning'):
        name = f'{layout} {ratio}' + (f', round_to {step}' if layout != 'blocks' else '')
        try:
            report = _prune(net, layout, ratio, step)
        except PruningError as error:
            tqdm.write(f'{name} is left out: {error}')
            continue
        networks[Entry(name, report.params_after, report.macs_after / report.macs_before, layout, ratio,
                       step if layout != 'blocks' else None)] = report.network
    return networks


def pruning_costs(weights: str | None, layouts: Sequence[str]) -> list[dict[str, Any]]:
    """`cost_of_pruning` of each layout, one after another, in processes of their own."""
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(cost_of_pruning, (weights, layout)) for layout in tqdm(layouts, desc='cost of pruning')]


def cost_of_pruning(weights: str | None, layout: str) -> dict[str, Any]:
    """Seconds of one pruning with default widths, and this process's peak memory where the system tells."""
    net = load_network(weights)
    start = time.perf_counter()
    try:
        _prune(net, layout, COST_RATIO, DEFAULT_ROUND_TO)
    except PruningError as error:
        return {'layout': layout, 'refused': str(error)}
    seconds = time.perf_counter() - start
    return {'layout': layout, 'seconds': seconds, 'peak_gib': peak_memory()}


def peak_memory() -> float | None:
    """The most memory that this process had in use so far, in GiB; None where the system does not tell."""
    status = Path('/proc/self/status')  # not getrusage, in which a child starts with its parent's peak
    peak = [int(line.split()[1]) for line in status.read_text().splitlines()
            if line.startswith('VmHWM')] if status.exists() else []
    return peak[0] / 1024**2 if peak else None


def _prune(net: nn.Module, layout: str, ratio: float, round_to: int) -> PruneReport:
    """Without images: they would lead to another choice of channels, hardly to another speed."""
    return prune(net, layout=layout, ratio=ratio, round_to=round_to, importance='l2',
                 select='last' if layout == 'blocks' else 'least')


def machine(device: str) -> str:
    """What the figures hold for."""
    info = device_info(device)
    threads = f' ({torch.backends.cpu.get_cpu_capability()}), {info.threads} threads' if device == 'cpu' else ''
    return f'{info.name}{threads}, PyTorch {info.torch}'
