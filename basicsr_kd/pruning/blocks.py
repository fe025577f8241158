"""The layout `blocks`: whole residual blocks are removed, and the others are renumbered."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.cost import TensorCost, within
from basicsr_kd.pruning.cut import Cut
from basicsr_kd.utils.progress import Progress


@dataclass(frozen=True)
class Block:
    """A block that can be left out: its module path, its chain (an `nn.Sequential`) and its cost."""
    path: str
    chain: str
    cost: int


def find_blocks(net: nn.Module, costs: dict[str, TensorCost], of: str, target: str | None,
                example: Tensor) -> list[Block]:
    """Every block of a network that can be left out.

    Blocks are the children of an `nn.Sequential` that are all of one class, have children themselves and all give
    the shape that they get; where such chains are nested (RCAN), those of the innermost.

    Args:
        net: The network; runs once.
        costs: The costs that the budget counts.
        of: 'params' or 'macs'.
        target: The part of the network to look at, or None.
        example: An input on the network's device, `(1, c, h, w)`.

    Raises:
        PruningError: There is no such block.
    """
    chains = {name: module for name, module in net.named_modules() if isinstance(module, nn.Sequential) and
              len({type(child) for child in module}) == 1 and any(module[0].children())}
    paths = [_child(name, index) for name, chain in chains.items() for index in range(len(chain))]
    shaped = _keep_shape(net, paths, example)
    chains = {name: chain for name, chain in chains.items()
              if all(_child(name, index) in shaped for index in range(len(chain)))}
    inner = [name for name in chains
             if not any(other != name and other.startswith(_child(name, '')) for other in chains)
             and (target is None or within(name, target))]  # a part of a chain has no numbers of its own
    blocks = []
    for name in inner:
        for index in range(len(chains[name])):
            path = _child(name, index)
            cost = sum(part.cost(of) for tensor, part in costs.items() if tensor.startswith(f'{path}.'))
            blocks.append(Block(path, name, cost))
    if not blocks:
        raise PruningError(f'{type(net).__name__}{f": {target}" if target else ""} has no residual blocks (children of '
                           'one class in an nn.Sequential that keep the shape of what they get). Expected another '
                           'layout.')
    return blocks


def _child(path: str, name: int | str) -> str:
    """The path of a module's child; the network itself has the path ''."""
    return f'{path}.{name}' if path else f'{name}'


def _keep_shape(net: nn.Module, paths: Sequence[str], example: Tensor) -> set[str]:
    """The modules, of those at `paths`, whose output has the shape of their input."""
    found = set()

    def compare(path: str, args: tuple[Any, ...], output: Any) -> None:
        if len(args) == 1 and isinstance(output, Tensor) and output.shape == args[0].shape:
            found.add(path)

    hooks = [net.get_submodule(path).register_forward_hook(
        lambda module, args, output, path=path: compare(path, args, output)) for path in paths]
    try:
        with torch.no_grad():
            net(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def choose_blocks(order: Sequence[Block], *, total: int, budget: float | None, keep: int | None) -> list[Block]:
    """The blocks to remove: the first of `order`, as many as needed; at least one of every chain stays.

    Args:
        order: All blocks; the first is removed first.
        total: The cost of everything the budget counts.
        budget: The cost to come nearest to, or None.
        keep: How many blocks stay, if there is no budget.
    """
    left = {chain: sum(block.chain == chain for block in order) for chain in {block.chain for block in order}}
    gone: list[Block] = []
    cost = total
    for block in order:
        done = len(order) - len(gone) <= keep if keep is not None else \
            budget is None or abs(cost - block.cost - budget) > abs(cost - budget)
        if done:
            break
        if left[block.chain] > 1:
            gone.append(block)
            left[block.chain] -= 1
            cost -= block.cost
    return gone


def removal_effects(net: nn.Module, blocks: Sequence[Block], images: Tensor, progress: bool) -> dict[str, float]:
    """How far the output moves when a block alone is left out: mean squared difference on calibration images.

    Args:
        net: The network, in eval mode.
        blocks: The blocks to try.
        images: `(n, c, h, w)` or clips `(n, t, c, h, w)`, RGB in [0, 1].
        progress: Whether to show a progress bar.

    Returns:
        Path of each block to its effect.
    """
    effects = dict.fromkeys((block.path for block in blocks), 0.0)
    with torch.no_grad(), Progress('blocks', len(images) * (len(blocks) + 1), progress) as bar:
        for image in images.split(1):
            whole = net(image)
            bar.update()
            for block in blocks:
                with left_out(net, [block.path]):
                    effects[block.path] += (net(image) - whole).square().mean().item() / len(images)
                bar.update()
    return effects


@contextmanager
def left_out(net: nn.Module, paths: Sequence[str]) -> Iterator[None]:
    """A context in which a network runs without some blocks: they pass their input on."""
    blocks = {path: net.get_submodule(path) for path in paths}
    for path in paths:
        chain, _, name = path.rpartition('.')
        setattr(net.get_submodule(chain), name, nn.Identity())
    try:
        yield
    finally:
        for path, block in blocks.items():
            chain, _, name = path.rpartition('.')
            setattr(net.get_submodule(chain), name, block)


def blocks_cut(blocks: Sequence[Block], gone: Sequence[Block]) -> Cut:
    """The cut that removes blocks and gives the others their new numbers."""
    removed = {block.path for block in gone}
    renamed: dict[str, str | None] = {}
    number: dict[str, int] = {}
    for block in blocks:
        if block.path in removed:
            renamed[block.path] = None
            continue
        new = _child(block.chain, number.setdefault(block.chain, 0))
        number[block.chain] += 1
        if new != block.path:
            renamed[block.path] = new
    return Cut(renamed=renamed)


def _number(block: Block) -> int:
    return int(block.path.rpartition('.')[2])


def without_blocks(net: nn.Module, gone: Sequence[Block]) -> nn.Module:
    """A copy of a network without some blocks; it shares no weights with the original."""
    net = copy.deepcopy(net)
    for block in sorted(gone, key=_number, reverse=True):
        del net.get_submodule(block.chain)[_number(block)]  # type: ignore[operator]
    return net
