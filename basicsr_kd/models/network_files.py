"""Networks that must be files before BasicSR builds any: it builds `network_g` twice and loads both from a file."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from basicsr.utils import get_root_logger
from torch import nn

from basicsr_kd.archs.from_file import write_network_file
from basicsr_kd.prune_options import PruneOptions
from basicsr_kd.pruning import Cut, needs_calibration, prune
from basicsr_kd.run_calibration import calibration_images

_Result = TypeVar('_Result')


def prune_to_file(net: nn.Module, steps: Sequence[PruneOptions], target: str, network: dict[str, Any],
                  opt: dict[str, Any]) -> list[Cut]:
    """Prune a network by each step in turn, say in the log what became of it, and write it to `target`.

    Args:
        net: The network, on any device; it stays as it is.
        steps: The steps.
        target: The file; a `.yml` with the options of what it holds is put beside it.
        network: BasicSR's options of the network before any pruning.
        opt: The run's options, which name the calibration images.

    Returns:
        What each step did to the tensors.

    Raises:
        PruningError: It cannot be pruned that way or that far, or the calibration images cannot be read.
    """
    cuts = []
    for step in steps:
        looks = needs_calibration(**step.looks())
        get_root_logger().info(f'Pruning {type(net).__name__}' +
                               ('. Looking at the calibration images takes minutes on a CPU.' if looks else '.'))
        images = calibration_images(net, step.calibration, opt) if looks else None
        report = prune(net, **step.arguments(), calibration=images, progress=sys.stderr.isatty())  # not into log files
        get_root_logger().info(report.table())
        cuts.append(report.cut)
        net = report.network
    write_network_file(target, net.state_dict(), network)
    return cuts


def on_master_first(action: Callable[[], _Result]) -> _Result:
    """Run `action` on rank 0 while the others wait, and give all of them its result.

    Rank 0 has all the machine's cores for it: torchrun gives each process one thread, and the wait has a time limit.
    """
    distributed = dist.is_available() and dist.is_initialized()
    if not distributed:
        return action()
    result: list[Any] = [None]
    if dist.get_rank() == 0:
        threads = torch.get_num_threads()
        torch.set_num_threads(os.cpu_count() or threads)
        try:
            result = [action()]
        finally:
            torch.set_num_threads(threads)
    dist.broadcast_object_list(result)
    return result[0]


def run_file(opt: dict[str, Any], name: str) -> str:
    """The path of a file that belongs to this run, beside its checkpoints."""
    return os.path.join(opt['path']['models'], name)
