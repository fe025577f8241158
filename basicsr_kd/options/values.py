"""Values that BasicSR takes and that cannot run, give a wrong result or have no effect.

Imports neither torch nor BasicSR.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from basicsr_kd.errors import OptionsError


def check_values(opt: dict[str, Any]) -> list[str]:
    """Check what keys of a training say together, and turn frequencies of 0 into what BasicSR never reaches, in place.

    Args:
        opt: Options whose sections have passed.

    Returns:
        Warnings, a line each: keys without effect.

    Raises:
        OptionsError: What cannot run.
    """
    train = opt['train']
    total = int(train['total_iter'])
    _check_scheduler(train['scheduler'], total)
    for key, weight in _weights(train):
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
            raise OptionsError(f'{key}: found {weight!r}, expected a number of at least 0')
    warnings = []
    for section, key in ((train, 'train.warmup_iter'), (train, 'train.distill_every')):
        value = section.get(key.partition('.')[2]) or 0
        if value >= total:
            warnings.append(f'{key}: found {value:,}, of which training ({total:,} iterations) reaches no end')
    for section, key in ((opt['logger'], 'logger.print_freq'), (opt['logger'], 'logger.save_checkpoint_freq'),
                         (opt.get('val') or {}, 'val.val_freq')):
        name = key.partition('.')[2]
        if name not in section:
            continue
        if section[name] is None:
            raise OptionsError(f'{key} is missing; 0 means only at the end')
        if section[name] > total:
            warnings.append(f'{key}: found {section[name]:,}, which training ({total:,} iterations) does not reach')
        section[name] = section[name] or total + 1
    return warnings


def _check_scheduler(scheduler: dict[str, Any], total: int) -> None:
    key = 'train.scheduler'
    weights = scheduler.get('restart_weights', [1])
    if scheduler['type'] == 'CosineAnnealingRestartLR':
        periods = scheduler['periods']
        if len(periods) != len(weights):
            raise OptionsError(f'{key}: {len(periods)} periods and {len(weights)} restart_weights. Expected as many')
        if sum(periods) < total:
            raise OptionsError(f'{key}.periods: they end after {sum(periods):,} iterations, and train.total_iter is '
                               f'{total:,}. Expected at least as many')
    elif len(scheduler.get('restarts', [0])) != len(weights):
        raise OptionsError(f'{key}: {len(scheduler.get("restarts", [0]))} restarts and {len(weights)} restart_weights. '
                           'Expected as many')


def _weights(train: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The weights of all losses, by their keys."""
    for name, section in train.items():
        if name.endswith('_opt') and isinstance(section, dict):
            for key, value in section.items():
                if key.endswith('_weight'):
                    yield f'train.{name}.{key}', value
