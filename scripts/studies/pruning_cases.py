"""The cases of pruning_quality.py, each a network pruned one way and measured on sets of images; and their tables."""
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from basicsr.utils import tensor2img
from common.measure import BORDER, Pair
from torch import Tensor, nn

from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.pruning import PruningError, prune
from basicsr_kd.report import markdown_table
from basicsr_kd.utils.arrays import as_tensor
from basicsr_kd.utils.prune_request import CHOICES

LAYOUTS = CHOICES['layout']
IMPORTANCES = ('taylor', 'obs', 'l1', 'l2', 'lamp', 'fpgm', 'random')
SELECTS = ('least', 'last')
"""What layout blocks has instead of an importance."""
SEEDS = 3
"""How many random choices the mean of importance random is over."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One way to prune one network; `choice` is an importance, or for layout blocks a select."""

    network: str
    layout: str
    choice: str
    ratio: float
    reconstruct: bool

    @property
    def seeds(self) -> range:
        return range(SEEDS if self.layout != 'blocks' and self.choice == 'random' else 1)

    @property
    def key(self) -> str:
        """Its name in results.json."""
        return (f'{self.network}: {self.layout} {self.choice} {self.ratio}' +
                (' reconstruct' if self.reconstruct else ''))


class Judge:
    """The PSNR of networks on sets of images.

    Args:
        sets: their images by name.
        original: the network whose output on them is the reference; default: the ground truth is.
        device: where networks run.
    """

    def __init__(self, sets: Mapping[str, Sequence[Pair]], original: nn.Module | None, device: str) -> None:
        self.device = device
        self.inputs = {name: [as_tensor(pair.lr) for pair in pairs] for name, pairs in sets.items()}
        self.references = ({name: [pair.hr for pair in pairs] for name, pairs in sets.items()} if original is None else
                           {name: self._outputs(original, inputs) for name, inputs in self.inputs.items()})

    def psnr(self, net: nn.Module) -> dict[str, float]:
        """Mean PSNR (Y) of 8-bit outputs by set."""
        return {name: float(np.mean([
            image_score('psnr', output, reference, border=BORDER, channel='y')
            for output, reference in zip(self._outputs(net, inputs), self.references[name], strict=True)]))
            for name, inputs in self.inputs.items()}

    @torch.inference_mode()
    def _outputs(self, net: nn.Module, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        net = copy.deepcopy(net).eval().to(self.device).to(memory_format=torch.channels_last)
        return [tensor2img(net(image.to(self.device, memory_format=torch.channels_last))) for image in inputs]


def judge_case(case: Case, net: nn.Module, calibration: Tensor, round_to: int, judge: Judge) -> dict[str, Any]:
    """Prune and measure, as often as the case has seeds.

    Returns:
        A JSON-ready row: the case, means of PSNR by set and of the shares of parameters and MACs that are left, seconds
        of one pruning; or why it was refused.
    """
    choice: dict[str, Any] = {'select' if case.layout == 'blocks' else 'importance': case.choice}
    reports, psnr = [], []
    seconds = 0.0
    for seed in case.seeds:
        torch.manual_seed(seed)  # what importance random draws from
        start = time.perf_counter()
        try:
            report = prune(net, ratio=case.ratio, layout=case.layout, round_to=round_to, reconstruct=case.reconstruct,
                           calibration=calibration, **choice)
        except PruningError as error:
            return asdict(case) | {'refused': str(error)}
        seconds += time.perf_counter() - start
        reports.append(report)
        psnr.append(judge.psnr(report.network))
    return asdict(case) | {
        'psnr': {name: float(np.mean([one[name] for one in psnr])) for name in judge.inputs},
        'psnr_by_seed': psnr,
        'params_left': float(np.mean([report.nonzero_after / report.params_before for report in reports])),
        'macs_left': float(np.mean([report.macs_after / report.macs_before for report in reports])),
        'seconds': seconds / len(case.seeds),
        'notes': reports[0].notes,
    }


def quality_tables(rows: Sequence[Row], unpruned: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table a network and set, what beats random there, and why cells are empty.

    Args:
        rows: as `judge_case` gives them, in any order of layouts.
        unpruned: PSNR of each network itself by set; empty where its own output is the reference.
    """
    parts = []
    for network in dict.fromkeys(row['network'] for row in rows):
        own = [row for row in rows if row['network'] == network]
        for name in dict.fromkeys(name for row in own for name in row.get('psnr', ())):
            against = (f'unpruned {unpruned[network][name]:.2f} dB' if unpruned.get(network) else
                       'against its own unpruned output')
            parts += [f'{network} on {name}, PSNR (dB); {against}', _table(own, name), _margins(own, name)]
        reasons = [f'- `-`, {row["layout"]} {row["choice"]} {row["ratio"]}'
                   f'{" refitted" if row["reconstruct"] else ""}: {row["refused"]}' for row in own if 'refused' in row]
        # a reason is told once, for the first of the cases it holds for
        told = {reason.partition(': ')[2]: reason for reason in reversed(reasons)}
        parts += ['\n'.join(reversed(told.values()))] if told else []
    return '\n\n'.join(part for part in parts if part)


def _table(rows: Sequence[Row], name: str) -> str:
    """Lines: layouts and importances. For each ratio what share of the parameters is left, PSNR, PSNR refitted."""
    by_case = {(row['layout'], row['choice'], row['ratio'], row['reconstruct']): row for row in rows}
    ratios = sorted({row['ratio'] for row in rows})

    def cells(layout: str, choice: str, ratio: float) -> list[str]:
        plain, refitted = (by_case.get((layout, choice, ratio, reconstruct), {}) for reconstruct in (False, True))
        left = (plain or refitted).get('params_left')
        return [f'{100 * left:.1f} %' if left else '-',
                *(f'{row["psnr"][name]:.2f}' if 'psnr' in row else '-' for row in (plain, refitted))]
    return markdown_table(
        ['layout, importance', *(title for ratio in ratios for title in (f'{ratio}: left', 'plain', 'refitted'))],
        [[f'{layout}, {choice}', *(cell for ratio in ratios for cell in cells(layout, choice, ratio))]
         for layout, choice in sorted(dict.fromkeys((row['layout'], row['choice']) for row in rows),
                                      key=lambda line: LAYOUTS.index(line[0]))])


def _margins(rows: Sequence[Row], name: str) -> str:
    """How far each importance is above random in the same layout, ratio and way."""
    psnr: dict[str, dict[tuple, float]] = {}
    for row in rows:
        if 'psnr' in row:
            case = (row['layout'], row['ratio'], row['reconstruct'])
            psnr.setdefault(row['choice'], {})[case] = row['psnr'][name]
    random = psnr.pop('random', {})
    lines = []
    for choice, values in psnr.items():
        above = [value - random[case] for case, value in values.items() if case in random]
        if above:
            lines.append(f'- {choice}: above random in {sum(margin > 0 for margin in above)} of {len(above)} cases, '
                         f'median {np.median(above):+.2f} dB, least {min(above):+.2f} dB')
    return '\n'.join(lines)
