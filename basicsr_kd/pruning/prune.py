"""Pruning a network to a budget."""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from basicsr_kd.pruning.budget import choose_widths
from basicsr_kd.pruning.cost import measure_convs, total_cost
from basicsr_kd.pruning.cut import cut_channels
from basicsr_kd.pruning.errors import PruningError
from basicsr_kd.pruning.groups import IMPORTANCES, find_groups
from basicsr_kd.pruning.growth import build, growth_convs, network_options, with_growths
from basicsr_kd.pruning.result import PruneResult


def prune_network(net: nn.Module,
                  *,
                  ratio: float,
                  of: str = 'params',
                  layout: str = 'growth',
                  allocation: str = 'global',
                  importance: str = 'l2',
                  round_to: int = 16) -> PruneResult:
    """Make a smaller network out of the most important channels of a trained one.

    The result computes what the original does with the dropped channels' weights and biases set to zero. The
    original is not touched, nor is torch's random state; gradients need not be on.

    Args:
        net: BasicSR's RRDBNet, SlimRRDBNet or PrunedRRDBNet with its weights.
        ratio: the share of parameters or MACs to take away, 0 <= ratio < 1.
        of: what the ratio counts, 'params' or 'macs'.
        layout: which channels may go; 'growth' takes growth channels of the dense blocks, down to 0.
        allocation: 'global' lets every layer keep its own width, 'uniform' gives all the same.
        importance: 'l1', 'l2' (magnitude of all weights of a channel, coming in and going out) or 'random'.
        round_to: widths are multiples of it. 16 suits CPUs and GPUs; others save parameters but hardly any time.

    Returns:
        The pruned network, what was kept, and the counts before and after.

    Raises:
        PruningError: an option is none of the above, the network is not supported, has no or broken weights, or the
            budget cannot be reached.
    """
    check_prune(net, ratio=ratio, of=of, layout=layout, allocation=allocation, importance=importance,
                round_to=round_to)
    state = _weights(net)
    options = network_options(net)
    convs = measure_convs(build(options), options['num_in_ch'])
    roots = [conv for conv in growth_convs(options['num_block']) if conv in convs]
    with torch.inference_mode(False):
        # 8 x 8 is enough to see what is connected to what, also after a pixel-unshuffle by 4.
        example = torch.zeros(1, options['num_in_ch'], 8, 8, device='cpu')
        groups = find_groups(build(options, state), example, roots, importance)
        target = (1 - ratio) * total_cost(convs, of)
        widths = choose_widths(groups, convs, target=target, of=of, allocation=allocation, round_to=round_to)
        kept = {group.root: group.kept(width) for group, width in zip(groups, widths, strict=True)}
        pruned = with_growths(options, [len(kept.get(conv, [])) for conv in growth_convs(options['num_block'])])
        network = build(pruned, cut_channels(state, groups, kept)).train(net.training)
    convs_after = measure_convs(build(pruned), options['num_in_ch'])
    return PruneResult(
        network=network,
        kept=kept,
        widths_before={root: convs[root].outputs for root in roots},
        params_before=total_cost(convs, 'params'),
        params_after=total_cost(convs_after, 'params'),
        macs_before=total_cost(convs, 'macs'),
        macs_after=total_cost(convs_after, 'macs'),
        target=target,
        request=f'ratio {ratio} of {of}, layout {layout}, allocation {allocation}, importance {importance}, '
                f'round_to {round_to}',
        of=of)


def check_prune(net: nn.Module, *, ratio: float, of: str = 'params', layout: str = 'growth',
                allocation: str = 'global', importance: str = 'l2', round_to: int = 16) -> None:
    """Refuse what :func:`prune_network` would refuse, from shapes alone: ``net`` may be on the meta device.

    Raises:
        PruningError: see :func:`prune_network`.
    """
    _check_choice('layout', layout, ('growth',))
    _check_choice('of', of, ('params', 'macs'))
    _check_choice('allocation', allocation, ('uniform', 'global'))
    _check_choice('importance', importance, tuple(IMPORTANCES))
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio < 1:
        raise PruningError(f'prune: ratio is {ratio!r}. Expected a number from 0 to less than 1: the share to take '
                           'away.')
    if isinstance(round_to, bool) or not isinstance(round_to, int) or round_to < 1:
        raise PruningError(f'prune: round_to is {round_to!r}. Expected a whole number of at least 1, such as 16, 8, '
                           '4 or 1.')
    options = network_options(net)
    full, least = (total_cost(measure_convs(build(with_growths(options, growths)), options['num_in_ch']), of)
                   for growths in (options['num_grow_ch'], [0] * len(options['num_grow_ch'])))
    if (1 - ratio) * full < least:
        most = math.floor(1000 * (1 - least / full)) / 1000
        raise PruningError(f'prune: ratio {ratio} would leave {round((1 - ratio) * full):,} of {full:,} {of}, but '
                           f'layout {layout} reaches from {full:,} down to {least:,} (all growth channels gone). '
                           f'Expected a ratio from 0 to {most}.')


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PruningError(f'prune: {option} is {value!r}. Expected one of: {", ".join(choices)}.')


def _weights(net: nn.Module) -> dict[str, Tensor]:
    """The network's tensors, copied as float32 to the CPU."""
    if any(tensor.is_meta for tensor in net.state_dict().values()):
        raise PruningError(f'{type(net).__name__} is on the meta device and has no weights. Load its checkpoint first.')
    with torch.inference_mode(False):  # tensors made in inference mode cannot be traced, their clones can
        state = {name: tensor.detach().clone().cpu().float() for name, tensor in net.state_dict().items()}
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise PruningError(f'{type(net).__name__} has values that are not finite (NaN or infinity), first in '
                           f'{broken[0]}. Use an earlier checkpoint: this one has diverged.')
    return state
