"""Finds what has changed since a run was saved. Imports neither torch nor BasicSR."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

# Options that may differ when the same run starts again; networks are the saved ones, or loading fails.
_WITHOUT = ('name', 'path', 'auto_resume', 'root_path', 'rank', 'world_size', 'dist', 'num_gpu', 'network_g',
            'network_d')


def changed_options(saved: str | None, now: Mapping[str, Any], without: tuple[str, ...]) -> list[str]:
    """A line for each option that differs from a saved run.

    Args:
        saved: The saved run's options as JSON; None where the state does not have them.
        now: The options of this run.
        without: Sections that are reported elsewhere.
    """
    if saved is None:
        return []
    before, after = dict(flat(json.loads(saved))), dict(flat(json.loads(json.dumps(now, default=str))))
    left_out = tuple(f'{name}.' for name in (*_WITHOUT, *without))
    keys = [key for key in dict.fromkeys((*before, *after)) if not f'{key}.'.startswith(left_out)]
    return [f'{key}: was {before.get(key, "left out")} when this run was saved and is {after.get(key, "left out")} now'
            for key in keys if before.get(key) != after.get(key)]


def flat(options: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yield options as keys joined by dots, with their values; None counts as left out."""
    if isinstance(options, dict) and options:
        for key, value in options.items():
            yield from flat(value, f'{path}.{key}' if path else key)
    elif options is not None:
        yield path, options


def why_not_the_same(saved: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """Say why a resumed run gets other images and random numbers than an unbroken run would; '' if it gets the same.

    Args:
        saved: The settings that images and random numbers depend on (`data.order.current`), from the saved state; None
            if the state does not have them.
        now: The same settings of this run.
    """
    if saved is None:
        return 'its state was saved by an earlier version or by BasicSR'
    others = {key: value for key, value in now.items() if saved.get(key) != value}
    return ', '.join(f'{key}: was {saved.get(key)}, is {value}' for key, value in others.items())
