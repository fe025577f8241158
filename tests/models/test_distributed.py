"""How networks are wrapped, in two processes (gloo, no GPU): weights, gradients and buffers; SyncBatchNorm."""
from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from basicsr.archs.discriminator_arch import VGGStyleDiscriminator
from helpers.warm import run_processes
from torch import nn

from basicsr_kd.models.training.acceleration import to_memory_format
from basicsr_kd.models.training.ddp import share_buffers, with_sync_bn, wrap
from basicsr_kd.options import validate
from basicsr_kd.options.train import TrainOptions
from basicsr_kd.runs.distributed import leave_process_group


def options(**train: bool) -> dict:
    defaults = {key: getattr(TrainOptions(), key) for key in ('broadcast_buffers', 'sync_bn')}
    return {'dist': True, 'train': {**defaults, **train}}


def of_rank(rank: int) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2))
    net[0].weight.data.fill_(1.0 + rank)
    net[1].running_mean.fill_(10.0 + rank)
    return net


def check_wrapped(rank: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # deprecated arguments
        net = wrap(of_rank(rank), torch.device('cpu'), options())
    assert net.module[0].weight.flatten().tolist() == [1.0, 1.0]
    assert net.module[1].running_mean.tolist() == [10.0, 10.0]

    image = torch.arange(8.0).reshape(2, 1, 2, 2) ** (1 + rank)
    (net(image).square().sum() + net(-image).sum()).backward()  # two passes before one backward pass
    means = [torch.empty(2) for _ in range(2)]
    dist.all_gather(means, net.module[1].running_mean)
    assert not torch.equal(*means)
    gradients = [torch.empty(2) for _ in range(2)]
    dist.all_gather(gradients, net.module[1].weight.grad)
    assert torch.equal(*gradients) and gradients[0].abs().min() > 0

    share_buffers(net, options())
    assert torch.equal(net.module[1].running_mean, means[rank])
    share_buffers(net, options(broadcast_buffers=True))
    assert torch.equal(net.module[1].running_mean, means[0])


def one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    check_wrapped(rank)
    dist.barrier()
    leave_process_group()


def test_wrapped_networks_in_two_processes(tmp_path):
    run_processes(one_of_two, (tmp_path,), 2)


def test_a_single_process_needs_no_wrapping():
    net = of_rank(0)
    assert wrap(net, torch.device('cpu'), {'dist': False}) is net
    assert with_sync_bn(net, {'dist': False, 'train': {'sync_bn': True}}) is net
    assert with_sync_bn(net, options()) is net


def test_sync_bn_keeps_keys_weights_and_the_memory_format():
    net = VGGStyleDiscriminator(3, 4)
    keys, weight = list(net.state_dict()), net.bn4_1.weight
    net = to_memory_format(with_sync_bn(net, options(sync_bn=True)), torch.channels_last)
    assert list(net.state_dict()) == keys and net.bn4_1.weight is weight
    assert not any(type(module) is nn.BatchNorm2d for module in net.modules())
    assert isinstance(net.bn4_1, nn.SyncBatchNorm) and net.bn4_1._forward_hooks


def test_sync_bn_on_a_cpu_is_refused(kd_opt):
    kd_opt['train']['sync_bn'] = True
    with pytest.raises(ValueError, match='train.sync_bn: PyTorch has SyncBatchNorm on GPUs only'):
        validate(kd_opt, True)
