"""An evaluation as text: quality, size and speed as tables, and what has to be known to read the figures."""
from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import markdown_table

_PARTS = {'fnet': 'FNet', 'srnet': 'SRNet'}
_FORMATS = ('fp32', 'bf16', 'fp16')
_SPARSE = 0.99  # below this share of non-zero weights they have a column; trained weights may hold a chance zero
_WIDTH = 100
_MISSING = '-'

Row = Mapping[str, Any]


def evaluation_text(evaluation: Row) -> str:
    """Lay out what `evaluate` gives: sets and protocol, tables of quality, size and speed, warnings."""
    sets = ', '.join(f'{one["name"]} ({_content(one)})' for one in evaluation['sets'])
    parts = [_wrap(f'{sets}; {evaluation["protocol"]["text"]}'), quality_table(evaluation)]
    of_frames = any(found['mean'] for method in evaluation['methods'] for found in method['scores'].values())
    if of_frames and any(len(one.get('clips', ())) > 1 for one in evaluation['sets']):
        parts += ['Means over clips in place of frames:', quality_table(evaluation, over_clips=True)]
    networks = [method for method in evaluation['methods'] if method['complexity']]
    if networks:
        height, width = networks[0]['complexity']['lr_size']
        parts += [size_table(networks), _wrap(f'Multiply-accumulates (MACs) and activations of a {width}x{height} '
                                              f'input, counted by {networks[0]["complexity"]["counter"]}.')]
    in_parts = [network for network in networks if network['complexity'].get('parts')]  # older files have none
    if in_parts:
        parts += [parts_table(in_parts), _wrap('Of one frame of a stream; changes are against '
                                               f'{in_parts[0]["name"]}.')]
    networks = [method for method in evaluation['methods'] if method['speed']]
    if networks:
        parts += [speed_table(networks), _wrap(_speed_note(networks, evaluation['device']))]
    notes = [*evaluation['warnings'], *left_out_text(evaluation['left_out']),
             *(f'Skipped: {path} {why}' for path, why in evaluation['skipped'].items())]
    return '\n\n'.join([*parts, *map(_wrap, notes)])


def left_out_text(left_out: Mapping[str, str]) -> list[str]:
    """One sentence a reason why metrics are left out; by metric."""
    metrics: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        metrics.setdefault(reason, []).append(METRICS[name].title)
    return [f'{" and ".join(names)} left out: {reason}' for reason, names in metrics.items()]


def quality_table(evaluation: Row, over_clips: bool = False) -> str:
    """A row a method and set; metrics that were not measured have no column.

    Args:
        evaluation: What `evaluate` gives.
        over_clips: Whether to give the means over clips, which metrics of frames alone have.
    """
    names = [one['name'] for one in evaluation['sets']]
    scores = [(method['name'], name, method['scores'][name]) for name in names for method in evaluation['methods']]
    mean = _mean_over_clips if over_clips else _mean
    columns: dict[str, Callable[[Row], str]] = {
        METRICS[metric].column: partial(mean, metric)
        for _, _, found in scores for metric in found['mean']}
    if not over_clips and any('fid' in found for _, _, found in scores):
        columns[METRICS['fid'].column] = _fid
    if not over_clips and any('kid' in found for _, _, found in scores):
        columns[METRICS['kid'].column] = partial(_kid, ('value', 'low', 'high'))
        columns['its floor'] = partial(_kid, ('floor', 'floor_low', 'floor_high'))
    several = len(names) > 1
    return markdown_table(['method', *(['set'] if several else []), *columns],
                          [[method, *([name] if several else []), *(cell(found) for cell in columns.values())]
                           for method, name, found in scores])


def size_table(networks: Sequence[Row]) -> str:
    """A row a network: parameters, operations, activations, size of the checkpoint."""
    costs = [(network['name'], network['complexity']) for network in networks]
    sparse = any(cost['params_nonzero'] < _SPARSE * cost['params'] for _, cost in costs)
    return markdown_table(['network', 'parameters', *(['not zero'] if sparse else []), 'MACs', 'activations', 'file'], [
        [name, f'{cost["params"]:,}', *([f'{cost["params_nonzero"]:,}'] if sparse else []),
         f'{cost["macs"] / 1e9:.2f} G', f'{cost["activations"] / 1e6:.1f} M', f'{cost["file_bytes"] / 1e6:.1f} MB']
        for name, cost in costs])


def parts_table(networks: Sequence[Row]) -> str:
    """A row a network and part: parameters and operations, and how they differ from those of the first network."""
    rows = []
    first = _in_parts(networks[0])
    for network in networks:
        for name, cost in _in_parts(network).items():
            rows.append([network['name'], name, f'{cost["params"]:,}', _change(cost, first.get(name), 'params'),
                         f'{cost["macs"] / 1e9:.2f} G', _change(cost, first.get(name), 'macs')])
    return markdown_table(['network', 'part', 'parameters', 'change', 'MACs', 'change'], rows)


def speed_table(networks: Sequence[Row]) -> str:
    """A row a network: time and memory in each number format."""
    formats = [kind for kind in _FORMATS if any(kind in network['speed'] for network in networks)]
    return markdown_table(['network', *(f'ms {kind}' for kind in formats), *(f'memory {kind}' for kind in formats)], [
        [network['name'], *(cell(network['speed'].get(kind)) for cell in (_milliseconds, _peak) for kind in formats)]
        for network in networks])


def _speed_note(networks: Sequence[Row], device: Row) -> str:
    speeds = [speed for network in networks for speed in network['speed'].values()]
    height, width = speeds[0]['lr_size']
    threads = f', {device["threads"]} thread{"s" * (device["threads"] > 1)}' if device['type'] == 'cpu' else ''
    turns = min(speed['turns'] for speed in speeds)
    fp32 = (' Timed fp32 is what PyTorch makes of it by default, on NVIDIA GPUs TF32 convolutions; quality is that of '
            'full fp32.' if device['type'] == 'cuda' else ' Quality is that of fp32.')
    return (f'Milliseconds of a {width}x{height} input, median (quartiles) of {turns} runs, all networks and formats '
            f'in turn; memory: weights and the peak of a run. {device["name"]}{threads}, PyTorch {device["torch"]}.'
            f'{fp32}')


def _wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _content(one: Row) -> str:
    counts = {'clip': len(one.get('clips', ())), 'frame' if one.get('clips') else 'image': len(one['images'])}
    return ', '.join(f'{count} {what}{"s" * (count != 1)}' for what, count in counts.items() if count)


def _in_parts(network: Row) -> dict[str, Row]:
    """Costs by part, the whole being the last."""
    cost = network['complexity']
    return {_PARTS.get(name, name): its for name, its in cost['parts'].items()} | {'whole': cost}


def _change(cost: Row, first: Row | None, count: str) -> str:
    if first is None or cost[count] == first[count]:
        return _MISSING
    return f'{100 * (cost[count] / first[count] - 1):+.1f} %'


def _mean(metric: str, found: Row) -> str:
    return _figure(metric, found['mean'].get(metric))


def _mean_over_clips(metric: str, found: Row) -> str:
    means = [*found['clips'].get(metric, {}).values()]
    return _figure(metric, 'inf' if 'inf' in means else float(np.mean(means)) if means else None)


def _figure(metric: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):  # 'inf'
        return value or _MISSING
    return f'{METRICS[metric].shown(value):.{METRICS[metric].decimals}f}'


def _fid(found: Row) -> str:
    return _figure('fid', found['fid']['value']) if 'fid' in found else _MISSING


def _kid(keys: Sequence[str], found: Row) -> str:
    return '{} ({} to {})'.format(*(_figure('kid', found['kid'][key]) for key in keys)) if 'kid' in found else _MISSING


def _milliseconds(speed: Row | None) -> str:
    return '{1:.1f} ({0:.1f}-{2:.1f})'.format(*(1000 * seconds for seconds in speed['seconds'])) if speed else _MISSING


def _peak(speed: Row | None) -> str:
    return f'{speed["peak_bytes"] / 2**20:.0f} MiB' if speed and speed['peak_bytes'] is not None else _MISSING
