"""Building a working network from the tensors that are left, and the proof that it works."""
from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.archs.probe import input_channels
from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedRRDBNet
from basicsr_kd.archs.resize import resize_to
from basicsr_kd.archs.rrdbnet_numbers import rrdbnet_options
from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.channels.groups import ChannelGroup

_TOLERANCE = 1e-6  # share of the output's largest value; in float64 the order of a sum matters far less


def rebuild(net: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """The network that a cut leaves of `net`, with the tensors of `state` (not copied)."""
    pruned: nn.Module
    if isinstance(net, RRDBNet):
        options = rrdbnet_options(dict(state))
        if options is None:
            raise PruningError(f'{type(net).__name__} has other layers than an RRDBNet, so what is left cannot be '
                               'built. Expected RRDBNet, SlimRRDBNet or PrunedRRDBNet.')
        del options['type']
        options.update(scale=net.scale, num_in_ch=input_channels(net))  # the tensors alone do not settle these
        with torch.device('meta'):  # draws no random numbers and fills no memory
            pruned = PrunedRRDBNet(**options)
    else:
        pruned = copy.deepcopy(net)
        resize_to(pruned, dict(state))
    pruned.load_state_dict(state, assign=True)
    return pruned.requires_grad_(True)


def must_agree(net: nn.Module, pruned: nn.Module, groups: Sequence[ChannelGroup], kept: Mapping[str, list[int]],
               example: Tensor) -> None:
    """Check a pruned network against the original whose dropped channels write nothing but zeros.

    Raises:
        PruningError: Their outputs differ, such as if a dropped channel's zeros do not stay zeros (a sigmoid).
    """
    masked, pruned = (copy.deepcopy(network).double().eval() for network in (net, pruned))
    tensors = {**dict(masked.named_parameters()), **dict(masked.named_buffers())}
    with torch.no_grad():
        for group in groups:
            gone = sorted(set(range(group.size)) - set(kept[group.root]))
            for part in group.slices:
                module, _, name = part.tensor.rpartition('.')
                if module in group.producers or tensors[part.tensor].dim() == 1 and not name.startswith('running'):
                    index = torch.tensor([part.index[channel] for channel in gone], dtype=torch.long)
                    if part.dim == (0 if tensors[part.tensor].dim() == 1 else _output_dim(net, module)):
                        tensors[part.tensor].index_fill_(part.dim, index, 0)
        image = torch.rand(example.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        expected = masked(image)
        try:
            found = pruned(image)
        except RuntimeError as error:
            raise PruningError(f'{type(net).__name__} does not run any more after pruning: {error}. Expected a network '
                               'whose channel counts are those of its modules.') from None
    if found.shape != expected.shape or (found - expected).abs().max() > _TOLERANCE * expected.abs().max():
        raise PruningError(f'{type(net).__name__} cannot be pruned in this layout. Without the removed channels it '
                           'gives another output than with zeros in them. Expected operations between convolutions '
                           'that turn zeros into zeros and do not mix channels.')


def _output_dim(net: nn.Module, module: str) -> int:
    return int(isinstance(net.get_submodule(module), nn.ConvTranspose2d))
