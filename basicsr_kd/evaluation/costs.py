"""What networks cost: size, operations, time and memory, as a JSON file holds them."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from basicsr_kd.evaluation.methods import Network
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.metrics.speed import Speed, measure_speed


def network_costs(networks: Mapping[str, Network], lr_size: int, formats: Sequence[str], device: str | torch.device,
                  warnings: list[str], progress: bool = False) -> dict[str, dict[str, Any]]:
    """Count and time networks; of one that goes from frame to frame, one step.

    Args:
        networks: By the name of their method.
        lr_size: Side of the LR image that costs are stated for.
        formats: Number formats in which they are timed, none: no timing.
        device: Where they are timed.
        warnings: What cannot be had is told here, and left out: the scores hold without.
        progress: Whether to show a bar.

    Returns:
        `complexity` (None where it cannot be had) and `speed` by format, of each network.
    """
    speeds: dict[str, dict[str, Speed]] = {}
    if networks and formats:
        try:
            speeds, failures = measure_speed({name: network.net for name, network in networks.items()},
                                             (lr_size, lr_size), formats, device, progress=progress)
            warnings += [f'{name}: it cannot be timed in {kind} at {lr_size}x{lr_size}: {reason}'
                         for (name, kind), reason in failures.items()]
        except Exception as error:  # no memory for the image; whatever a device raises
            warnings.append(f'Nothing can be timed at {lr_size}x{lr_size}: {error}')
    costs: dict[str, dict[str, Any]] = {}
    for name, network in networks.items():
        counted = None
        try:
            counted = {**dataclasses.asdict(complexity(network.net, (lr_size, lr_size))),
                       'file_bytes': network.file.stat().st_size, 'counter': 'mmengine'}
        except Exception as error:  # whatever tracing makes of the network's own code
            warnings.append(f'{name}: its operations cannot be counted: {error}')
        costs[name] = {'complexity': counted, 'speed': {kind: dataclasses.asdict(speed)
                                                        for kind, speed in speeds.get(name, {}).items()}}
    return costs
