"""An evaluation as text: quality, size and speed as tables, and what has to be known to read the figures."""
from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from basicsr_kd.report.table import markdown_table

_DECIMALS = {'psnr': 2, 'ssim': 4, 'lpips': 4, 'niqe': 2}
_FORMATS = ('fp32', 'bf16', 'fp16')
_SPARSE = 0.99  # below this share of non-zero weights they have a column; trained weights may hold a chance zero
_WIDTH = 100
_MISSING = '-'

Row = Mapping[str, Any]


def evaluation_text(evaluation: Row) -> str:
    """Lay out what `evaluate` gives: sets and protocol, tables of quality, size and speed, warnings."""
    sets = ', '.join(f'{one["name"]} ({len(one["images"])} image{"s" * (len(one["images"]) > 1)})'
                     for one in evaluation['sets'])
    parts = [_wrap(f'{sets}; {evaluation["protocol"]["text"]}'), quality_table(evaluation)]
    networks = [method for method in evaluation['methods'] if method['complexity']]
    if networks:
        height, width = networks[0]['complexity']['lr_size']
        parts += [size_table(networks), _wrap(f'Multiply-accumulates (MACs) and activations of a {width}x{height} '
                                              f'input, counted by {networks[0]["complexity"]["counter"]}.')]
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
        metrics.setdefault(reason, []).append(name.upper())
    return [f'{" and ".join(names)} left out: {reason}' for reason, names in metrics.items()]


def quality_table(evaluation: Row) -> str:
    """A row a method and set; metrics that were not measured have no column."""
    names = [one['name'] for one in evaluation['sets']]
    scores = [(method['name'], name, method['scores'][name]) for name in names for method in evaluation['methods']]
    columns: dict[str, Callable[[Row], str]] = {
        metric.upper(): partial(_mean, metric) for _, _, found in scores for metric in found['mean']}
    if any('fid' in found for _, _, found in scores):
        columns['FID'] = _fid
    if any('kid' in found for _, _, found in scores):
        columns['KID x 1000'] = partial(_kid, ('value', 'low', 'high'))
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


def _mean(metric: str, found: Row) -> str:
    value = found['mean'].get(metric)
    if value is None or isinstance(value, str):  # 'inf'
        return value or _MISSING
    return f'{value:.{_DECIMALS[metric]}f}'


def _fid(found: Row) -> str:
    return f'{found["fid"]["value"]:.1f}' if 'fid' in found else _MISSING


def _kid(keys: Sequence[str], found: Row) -> str:
    return '{:.2f} ({:.2f} to {:.2f})'.format(*(1000 * found['kid'][key] for key in keys)) if 'kid' in found \
        else _MISSING


def _milliseconds(speed: Row | None) -> str:
    return '{1:.1f} ({0:.1f}-{2:.1f})'.format(*(1000 * seconds for seconds in speed['seconds'])) if speed else _MISSING


def _peak(speed: Row | None) -> str:
    return f'{speed["peak_bytes"] / 2**20:.0f} MiB' if speed and speed['peak_bytes'] is not None else _MISSING
