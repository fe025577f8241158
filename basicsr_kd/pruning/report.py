"""The result of a pruning: the network and a report."""
from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from torch import nn

from basicsr_kd.metrics.likeness import Likeness
from basicsr_kd.pruning.cost import LR_SIZE
from basicsr_kd.pruning.cut import Cut
from basicsr_kd.pruning.latency.stopwatch import Latency


@dataclass(frozen=True)
class Stage:
    """A part of the network (a block, or a module outside of blocks), before and after.

    `widths_*` are the output channels of its convolutions and linear layers in their order, `params_*` its parameters
    that are not pruned to zero; `new_name` is None if the stage is removed.
    """
    name: str
    new_name: str | None
    widths_before: list[int]
    widths_after: list[int]
    params_before: int
    params_after: int


@dataclass(frozen=True)
class PruneReport:
    """A pruned network and how it was made.

    Args:
        network: The pruned network, float32 on the CPU, in the mode (train or eval) of the original.
        cut: What was done to each tensor; it fits anything that has the original's names and shapes.
        kept: For each convolution that could lose output channels, by module path, the sorted channels that stay; an
            empty list if the convolution is removed.
        params_before: Parameters of the original.
        params_after: Parameters of `network`.
        macs_before: Multiply-accumulate operations of the original for a 64 x 64 input.
        macs_after: Multiply-accumulate operations of `network` for the same input.
        nonzero_after: Parameters of `network` that layout unstructured left; in other layouts all.
        budget: What had to be left, in the unit (for latency: seconds) and the part of the network that were asked for;
            None with `keep`.
        reached: What is left, in the same unit and part.
        request: The options of the pruning in words, for the log.
        stages: The network's parts.
        skipped: The reason why channels stay, by module path, if the layout would have removed them.
        notes: Further remarks, one line each.
        likeness: How near `network` is to the original on the images of `judge`; None if it cannot be measured.
        latency: With `of='latency'`, the measured time of `network`, before its refit, and of the original.
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
    reached: float
    request: str
    stages: list[Stage]
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    likeness: Likeness | None = None
    latency: Latency | None = None

    def table(self) -> str:
        """One line for each stage with the output channels of its convolutions and its parameters, then the totals."""
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
        lines += [self.latency.words()] if self.latency else []
        for reason in dict.fromkeys(self.skipped.values()):
            paths = [path for path, why in self.skipped.items() if why == reason]
            more = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
            lines.append(f'left whole: {paths[0]}{more} ({reason})')
        return '\n'.join(lines + self.notes)


def _runs(widths: list[int]) -> str:
    """Widths in words, equal neighbours once with their number: 32x4 64."""
    runs = [(width, len(list(same))) for width, same in groupby(widths)]
    return ' '.join(str(width) if times == 1 else f'{width}x{times}' for width, times in runs) or '-'


def _change(before: int, after: int) -> str:
    return f'{before:,} -> {after:,} ({100 * after / max(before, 1):.1f} %)'


def stage_names(net: nn.Module) -> dict[str, str]:
    """The stage of every module with its own parameters, by path: `body.3` for a block, `conv_last`.

    Stages are the children of the outermost lists (`srnet.resblocks.3`), and the modules beside those lists.
    """
    lists = {name for name, module in net.named_modules()
             if name and isinstance(module, (nn.Sequential, nn.ModuleList))}
    around = {prefix for name in lists for prefix in _prefixes(name)}  # with the lists themselves
    stages = {}
    for path, module in net.named_modules():
        if path and any(True for _ in module.parameters(recurse=False)):
            stages[path] = next((prefix for prefix in _prefixes(path)
                                 if prefix not in around or prefix.rpartition('.')[0] in lists), path)
    return stages


def _prefixes(path: str) -> list[str]:
    """A path's first parts, the path itself last: a, a.b, a.b.c."""
    parts = path.split('.')
    return ['.'.join(parts[:count]) for count in range(1, len(parts) + 1)]


def compare_stages(before: nn.Module, after: nn.Module, cut: Cut) -> list[Stage]:
    """Every stage of a network with its widths and parameters before and after a cut.

    Stages without a convolution or linear layer (an activation in a list) are left out.
    """
    names: dict[str, list[str]] = {}
    for path, stage in stage_names(before).items():
        names.setdefault(stage, []).append(path)
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    stages = []
    for stage, paths in names.items():
        widths: tuple[list[int], list[int]] = [], []
        params = [0, 0]
        for path in paths:
            width = _width(before.get_submodule(path))
            gone = (new_path := cut.new_name(f'{path}.')) is None or f'{new_path}weight' not in new
            if width is not None:
                widths[0].append(width)
                widths[1].append(0 if gone else _width(after.get_submodule(str(new_path)[:-1])) or 0)
            for tensor, _ in before.get_submodule(path).named_parameters(recurse=False):
                params[0] += old[f'{path}.{tensor}'].numel()
                left = new.get(f'{new_path}{tensor}') if new_path else None
                if left is not None:
                    mask = cut.zeroed.get(f'{path}.{tensor}')
                    params[1] += left.numel() - (0 if mask is None else int(mask.sum()))
        if widths[0]:
            renamed = cut.new_name(f'{stage}.')
            stages.append(Stage(stage, renamed and renamed[:-1], widths[0], widths[1], params[0], params[1]))
    return stages


def _width(module: nn.Module) -> int | None:
    """The output channels of a convolution or linear layer, None for other modules."""
    if isinstance(module, nn.Linear):
        return module.out_features
    found = getattr(module, 'out_channels', None)
    return found if isinstance(found, int) else None
