"""The budget: how wide every channel group is to be, so that the whole costs what was asked for."""
from __future__ import annotations

from basicsr_kd.pruning.cost import Account, ConvCost
from basicsr_kd.pruning.global_search import GlobalSearch
from basicsr_kd.pruning.groups import ChannelGroup


def choose_widths(groups: list[ChannelGroup], convs: dict[str, ConvCost], *, target: float, of: str, allocation: str,
                  round_to: int) -> list[int]:
    """Choose the width of every group.

    ``uniform``: the same width for all (a group that is narrower already stays as it is), a multiple of ``round_to``
    or the full width, whichever costs nearest to the target.

    ``global``: step by step, a group drops to the next multiple of ``round_to`` (0 included), losing its least
    important channels. The step is the one that loses the least importance per parameter (or MAC) saved, as a
    knapsack is emptied. Importance has mean 1 in every group, so that what counts is how unequal the channels of a
    layer are, not how large its weights happen to be; and the saving is what the step saves *now*: where a dense
    block has lost channels already, the next ones read and feed fewer and save less, so cuts spread over the blocks
    and none is emptied early. When the cheapest step would overshoot, the one that lands nearest to the target (or
    none) ends the search. Small networks, whose steps all save about the same, may then still be off by more than
    0.5 %: single steps are taken back for others as long as that brings the cost nearer.

    Args:
        groups: the channel groups that may shrink.
        convs: every convolution of the network, by module path.
        target: the cost to reach; at least what is left with all groups at 0.
        of: 'params' or 'macs'.
        allocation: 'uniform' or 'global'.
        round_to: widths are multiples of it (or what they were).

    Returns:
        One width a group.
    """
    account = Account(convs, of)
    if allocation == 'uniform':
        return _choose_uniform(groups, account, target, round_to)
    search = GlobalSearch(groups, account, target, round_to)
    search.run()
    return search.widths


def _choose_uniform(groups: list[ChannelGroup], account: Account, target: float, round_to: int) -> list[int]:
    widths = [group.size for group in groups]
    largest = max(widths, default=0)
    best, best_miss = widths, abs(account.cost() - target)
    for width in sorted(range(0, largest, round_to), reverse=True):
        narrower = [min(group.size, width) for group in groups]
        for group, old, new in zip(groups, widths, narrower, strict=True):
            account.drop(group, old - new)
        widths = narrower
        if (miss := abs(account.cost() - target)) < best_miss:
            best, best_miss = widths, miss
    return best
