"""A sensitivity scan as people read it: a table with bars, and the bars as a picture."""
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from basicsr_kd.utils.measured import StageCost
from basicsr_kd.utils.text import markdown_table

_BAR = 24  # characters of the longest bar
_EIGHTHS = ' ▏▎▍▌▋▊▉'
_ROW = 0.22  # inches: the height of a row in the picture


def scan_table(costs: Sequence[StageCost], of: str) -> str:
    """A table with one line a stage; its bar shows the error that pruning it makes (root mean square).

    Args:
        costs: What `basicsr_kd.pruning.sensitivity.scan` gives.
        of: What the costs count, 'params' or 'macs'.
    """
    pruned = [cost for cost in costs if cost.psnr is not None]
    largest = max((_levels(cost) for cost in pruned), default=0.0)
    digits = 2 if largest >= 1 else 4
    rows = [[cost.stage, f'{cost.before:,}', f'{100 * cost.after / max(cost.before, 1):.0f} %',
             'same' if math.isinf(_psnr(cost)) else f'{_psnr(cost):.2f}', f'{_levels(cost):.{digits}f}',
             _bar(_levels(cost) / largest if largest else 0)] for cost in pruned]
    count = {'params': 'parameters', 'macs': 'MACs'}[of]
    lines = [markdown_table(['stage', count, 'left', 'PSNR', 'error', ' ' * _BAR], rows)]
    if pruned:
        lines.append('PSNR (dB) and error (root mean square, in grey levels of 255): the output with this stage alone '
                     "pruned, against\nthe unpruned network's. The longer the bar, the more the stage is needed.")
    return '\n'.join(lines + _left_whole(costs))


def scan_plot(path: Path, costs: Sequence[StageCost], title: str) -> None:
    """Write the bars of `scan_table` as a picture, each with its PSNR.

    Args:
        path: The file to write, .png, .svg or .pdf; its folder exists.
        costs: What `basicsr_kd.pruning.sensitivity.scan` gives, at least one of them pruned.
        title: What was scanned, and how.
    """
    pruned = [cost for cost in costs if cost.psnr is not None]
    levels = [_levels(cost) for cost in pruned]
    figure = Figure(figsize=(8, 1.3 + _ROW * len(pruned)), dpi=120, layout='constrained')
    axes = figure.add_subplot()
    bars = axes.barh(range(len(pruned)), levels, height=0.75, color='#3b75af')
    axes.bar_label(bars, ['same' if math.isinf(_psnr(cost)) else f'{_psnr(cost):.1f} dB' for cost in pruned],
                   padding=3, fontsize=8)
    axes.set_yticks(range(len(pruned)), [cost.stage for cost in pruned], fontsize=8)
    axes.set_ylim(len(pruned) - 0.4, -0.6)  # the first stage on top
    axes.set_xlim(0, 1.12 * max(levels) or 1)  # room for the labels
    axes.set_xlabel('error of the output when this stage alone is pruned (root mean square, grey levels of 255)',
                    fontsize=9)
    axes.set_title(title, fontsize=10, loc='left')
    axes.spines[['top', 'right']].set_visible(False)
    axes.xaxis.grid(True, color='#dddddd')
    axes.set_axisbelow(True)
    figure.savefig(path)


def _psnr(cost: StageCost) -> float:
    assert cost.psnr is not None
    return cost.psnr


def _levels(cost: StageCost) -> float:
    """The error in grey levels."""
    return 255 * 10 ** (-_psnr(cost) / 20)


def _bar(share: float) -> str:
    eighths = round(8 * _BAR * share)
    return ('█' * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(_BAR)


def _left_whole(costs: Sequence[StageCost]) -> list[str]:
    """A line for every reason why stages were not pruned."""
    stages: dict[str, list[str]] = {}
    for cost in costs:
        if cost.reason:
            stages.setdefault(cost.reason, []).append(cost.stage)
    return [f'not scanned: {", ".join(names)} ({reason})' for reason, names in stages.items()]
