"""What pruning gives back."""
from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from torch import nn

from basicsr_kd.pruning.cost import LR_SIZE
from basicsr_kd.pruning.cut import Cut


@dataclass(frozen=True)
class Stage:
    """A part of the network (a block, or what stands outside of blocks), before and after.

    ``widths_*`` are the output channels of its convolutions and linear layers in their order, ``params_*`` its
    parameters that are not pruned to zero; ``new_name`` is None where the stage is gone.
    """
    name: str
    new_name: str | None
    widths_before: list[int]
    widths_after: list[int]
    params_before: int
    params_after: int


@dataclass(frozen=True)
class PruneReport:
    """A pruned network and how it came about.

    Args:
        network: the pruned network, float32 on the CPU, in the mode (train or eval) of the original.
        cut: what became of each tensor; fits whatever has the original's names and shapes.
        kept: module path of every convolution that could lose output channels, to those that stay, sorted; an empty
            list where the convolution is gone.
        params_before: parameters of the original.
        params_after: parameters of ``network``.
        macs_before: multiply-accumulate operations of the original for a 64 x 64 input.
        macs_after: those of ``network``.
        nonzero_after: parameters of ``network`` that layout unstructured left; else all.
        budget: what was to be left, in the units and the part of the network that were asked for; None with ``keep``.
        reached: what is left, in the same.
        request: the options of the pruning in words, for the log.
        stages: the network's parts.
        skipped: module path to the reason why its channels stay, where the layout would have taken them.
        notes: what else is to be known, a line each.
    """
    network: nn.Module
    cut: Cut
    kept: dict[str, list[int]]
    params_before: int
    params_after: int
    macs_before: int
    macs_after: int
    nonzero_after: int
    budget: float | None
    reached: int
    request: str
    stages: list[Stage]
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def table(self) -> str:
        """One line a stage with the output channels of its convolutions and its parameters, then the totals."""
        rows = [['stage', 'output channels', 'parameters', 'left']]
        for stage in self.stages:
            before, after = (_runs(widths) for widths in (stage.widths_before, stage.widths_after))
            name, widths = stage.name, before if before == after else f'{before} -> {after}'
            if stage.new_name is None:
                widths = 'removed'
            elif stage.new_name != stage.name:
                name = f'{stage.name} -> {stage.new_name}'
            params = f'{stage.params_before:,}'
            if stage.params_after != stage.params_before:
                params += f' -> {stage.params_after:,}'
            rows.append([name, widths, params, f'{100 * stage.params_after / max(stage.params_before, 1):.0f} %'])
        sizes = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f'Pruned ({self.request}):']
        lines += ['  ' + ' | '.join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()
                  for row in rows]
        lines.append(f'parameters: {_change(self.params_before, self.params_after)}' +
                     (f', not zero: {_change(self.params_before, self.nonzero_after)}'
                      if self.nonzero_after != self.params_after else ''))
        lines.append(f'MACs, {LR_SIZE[1]}x{LR_SIZE[0]} input: {_change(self.macs_before, self.macs_after)}')
        for reason in dict.fromkeys(self.skipped.values()):
            paths = [path for path, why in self.skipped.items() if why == reason]
            more = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
            lines.append(f'left whole: {paths[0]}{more} ({reason})')
        return '\n'.join(lines + self.notes)


def _runs(widths: list[int]) -> str:
    """Equal neighbours once, with how many they are: 32x4 64."""
    runs = [(width, len(list(same))) for width, same in groupby(widths)]
    return ' '.join(str(width) if times == 1 else f'{width}x{times}' for width, times in runs) or '-'


def _change(before: int, after: int) -> str:
    return f'{before:,} -> {after:,} ({100 * after / max(before, 1):.1f} %)'
