"""A network's parts, as a table or a scan shows them."""
from __future__ import annotations

from torch import nn

from basicsr_kd.pruning.cut import Cut
from basicsr_kd.pruning.report import Stage


def stage_names(net: nn.Module) -> dict[str, str]:
    """Path of every module with parameters of its own, to the stage it is in: ``body.3`` for a block, ``conv_last``.

    Stages are the children of the outermost lists (``srnet.resblocks.3``), and what stands beside those.
    """
    lists = {name for name, module in net.named_modules()
             if name and isinstance(module, (nn.Sequential, nn.ModuleList))}
    around = {prefix for name in lists for prefix in _prefixes(name)}  # the lists too
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
