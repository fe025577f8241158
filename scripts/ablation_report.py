"""Tables and pictures of an ablation from its results: table.md, curves.png, plane_<set>.png."""
from collections.abc import Mapping
from typing import Any

from ablation_evaluate import protocol
from ablation_plan import Study, runs_of
from ablation_plots import curves_plot, plane_plot
from ablation_results import Results
from ablation_tables import ablation_tables, measured


def report(study: Study, options: Mapping[str, Mapping[str, Any]], results: Results) -> str:
    """Write table.md and the pictures; returns the tables. Runs of options that are no longer those are left out.

    Args:
        options: BasicSR's by arm, placeholders not filled in.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    left_out = []
    for key, row in sorted(results.runs.items(), key=lambda item: item[1]['seed']):
        arm = row['arm']
        if arm in options and runs_of(study, arm, options[arm], [row['seed']])[0].digest == row['digest']:
            rows.setdefault(arm, []).append(row)
        else:
            left_out.append(key)
    if not rows:
        return f'No finished runs of these arms in {results.folder}.'
    everything = [row for group in rows.values() for row in group]
    sets = [name for name in results.sets if any(name in row['sets'] for row in everything)]
    metrics = measured(everything)
    text = (f'Mean ± standard deviation over n seeds. {protocol(metrics)}\n\n'
            + ablation_tables(study, results.references, rows, sets))
    if left_out:
        text += f'\n\nLeft out, since their options are others now: {", ".join(left_out)}.'
    (results.folder / 'table.md').write_text(f'{text}\n')
    curves_plot(results.folder / 'curves.png', study, rows)
    for name in sets:
        plane_plot(results.folder / f'plane_{name}.png', study, rows, results.references, name,
                   'lpips' if 'lpips' in metrics else 'niqe')
    return text
