"""Changing a network to the shapes of a state dict, as pruning leaves them."""
from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def resize_to(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network, in place, the shapes of a state dict of its pruned version.

    Parameters and buffers get the new shapes, torch's layers the new numbers (`in_channels`, `num_features`, …).
    Blocks are removed from the end of an `nn.Sequential` or `nn.ModuleList` if the state dict has none of their
    tensors: pruning renumbers those that stay. Names are otherwise the same before and after.

    The values of the state dict are not loaded: the kept part of a tensor has its old values (if a tensor grows, its
    values are repeated). Device (also meta), dtype and requires_grad stay. The network's optimizers must be made again.

    Args:
        net: The network before pruning; after an error it cannot be used any more.
        state: Tensors by name; only the shapes matter.

    Raises:
        ValueError: A tensor cannot fit: it is missing, unknown, of another rank or kernel size, or of a layer that
            cannot be resized; the text names the first.
    """
    _drop_surplus(net, state)
    own = {name: tensor for name, tensor in net.state_dict().items() if isinstance(tensor, Tensor)}
    for name in (*own, *state):
        if name not in state or name not in own:
            raise ValueError(f'{name} is missing in the {"file" if name in own else "network"}')
        if own[name].dim() != state[name].dim():
            raise ValueError(_mismatch(name, own[name], state[name]))
    theirs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        path, _, last = name.rpartition('.')
        theirs.setdefault(path, {})[last] = tensor
    for path, module in net.named_modules():
        _resize(module, theirs.get(path, {}), f'{path}.' if path else '')


def _drop_surplus(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Remove the blocks that the state dict no longer has."""
    there = {name[:dot.start()] for name in state for dot in re.finditer(r'\.', name)}
    for path, container in list(net.named_modules()):
        if not isinstance(container, (nn.Sequential, nn.ModuleList)) or any(
                isinstance(child, (nn.PixelShuffle, nn.Upsample)) for child in container):
            continue  # a shorter tail would mean another scale, not a pruned network
        prefix = f'{path}.' if path else ''
        names = list(container._modules)  # named_children() leaves out a module that occurs twice
        weighted = [name for name in names if container._modules[name].state_dict()]
        kept = [index for index, name in enumerate(names) if f'{prefix}{name}' in there]
        count = kept[-1] + 1 if kept else 0
        if not weighted or names.index(weighted[-1]) < count:
            continue
        # The end keeps its form: (conv, relu, conv, relu) becomes (conv, relu), (conv, relu, conv) becomes (conv).
        for _ in names[names.index(weighted[-1]) + 1:]:
            count += names[count] not in weighted
        for name in names[count:]:
            delattr(container, name)


def _resize(module: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Resize one module's own parameters and buffers, and its numbers of channels."""
    own = {**module._parameters, **module._buffers}
    tensors = {name: tensor for name, tensor in own.items() if tensor is not None}
    state = {name: tensor for name, tensor in state.items() if name in tensors}
    changed = {name: tensor for name, tensor in state.items() if tensors[name].shape != tensor.shape}
    if not changed:
        return
    first = next(iter(changed))
    mismatch = _mismatch(prefix + first, tensors[first], changed[first])
    size = _set_numbers(module, state.get('weight', changed[first]), mismatch)
    for name, tensor in state.items():
        if size is not None and name != 'weight' and tensor.dim() and tensor.shape != size:  # bias, running_mean, …
            raise ValueError(f'{_mismatch(prefix + name, tensors[name], tensor)}, which does not suit the weight')
    for name, tensor in changed.items():
        new = _resized(tensors[name], tensor.shape)
        setattr(module, name, nn.Parameter(new, tensors[name].requires_grad) if name in module._parameters else new)


def _set_numbers(module: nn.Module, weight: Tensor, mismatch: str) -> tuple[int, ...] | None:
    """Set the numbers of one of torch's layers by its new weight; returns the shape of its bias and statistics."""
    if isinstance(module, _ConvNd) and weight.dim() == module.weight.dim():
        if weight.shape[2:] != module.weight.shape[2:]:
            raise ValueError(mismatch)
        _set_channels(module, weight, mismatch)
        return (module.out_channels,)
    if isinstance(module, nn.Linear) and weight.dim() == 2:
        module.out_features, module.in_features = weight.shape
        return (module.out_features,)
    if isinstance(module, nn.PReLU):
        module.num_parameters = weight.numel()
    elif isinstance(module, _NormBase):
        module.num_features = weight.numel()
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = weight.numel()
        if module.num_channels % module.num_groups:
            raise ValueError(f'{mismatch}; it has {module.num_groups} groups')
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(weight.shape)
    elif type(module).__module__.startswith('torch.'):
        raise ValueError(f'{mismatch}; torch.nn.{type(module).__name__} cannot be resized')
    else:
        return None  # a module with its own parameters but without such numbers
    return tuple(weight.shape)


def _set_channels(conv: _ConvNd, weight: Tensor, mismatch: str) -> None:
    """Set the channels of a convolution: a depthwise one stays depthwise, another keeps its number of groups."""
    depthwise = conv.groups > 1 and conv.groups == conv.in_channels
    if isinstance(conv, _ConvTransposeNd):  # its weight is (inputs, outputs / groups, …)
        conv.groups = len(weight) if depthwise else conv.groups
        conv.in_channels, conv.out_channels = len(weight), weight.shape[1] * conv.groups
        whole = conv.in_channels % conv.groups == 0
    else:
        each = conv.out_channels // conv.groups
        whole = len(weight) % (each if depthwise else conv.groups) == 0 and not (depthwise and weight.shape[1] != 1)
        conv.groups = len(weight) // each if depthwise else conv.groups
        conv.in_channels, conv.out_channels = weight.shape[1] * conv.groups, len(weight)
    if not whole:
        raise ValueError(f'{mismatch}, which its groups do not divide')


def _resized(tensor: Tensor, shape: torch.Size) -> Tensor:
    tensor = tensor.detach()
    for dim, size in enumerate(shape):
        if size != tensor.shape[dim]:
            tensor = tensor.index_select(dim, torch.arange(size, device=tensor.device) % tensor.shape[dim])
    return tensor.clone()


def _mismatch(name: str, own: Tensor, theirs: Tensor) -> str:
    return f'{name} is {tuple(theirs.shape)} in the file, {tuple(own.shape)} in the network'
