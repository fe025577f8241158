"""What a section with `type:` may say, and whether the files it names are there."""
from __future__ import annotations

import difflib
import inspect
import os
from typing import Any

from basicsr_kd.archs.build import registered
from basicsr_kd.errors import OptionsError
from basicsr_kd.utils.text import closest


def must_be_registered(name: Any, registry: Any, key: str) -> Any:
    """Look a name up in one of BasicSR's registries, which may have it under `<name>_basicsr`.

    Raises:
        OptionsError: The name is not registered; the text gives the closest name that is.
    """
    if not isinstance(name, str):
        raise OptionsError(f'{key}: found {name!r}, expected a name')
    found = registered(name, registry)
    if found is None:
        raise OptionsError(f'{key}: found {name!r}; {closest(str(name), registry.keys())}')
    return found


def check_arguments(section: Any, registry: Any, key: str, given: tuple[str, ...] = ()) -> Any:
    """Check a section with `type:`, whose other keys are arguments, and return the class or function it names.

    Args:
        section: The section of the options file.
        registry: The types by name: one of BasicSR's registries, or a dict.
        key: The section's name in the options file.
        given: Arguments that BasicSR adds.

    Raises:
        OptionsError: No section, no type, an unknown type, an unknown argument or a missing one.
    """
    if not isinstance(section, dict) or 'type' not in section:
        raise OptionsError(f'{key}: found {section!r}, expected a section with type: and its arguments')
    named = must_be_registered(section['type'], registry, f'{key}.type')
    parameters = inspect.signature(named).parameters
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for argument in section:
        if argument == 'type' or argument in parameters:
            continue
        if not takes_more or difflib.get_close_matches(str(argument), parameters, n=1, cutoff=0.8):
            raise OptionsError(f'{key}.{argument}: unknown argument of {section["type"]}; '
                               f'{closest(str(argument), parameters)}')
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD and \
                name not in (*section, *given):
            raise OptionsError(f'{key}.{name} is missing; {section["type"]} needs it')
    return named


def must_exist(path: str, key: str) -> None:
    """Check that a file or folder exists.

    Raises:
        OptionsError: No such file or folder; the text gives the closest name that exists.
    """
    if os.path.exists(path):
        return
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        hint = f'the folder {folder} does not exist either'
    elif os.listdir(folder):
        hint = closest(os.path.basename(path), os.listdir(folder))
    else:
        hint = f'the folder {folder} is empty'
    raise OptionsError(f'{key}: {path} does not exist (from {os.getcwd()}); {hint}')
