"""Changes to BasicSR's options: sections that merge, another number of iterations, placeholders."""
import copy
import math
from collections.abc import Mapping
from typing import Any

_SCALED = ('periods', 'milestones')  # of a scheduler: they count iterations


def override(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Options with some of them changed; the originals stay as they are.

    Sections merge, everything else is replaced, null removes. A section whose `type` changes is replaced as a whole,
    since the keys of one type mean nothing to another. Dotted names reach into sections: `train.total_iter: 600`. They
    do so only at the top, because names of layers, further down, have dots as well.
    """
    result = dict(options)
    for name, value in changes.items():
        for key in reversed(name.split('.')):
            value = {key: value}
        result = _merge(result, value)
    return result


def with_iterations(options: Mapping[str, Any], iterations: int, points: int) -> dict[str, Any]:
    """The same training over another number of iterations: the scheduler's periods follow, checkpoints for a curve of
    `points` points too."""
    factor = iterations / int(options['train']['total_iter'])
    scheduler = {key: [max(1, round(count * factor)) for count in value] if key in _SCALED else value
                 for key, value in options['train']['scheduler'].items()}
    return override(options, {'train': {'total_iter': iterations, 'scheduler': scheduler},
                              'logger': {'save_checkpoint_freq': math.ceil(iterations / points)}})


def filled(options: Any, places: Mapping[str, str]) -> Any:
    """Options with every {name} in their texts replaced."""
    if isinstance(options, Mapping):
        return {key: filled(value, places) for key, value in options.items()}
    if isinstance(options, list):
        return [filled(value, places) for value in options]
    if isinstance(options, str):
        for name, value in places.items():
            options = options.replace(f'{{{name}}}', value)
    return options


def _merge(old: Any, new: Any) -> Any:
    if not isinstance(new, Mapping):
        return copy.deepcopy(new)
    other_type = isinstance(old, Mapping) and 'type' in new and new['type'] != old.get('type')
    result = dict(old) if isinstance(old, Mapping) and not other_type else {}
    for key, value in new.items():
        merged = None if value is None else _merge(result.get(key), value)
        if merged is None or (merged == {} and key not in result):  # nothing to remove something from
            result.pop(key, None)
        else:
            result[key] = merged
    return result
