"""The width of every channel group, chosen so that the network's cost meets the budget."""
from __future__ import annotations

import math

from basicsr_kd.pruning.channels.global_search import PROMISED, GlobalSearch
from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.channels.layouts import Removable
from basicsr_kd.pruning.cost import Account


def choose_widths(removable: Removable, account: Account, *, budget: float, allocation: str,
                  round_to: int) -> dict[str, int]:
    """Choose the width of every group that a layout may take.

    The residual stream (layout `width`) has one width, a multiple of `round_to` or the full one, whichever costs
    nearest to the budget. Together with other groups (`balanced`) it gets the width nearest to the share whose square
    is the budget's share, and the others make up the rest; if they cannot, the next nearest width is tried.

    The other groups under `uniform`: the same width for all (a group that is narrower already stays as it is),
    whichever costs nearest to the budget.

    The other groups under `global`: step by step, a group drops to the next multiple of `round_to`, losing its
    least important channels. The step is the one that loses the least importance per parameter (or MAC) saved, as a
    knapsack is emptied. The saving is what the step saves *now*: where a dense block has lost channels already, the
    next ones read and feed fewer and save less, so cuts spread over the blocks and none is emptied early. When the
    cheapest step would overshoot, the one that lands nearest to the budget (or none) ends the search. Small networks,
    whose steps all save about the same, may then still be off by more than 0.5 %: single steps are taken back for
    others as long as that brings the cost nearer.

    Args:
        removable: The groups.
        account: The costs that the budget counts, with all widths unchanged.
        budget: The cost to reach; at least `least_cost`.
        allocation: 'uniform' or 'global'.
        round_to: Widths are multiples of this number (or unchanged).

    Returns:
        The width of each group, by its root.
    """
    if not removable.stream:
        return _choose_free(removable, account, budget, allocation, round_to)
    if not removable.free:
        return _choose_equal(removable.stream, account, budget, round_to, 1)
    share = math.sqrt(budget / account.cost()) * max(group.size for group in removable.stream)
    best: tuple[float, dict[str, int]] | None = None
    for width in sorted(_equal_widths(removable.stream, round_to, 1), key=lambda width: (abs(width - share), width)):
        shrunk = Account(account.costs, account.of)
        widths = {group.root: min(group.size, width) for group in removable.stream}
        for group in removable.stream:
            shrunk.drop(group, group.size - widths[group.root])
        widths.update(_choose_free(removable, shrunk, budget, allocation, round_to))
        miss = abs(shrunk.cost() - budget)
        if best is None or miss < best[0]:
            best = miss, widths
        if miss <= PROMISED * budget:
            break
    assert best is not None
    return best[1]


def _choose_free(removable: Removable, account: Account, budget: float, allocation: str,
                 round_to: int) -> dict[str, int]:
    """The widths of groups that may each have their own; the account has these widths afterwards."""
    if allocation == 'uniform':
        return _choose_equal(removable.free, account, budget, round_to, removable.least)
    search = GlobalSearch(removable.free, account, budget, round_to, removable.least)
    search.run()
    return {group.root: width for group, width in zip(removable.free, search.widths, strict=True)}


def least_cost(removable: Removable, account: Account, round_to: int) -> int:
    """The cost when every group has its least width; the account is unchanged afterwards."""
    least = [(group, group.size - min(_equal_widths([group], round_to, floor)))
             for groups, floor in ((removable.stream, 1), (removable.free, removable.least)) for group in groups]
    for group, channels in least:
        account.drop(group, channels)
    cost = account.cost()
    for group, channels in least:
        account.drop(group, -channels)
    return cost


def _equal_widths(groups: list[ChannelGroup], round_to: int, least: int) -> list[int]:
    """The widths that all groups can have in common: multiples of `round_to`, and the full width."""
    largest = max(group.size for group in groups)
    return [width for width in range(0, largest, round_to) if width >= least] + [largest]


def _choose_equal(groups: list[ChannelGroup], account: Account, budget: float, round_to: int,
                  least: int) -> dict[str, int]:
    """One width for all groups, the one that costs nearest to the budget; the account has it afterwards."""
    def set_widths(width: int) -> None:
        for group in groups:
            new = min(group.size, width)
            account.drop(group, widths[group.root] - new)
            widths[group.root] = new

    widths = {group.root: group.size for group in groups}
    misses: dict[int, float] = {}
    for width in reversed(_equal_widths(groups, round_to, least)):
        set_widths(width)
        misses[width] = abs(account.cost() - budget)
    set_widths(min(misses, key=lambda width: (misses[width], -width)))
    return widths
