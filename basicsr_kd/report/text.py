"""An evaluation as text: tables of quality, size and speed, and what a reader has to know about them."""
from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from basicsr_kd.evaluation.schema import Evaluation, MeasuredMethod, SetFigures, figure
from basicsr_kd.report.tables import PART_TITLES
from basicsr_kd.utils.measured import Complexity, Device, Part, Speed
from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import markdown_table

_FORMATS = ('fp32', 'bf16', 'fp16', 'int8')
_SPARSE = 0.99  # below this share, non-zero weights have a column; trained weights may hold a zero by chance
_WIDTH = 100
_MISSING = '-'


def evaluation_text(evaluation: Evaluation) -> str:
    """Lay out the result of `evaluate` as text: sets and protocol, tables of quality, size and speed, warnings."""
    sets = ', '.join(map(str, evaluation.sets))
    parts = [wrap(f'{sets}; {evaluation.protocol.text}'), quality_table(evaluation)]
    of_frames = any(found.mean for method in evaluation.methods for found in method.scores.values())
    if of_frames and any(len(one.clips) > 1 for one in evaluation.sets):
        parts += ['Means over clips in place of frames:', quality_table(evaluation, over_clips=True)]
    costs = {method.name: method.complexity for method in evaluation.methods if method.complexity}
    if costs:
        first = next(iter(costs.values()))
        height, width = first.lr_size
        parts += [size_table(costs), wrap(f'Multiply-accumulates (MACs) and activations of a {width}x{height} input, '
                                           f'counted by {first.counter}.')]
    in_parts = {name: cost for name, cost in costs.items() if cost.parts}
    if in_parts:
        parts += [parts_table(in_parts), wrap('Of one frame of a stream; changes are against '
                                               f'{next(iter(in_parts))}.')]
    networks = [method for method in evaluation.methods if method.speed]
    if networks:
        parts += [speed_table(networks), wrap(_speed_note(networks, evaluation.device))]
    notes = [*(f'{method.name} ran in {method.runtime}.' for method in evaluation.methods if method.runtime),
             *evaluation.warnings, *left_out_text(evaluation.left_out),
             *(f'Skipped: {path} {why}' for path, why in evaluation.skipped.items())]
    return '\n\n'.join([*parts, *map(wrap, notes)])


def left_out_text(left_out: Mapping[str, str]) -> list[str]:
    """A sentence for each reason why metrics are left out.

    Args:
        left_out: Reasons by metric.
    """
    metrics: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        metrics.setdefault(reason, []).append(METRICS[name].title)
    return [f'{" and ".join(names)} left out: {reason}' for reason, names in metrics.items()]


def quality_table(evaluation: Evaluation, over_clips: bool = False) -> str:
    """A table with a row for each method and set; metrics that were not measured have no column.

    Args:
        evaluation: The result of `evaluate`.
        over_clips: Whether to show the means over clips, which only metrics of frames have.
    """
    names = [one.name for one in evaluation.sets]
    scores = [(method.name, name, method.scores[name]) for name in names for method in evaluation.methods]
    mean = _mean_over_clips if over_clips else _mean
    columns: dict[str, Callable[[SetFigures], str]] = {
        METRICS[metric].column: partial(mean, metric)
        for _, _, found in scores for metric in found.mean}
    if not over_clips and any(found.fid for _, _, found in scores):
        columns[METRICS['fid'].column] = _fid
    if not over_clips and any(found.kid for _, _, found in scores):
        columns[METRICS['kid'].column] = partial(_kid, ('value', 'low', 'high'))
        columns['its floor'] = partial(_kid, ('floor', 'floor_low', 'floor_high'))
    several = len(names) > 1
    return markdown_table(['method', *(['set'] if several else []), *columns],
                          [[method, *([name] if several else []), *(cell(found) for cell in columns.values())]
                           for method, name, found in scores])


def size_table(costs: Mapping[str, Complexity]) -> str:
    """A table with a row a network: parameters, operations, activations, size of the checkpoint; costs by name."""
    nonzero = {name: cost.params if cost.params_nonzero is None else cost.params_nonzero
               for name, cost in costs.items()}
    sparse = any(nonzero[name] < _SPARSE * cost.params for name, cost in costs.items())
    return markdown_table(['network', 'parameters', *(['not zero'] if sparse else []), 'MACs', 'activations', 'file'], [
        [name, f'{cost.params:,}', *([f'{nonzero[name]:,}'] if sparse else []), _count(cost.macs, 1e9, '.2f', 'G'),
         _count(cost.activations, 1e6, '.1f', 'M'), _count(cost.file_bytes, 1e6, '.1f', 'MB')]
        for name, cost in costs.items()])


def parts_table(costs: Mapping[str, Complexity]) -> str:
    """A table with a row for each part of each network: parameters, operations, and changes from the first network."""
    rows = []
    first = _in_parts(next(iter(costs.values())))
    for network, whole in costs.items():
        for name, cost in _in_parts(whole).items():
            before = first.get(name)
            rows.append([network, PART_TITLES.get(name, name), f'{cost.params:,}',
                         _change(cost.params, before.params if before else None), _count(cost.macs, 1e9, '.2f', 'G'),
                         _change(cost.macs, before.macs if before else None)])
    return markdown_table(['network', 'part', 'parameters', 'change', 'MACs', 'change'], rows)


def speed_table(networks: Sequence[MeasuredMethod]) -> str:
    """A table with a row a network: time and memory in each number format."""
    formats = [kind for kind in _FORMATS if any(kind in network.speed for network in networks)]
    return markdown_table(['network', *(f'ms {kind}' for kind in formats), *(f'memory {kind}' for kind in formats)], [
        [network.name, *(cell(network.speed.get(kind)) for cell in (milliseconds, peak) for kind in formats)]
        for network in networks])


def _speed_note(networks: Sequence[MeasuredMethod], device: Device) -> str:
    speeds = [speed for network in networks for speed in network.speed.values()]
    height, width = speeds[0].lr_size
    threads = f', {device.threads} thread{"s" * (device.threads > 1)}' if device.type == 'cpu' else ''
    turns = min(speed.turns or 0 for speed in speeds)
    fp32 = (' Timed fp32 is what PyTorch makes of it by default, on NVIDIA GPUs TF32 convolutions; quality is that of '
            'full fp32.' if device.type == 'cuda' else ' Quality is that of fp32.')
    return (f'Milliseconds of a {width}x{height} input, median (quartiles) of {turns} runs, all networks and formats '
            f'in turn; memory: weights and the peak of a run. {device.name}{threads}, PyTorch {device.torch}.'
            f'{fp32}')


def wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _in_parts(cost: Complexity) -> dict[str, Complexity | Part]:
    """Costs by part; the last is the whole."""
    return {**cost.parts, 'whole': cost}


def _count(value: float | None, unit: float, decimals: str, name: str) -> str:
    return _MISSING if value is None else f'{value / unit:{decimals}} {name}'


def _change(value: float | None, first: float | None) -> str:
    if value is None or first is None or value == first:
        return _MISSING
    return f'{100 * (value / first - 1):+.1f} %'


def _mean(metric: str, found: SetFigures) -> str:
    return _figure(metric, found.mean.get(metric))


def _mean_over_clips(metric: str, found: SetFigures) -> str:
    means = [float(value) for value in found.clips.get(metric, {}).values()]
    return _figure(metric, figure(float(np.mean(means))) if means else None)


def _figure(metric: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):  # 'inf'
        return value or _MISSING
    return f'{METRICS[metric].shown(value):.{METRICS[metric].decimals}f}'


def _fid(found: SetFigures) -> str:
    return _figure('fid', found.fid.value) if found.fid else _MISSING


def _kid(keys: Sequence[str], found: SetFigures) -> str:
    return '{} ({} to {})'.format(*(_figure('kid', getattr(found.kid, key)) for key in keys)) if found.kid else _MISSING


def milliseconds(speed: Speed | None) -> str:
    return '{1:.1f} ({0:.1f}-{2:.1f})'.format(*(1000 * seconds for seconds in speed.seconds)) if speed else _MISSING


def peak(speed: Speed | None) -> str:
    return f'{speed.peak_bytes / 2**20:.0f} MiB' if speed and speed.peak_bytes is not None else _MISSING
