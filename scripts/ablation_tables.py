"""The tables of an ablation: one for each group of arms and each set of images."""
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ablation_plan import Study
from ablation_results import Row, image_mean, mean_sd, seed_values

from basicsr_kd.report import markdown_table

COLUMNS = {'psnr_y': ('PSNR-Y', 2), 'psnr_rgb': ('PSNR-RGB', 2), 'ssim': ('SSIM', 4), 'niqe': ('NIQE', 2),
           'lpips': ('LPIPS', 4)}
"""Title and decimals by metric."""


def ablation_tables(study: Study, references: Mapping[str, Row], rows: Mapping[str, Sequence[Row]],
                    sets: Sequence[str]) -> str:
    """Markdown: every group with what its arms are, then a table a set, with the gain over the group's first arm.

    Args:
        references: rows of bicubic and the teacher.
        rows: one a seed, by arm; arms that have none are left out.
    """
    parts = []
    for group, names in study.groups.items():
        arms = {name: rows[name] for name in names if rows.get(name)}
        if not arms:
            continue
        parts += [f'## {group}', _notes(study, arms, rows)]
        for name in sets:
            parts += [f'{group}, {name}:', _table(references, arms, name)]
    return '\n\n'.join(part for part in parts if part)


def measured(rows: Sequence[Row]) -> list[str]:
    """The metrics that some row has."""
    found = {metric for row in rows for scores in row['sets'].values() for metric in scores}
    return [metric for metric in COLUMNS if metric in found]


def cell(values: Sequence[float], decimals: int, sign: str = '') -> str:
    """`mean ± sd`; the mean alone of a single value, a dash of none; `sign='+'` gives gains theirs."""
    if not values:
        return '-'
    mean, sd = mean_sd(values)
    return f'{mean:{sign}.{decimals}f}' + ('' if sd is None else f' ± {sd:.{decimals}f}')


def gains(rows: Sequence[Row], baseline: Sequence[Row], name: str, metric: str = 'psnr_y') -> list[float]:
    """How much better than the baseline, seed by seed, so that what a seed does to both does not count."""
    before = {row['seed']: image_mean(row, name, metric) for row in baseline if name in row['sets']}
    after = {row['seed']: image_mean(row, name, metric) for row in rows if name in row['sets']}
    pairs = [(after[seed], before[seed]) for seed in after if seed in before]
    return [new - old for new, old in pairs if new is not None and old is not None]


def _table(references: Mapping[str, Row], arms: Mapping[str, Sequence[Row]], name: str) -> str:
    metrics = measured([row for rows in arms.values() for row in rows])
    baseline = next(iter(arms))
    lines = [[title, *(cell([value] if (value := image_mean(row, name, metric)) is not None else [],
                            COLUMNS[metric][1]) for metric in metrics), '-', '-']
             for title, row in references.items() if name in row['sets']]
    for arm, rows in arms.items():
        gain = gains(rows, arms[baseline], name) if arm != baseline else []
        lines.append([arm, *(cell(seed_values(rows, name, metric), COLUMNS[metric][1]) for metric in metrics),
                      cell(gain, 2, sign='+'), str(sum(name in row['sets'] for row in rows))])
    return markdown_table(['arm', *(COLUMNS[metric][0] for metric in metrics), f'PSNR-Y over {baseline}', 'n'], lines)


def _notes(study: Study, arms: Mapping[str, Sequence[Row]], everything: Mapping[str, Sequence[Row]]) -> str:
    """What each arm is; its iterations and parameters where they are not the usual ones."""
    usual = {key: Counter(row[key] for rows in everything.values() for row in rows).most_common(1)[0][0]
             for key in ('iterations', 'parameters')}
    lines = []
    for arm, rows in arms.items():
        unusual = [f'{rows[0][key]:,} {key}' for key, value in usual.items() if rows[0][key] != value]
        said: list[Any] = [study.arms[arm].note, *unusual]
        if any(said):
            lines.append(f'- `{arm}`: {"; ".join(filter(None, said))}')
    return '\n'.join(lines)
