"""What the networks of an evaluation cost: size, work, time and memory."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from msgspec.structs import replace
from torch import nn

from basicsr_kd.checkpoint import checkpoint_bytes
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.evaluation.methods import Network
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.metrics.speed import measure_speed
from basicsr_kd.metrics.timing import Call
from basicsr_kd.utils.measured import Complexity, Speed

Costs = Mapping[str, tuple[Complexity | None, dict[str, Speed]]]
"""By method: size and work (None where they cannot be counted), and speed by number format."""


def network_costs(networks: Mapping[str, Network], lr_size: int, formats: Sequence[str], device: str | torch.device,
                  warnings: list[str], progress: bool = False) -> Costs:
    """Count and time networks; a recurrent network (from frame to frame) is measured for one step.

    Networks that were written for a runtime are timed in it, but only if PyTorch's networks run on the CPU, too; their
    operations are not counted.

    Args:
        networks: The networks by method name.
        lr_size: Side of the LR image that costs are stated for.
        formats: Number formats in which PyTorch's networks are timed; empty: no timing.
        device: Where they are timed.
        warnings: If a cost cannot be measured, a sentence about it is appended here, and the cost stays None.
        progress: Whether to show a bar.
    """
    nets = {name: network.trained.net for name, network in networks.items()
            if isinstance(network.trained, TorchNetwork)}
    channels = {name: network.trained.channels for name, network in networks.items()
                if isinstance(network.trained, TorchNetwork)}
    speeds: dict[str, dict[str, Speed]] = {}
    if networks and formats:
        others = _others(networks, lr_size, device, warnings)
        try:
            given = {name: net if channels[name] == 3 else _OfFirst(net) for name, net in nets.items()}
            speeds, failures = measure_speed(given, (lr_size, lr_size), formats, device, progress=progress,
                                             others=others)
            warnings += [f'{name}: it cannot be timed in {kind} at {lr_size}x{lr_size}: {reason}'
                         for (name, kind), reason in failures.items()]
        except Exception as error:  # no memory for the image, or whatever else the device raises
            warnings.append(f'Nothing can be timed at {lr_size}x{lr_size}: {error}')
    counts: dict[str, Complexity] = {}
    for name, net in nets.items():
        try:
            counts[name] = replace(complexity(net, (lr_size, lr_size), channels[name]),
                                   file_bytes=checkpoint_bytes(networks[name].file))
        except Exception as error:  # whatever the network's own code raises when traced
            warnings.append(f'{name}: its operations cannot be counted: {error}')
    return {name: (counts.get(name), speeds.get(name, {})) for name in networks}


class _OfFirst(nn.Module):
    """A network of one channel that takes images of three: it gets the first."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images[:, :1])


def _others(networks: Mapping[str, Network], lr_size: int, device: str | torch.device,
            warnings: list[str]) -> dict[tuple[str, str], Call]:
    """Calls that run the networks of other runtimes once, by network and precision."""
    others: dict[tuple[str, str], Call] = {}
    for name, trained in ((name, network.trained) for name, network in networks.items()):
        if isinstance(trained, TorchNetwork):
            continue
        if torch.device(device).type == 'cpu':
            others[name, trained.run_net.precision] = partial(trained.run_net, *trained.sample((lr_size, lr_size)))
        else:
            warnings.append(f'{name} is not timed: {trained.run_net.name} runs on the CPU, the others on {device}.')
    return others
