"""The budget: how wide every channel group is to be, so that the whole costs what was asked for."""
from __future__ import annotations

import math

from basicsr_kd.pruning.cost import Account
from basicsr_kd.pruning.global_search import GlobalSearch
from basicsr_kd.pruning.groups import ChannelGroup
from basicsr_kd.pruning.layouts import Room


def choose_widths(room: Room, account: Account, *, budget: float, allocation: str, round_to: int) -> dict[str, int]:
    """Choose the width of every group that a layout may take.

    The residual stream (layout ``width``) has one width, a multiple of ``round_to`` or the full one, whichever costs
    nearest to the budget. Together with other groups (``balanced``) it gets the share of its width whose square is the
    budget's share, and the others make up the rest.

    The other groups under ``uniform``: the same width for all (a group that is narrower already stays as it is),
    whichever costs nearest to the budget.

    The other groups under ``global``: step by step, a group drops to the next multiple of ``round_to``, losing its
    least important channels. The step is the one that loses the least importance per parameter (or MAC) saved, as a
    knapsack is emptied. The saving is what the step saves *now*: where a dense block has lost channels already, the
    next ones read and feed fewer and save less, so cuts spread over the blocks and none is emptied early. When the
    cheapest step would overshoot, the one that lands nearest to the budget (or none) ends the search. Small networks,
    whose steps all save about the same, may then still be off by more than 0.5 %: single steps are taken back for
    others as long as that brings the cost nearer.

    Args:
        room: the groups.
        account: the costs of what the budget counts, with all widths as they are.
        budget: the cost to reach; at least :func:`least_cost`.
        allocation: 'uniform' or 'global'.
        round_to: widths are multiples of it (or what they were).

    Returns:
        Root of each group to its width.
    """
    widths = {group.root: group.size for group in (*room.stream, *room.free)}
    full = account.cost()
    if room.stream and room.free:
        largest = max(group.size for group in room.stream)
        share = math.sqrt(budget / full) * largest
        candidates = sorted(_equal_widths(room.stream, round_to, 1), key=lambda width: (abs(width - share), width))
        for width in candidates:  # the nearest one from which the others reach the budget
            shrunk = {group.root: min(group.size, width) for group in room.stream}
            dropped = [(group, group.size - shrunk[group.root]) for group in room.stream]
            for group, channels in dropped:
                account.drop(group, channels)
            if account.cost() >= budget >= least_cost(Room([], room.free, room.least, {}), account, round_to):
                widths.update(shrunk)
                break
            for group, channels in dropped:
                account.drop(group, -channels)
    elif room.stream:
        widths.update(_choose_equal(room.stream, account, budget, round_to, 1))
    if room.free and allocation == 'uniform':
        widths.update(_choose_equal(room.free, account, budget, round_to, room.least))
    elif room.free:
        search = GlobalSearch(room.free, account, budget, round_to, room.least)
        search.run()
        widths.update({group.root: width for group, width in zip(room.free, search.widths, strict=True)})
    return widths


def least_cost(room: Room, account: Account, round_to: int) -> int:
    """What is left when every group has its least width; the account is as before afterwards."""
    least = [(group, group.size - min(_equal_widths([group], round_to, floor)))
             for groups, floor in ((room.stream, 1), (room.free, room.least)) for group in groups]
    for group, channels in least:
        account.drop(group, channels)
    cost = account.cost()
    for group, channels in least:
        account.drop(group, -channels)
    return cost


def _equal_widths(groups: list[ChannelGroup], round_to: int, least: int) -> list[int]:
    """The widths that all of some groups can have together: multiples, and the full one."""
    largest = max(group.size for group in groups)
    return [width for width in range(0, largest, round_to) if width >= least] + [largest]


def _choose_equal(groups: list[ChannelGroup], account: Account, budget: float, round_to: int,
                  least: int) -> dict[str, int]:
    """One width for all, whichever costs nearest to the budget; the account has it afterwards."""
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
