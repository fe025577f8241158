"""The tables of pruning_quality.py, from its rows."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from quality_cases import LAYOUTS

from basicsr_kd.report import markdown_table

Row = Mapping[str, Any]


def quality_tables(rows: Sequence[Row], unpruned: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table a network and set, what beats random there, and why cells are empty.

    Args:
        rows: as `quality_cases.judge_case` gives them, in any order of layouts.
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
        return [f'{100 * plain["params_left"]:.1f} %' if 'params_left' in plain else '-',
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
