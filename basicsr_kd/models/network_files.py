"""Networks that must be files before BasicSR builds any: it builds `network_g` twice and loads both from a file."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch.distributed as dist
from basicsr.utils import get_root_logger
from torch import nn

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.options import PruneOptions
from basicsr_kd.pruning import prune_network


def prune_to_file(net: nn.Module, steps: Sequence[PruneOptions], target: str) -> None:
    """Prune a network by each step in turn, say in the log what became of it, and write it to `target`."""
    for step in steps:
        result = prune_network(net, **msgspec.structs.asdict(step))
        get_root_logger().info(result.table())
        net = result.network
    write_checkpoint(target, net.state_dict())


def on_master_first(write: Callable[[], None]) -> None:
    """Run `write` on rank 0 while the others wait."""
    distributed = dist.is_available() and dist.is_initialized()
    if not distributed or dist.get_rank() == 0:
        write()
    if distributed:
        dist.barrier()


def run_file(opt: dict[str, Any], name: str) -> str:
    """The path of a file that belongs to this run, beside its checkpoints."""
    return os.path.join(opt['path']['models'], name)
