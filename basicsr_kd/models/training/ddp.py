"""The networks of a distributed run: DistributedDataParallel on GPUs and on a CPU, what D's BatchNorm shares."""
from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def wrap(net: nn.Module, device: torch.device, opt: dict[str, Any]) -> nn.Module:
    """A network whose gradients are the mean over all ranks; in a run of one process the network as it is.

    All ranks start with the weights and buffers of rank 0. From then on buffers are each rank's own: the discriminator
    runs more than once before a backward pass, and a broadcast at every pass, as DDP has it, overwrites what cuDNN's
    BatchNorm has kept for that (BasicSR's ESRGANModel tells of the error). `share_buffers` comes between iterations.

    Args:
        net: On `device`.
        device: A CPU, or the GPU that is the current one.
        opt: The run's options; read are `dist` and BasicSR's `find_unused_parameters`.
    """
    if not opt['dist']:
        return net
    wrapped = DistributedDataParallel(net, device_ids=[torch.cuda.current_device()] if device.type == 'cuda' else None,
                                      find_unused_parameters=opt.get('find_unused_parameters', False))
    wrapped.broadcast_buffers = False  # as an argument it is deprecated, and would leave buffers out at the start too
    return wrapped


def with_sync_bn(net: nn.Module, opt: dict[str, Any]) -> nn.Module:
    """A discriminator whose BatchNorm takes its statistics over all ranks, where `train.sync_bn` asks for that.

    Comes before anything that registers hooks, since the layers are replaced; their weights and keys stay.
    """
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if opt['dist'] and opt['train']['sync_bn'] else net


def share_buffers(net: nn.Module, opt: dict[str, Any]) -> None:
    """Give all ranks the buffers of rank 0 (running statistics), where `train.broadcast_buffers` asks for that.

    To be called while no backward pass is due.
    """
    if opt['dist'] and opt['train']['broadcast_buffers']:
        for buffer in net.buffers():
            dist.broadcast(buffer, 0)
