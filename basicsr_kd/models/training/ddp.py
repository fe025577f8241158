"""The networks of a distributed run: DistributedDataParallel on GPUs and on a CPU, and BatchNorm of D over ranks."""
from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def wrap(net: nn.Module, device: torch.device, opt: dict[str, Any]) -> nn.Module:
    """A network whose gradients are the mean over all ranks; in a run of one process the network as it is.

    All ranks start with the weights and buffers of rank 0. From then on each rank has its own buffers: the
    discriminator runs more than once before a backward pass, and DDP's broadcast at every pass would overwrite what
    cuDNN's BatchNorm has kept for that backward pass (BasicSR's ESRGANModel mentions the error). `share_buffers` is
    called between iterations instead.

    Args:
        net: A network on `device`.
        device: A CPU, or the GPU that is the current one.
        opt: The run's options; read are `dist` and BasicSR's `find_unused_parameters`.
    """
    if not opt['dist']:
        return net
    wrapped = DistributedDataParallel(net, device_ids=[torch.cuda.current_device()] if device.type == 'cuda' else None,
                                      find_unused_parameters=opt.get('find_unused_parameters', False))
    wrapped.broadcast_buffers = False  # deprecated as an argument, which would also skip buffers at the start
    return wrapped


def with_sync_bn(net: nn.Module, opt: dict[str, Any]) -> nn.Module:
    """The discriminator, with `train.sync_bn` so changed that its BatchNorm takes statistics over all ranks.

    To be called before anything registers hooks, since the layers are replaced; their weights and keys stay.
    """
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if opt['dist'] and opt['train']['sync_bn'] else net


def share_buffers(net: nn.Module, opt: dict[str, Any]) -> None:
    """With `train.broadcast_buffers`, give all ranks the buffers of rank 0 (running statistics).

    To be called while no backward pass is pending.
    """
    if opt['dist'] and opt['train']['broadcast_buffers']:
        for buffer in net.buffers():
            dist.broadcast(buffer, 0)
