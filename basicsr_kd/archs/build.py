"""Building networks from BasicSR's options, and comparing them with a state dict."""
from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from basicsr_kd.errors import CheckpointError
from basicsr_kd.utils.text import closest

_Result = TypeVar('_Result')


def build(options: Mapping[str, Any]) -> nn.Module:
    """Build a network from its options, `{'type': name in ARCH_REGISTRY, argument: value, …}`.

    BasicSR's `build_network` is not used: it opens the logger, which must wait for the folder of its file, and its
    errors name neither what is wrong nor what is possible.

    Raises:
        ValueError: No type or an unknown one, an argument that is unknown or missing, or one that the network refuses.
        CheckpointError: A file that the options name (`like:`) cannot be used.
    """
    if not isinstance(options, Mapping) or not isinstance(options.get('type'), str):
        raise ValueError(f'found {options!r}; expected the options of a network, {{type: …}} and its arguments')
    name = options['type']
    arch = registered(name, ARCH_REGISTRY)
    if arch is None:
        raise ValueError(f'there is no network type {name!r}; {closest(name, ARCH_REGISTRY.keys())}')
    arguments = {argument: copy.deepcopy(value) for argument, value in options.items() if argument != 'type'}
    try:
        inspect.signature(arch).bind(**arguments)
        return arch(**arguments)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a network's own code raises
        raise ValueError(f'{name} cannot be built with these options: {error}') from error


def build_for_shapes(options: Mapping[str, Any]) -> nn.Module:
    """Build a network, as `build` does, for its shapes: without memory if possible; torch's random state is unchanged.

    Raises:
        ValueError, CheckpointError: As in `build`.
    """

    return for_shapes(lambda device: build(options))


def for_shapes(work: Callable[[str], _Result]) -> _Result:
    """Do work that needs only shapes: on the meta device, or on the CPU if that fails.

    Args:
        work: Takes the device's name; the device is the default device meanwhile. Torch's random state is unchanged.
    """

    def on(device: str) -> _Result:
        with torch.random.fork_rng(devices=[]), torch.device(device), torch.no_grad():
            return work(device)

    try:
        return on('meta')
    except Exception:  # a fault in the options, or a network that looks at values while it is built (SwinIR)
        return on('cpu')


def registered(name: Any, registry: Any) -> Any | None:
    """The entry of a registry (one of BasicSR's, or a dict) with a name, perhaps under `<name>_basicsr`; else None."""
    return next((registry.get(known) for known in (name, f'{name}_basicsr') if known in registry), None)


def differences(net: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Where a state dict does not fit a network, in words, first to last; empty if it loads strictly and unchanged."""
    numbers = [f'{name} is of {state[name].dtype} in the file, {tensor.dtype} in the network'
               for name, tensor in net.state_dict().items() if isinstance(tensor, Tensor) and
               tensor.is_floating_point() and name in state and not state[name].is_floating_point()]
    own = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items() if isinstance(tensor, Tensor)}
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items()}
    return numbers + [
        f'{name} is {theirs.get(name, "missing")} in the file, {own.get(name, "missing")} in the network'
        for name in dict.fromkeys((*own, *theirs)) if own.get(name) != theirs.get(name)]
