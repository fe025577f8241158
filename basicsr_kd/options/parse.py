"""Reading an options file and what the command line adds: for our models in the place of BasicSR's `parse_options`.

BasicSR's own loader runs code that a file names (`!!python/object/apply:`), its `--force_yml` runs what is given, and
both end in tracebacks on mistakes. Imports neither torch nor BasicSR.
"""
from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import yaml

from basicsr_kd.errors import OptionsError


class _Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1 as BasicSR reads it, with mappings in the order of the file, and no tags that name Python's objects."""


def _mapping(loader: Any, node: yaml.MappingNode) -> OrderedDict[Any, Any]:
    pairs = loader.construct_pairs(node, deep=True)
    seen: set[Any] = set()
    for (key, _), (key_node, _) in zip(pairs, node.value, strict=True):
        if not isinstance(key, (str, int, float, type(None))):
            raise yaml.constructor.ConstructorError(None, None, f'found {key!r} as a key, expected a word',
                                                    key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f'found {key} a second time', key_node.start_mark)
        seen.add(key)
    return OrderedDict(pairs)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of BasicSR's train.py and test.py."""
    parser = argparse.ArgumentParser()
    parser.add_argument('-opt', type=str, required=True, help='Path to option YAML file.')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none', help='job launcher')
    parser.add_argument('--auto_resume', action='store_true')
    parser.add_argument('--debug', action='store_true')
    parser.add_argument('--local_rank', type=int, default=0)
    parser.add_argument('--force_yml', nargs='+', default=None,
                        help='Force to update yml files. Examples: train:ema_decay=0.999')
    return parser.parse_args(argv)


def model_of(args: argparse.Namespace) -> str | None:
    """Which model an options file is for, found without building anything that it holds; None: it does not say.

    Raises:
        OptionsError: The file cannot be read, or is no YAML.
    """
    forced = [value for key, value in map(_entry, args.force_yml or ()) if key == ['model_type']]
    if forced:
        return str(forced[-1])
    root = _from_yaml(args.opt, lambda text: yaml.compose(text, Loader=_Loader))
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    return next((value.value for key, value in pairs if key.value == 'model_type' and
                 isinstance(value, yaml.ScalarNode)), None)


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of a file, changed as `--force_yml` says.

    Raises:
        OptionsError: The file cannot be read, is no YAML or no sections; an entry of `--force_yml` makes no sense.
    """
    opt = _from_yaml(args.opt, lambda text: yaml.load(text, Loader=_Loader))
    if not isinstance(opt, dict):
        raise OptionsError(f'{args.opt}: found {_short(opt)}, expected sections such as datasets: and train:')
    for entry in args.force_yml or ():
        keys, value = _entry(entry)
        section = opt
        for depth, key in enumerate(keys[:-1], start=1):
            if section.get(key) is None:
                section[key] = OrderedDict()
            section = section[key]
            if not isinstance(section, dict):
                raise OptionsError(f'--force_yml {entry}: {":".join(keys[:depth])} is {_short(section)}, expected a '
                                   'section')
        section[keys[-1]] = value
    return opt


def _from_yaml(path: str, read: Any) -> Any:
    try:
        with open(path, encoding='utf-8') as file:
            return read(file.read())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f', line {mark.line + 1}, column {mark.column + 1}' if mark else ''
        raise OptionsError(f'{path}{where}: {error.problem or error.context}') from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: bytes that are no text, a date that is none
        raise OptionsError(f'{path} is not YAML: {" ".join(str(error).split())}') from None
    except RecursionError:
        raise OptionsError(f'{path}: its sections are nested too deeply') from None
    except OSError as error:
        raise OptionsError(f'-opt: {path} cannot be read (from {os.getcwd()}): {error.strerror}') from None


def _entry(entry: str) -> tuple[list[str], Any]:
    """The keys and the value of an entry of `--force_yml`, `train:optim_g:lr=1e-4`."""
    expected = 'Expected e.g. train:optim_g:lr=1e-4'
    keys, equals, value = entry.partition('=')
    names = [key.strip() for key in keys.split(':')]
    if not equals or not all(names):
        raise OptionsError(f'--force_yml: found {entry!r}, which sets no key to a value. {expected}')
    if '=' in value:
        raise OptionsError(f'--force_yml: found {entry!r}, with more than one =. {expected}')
    return names, _value(value.strip(), entry)


def _value(text: str, entry: str) -> Any:
    """A value as BasicSR reads it, and where that leaves a text, as YAML."""
    lower = text.lower()
    if lower in ('~', 'none'):
        return None
    if lower in ('true', 'false'):
        return lower == 'true'
    try:
        if text.startswith('!!float'):
            return float(text.replace('!!float', ''))
        if text.isdecimal():
            return int(text)
        if text.replace('.', '', 1).isdecimal():
            return float(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
        raise OptionsError(f'--force_yml: found {entry!r}, whose value cannot be read ({reason})') from None


def _short(value: Any) -> str:
    text = 'nothing' if value is None else repr(value)
    return text if len(text) <= 60 else f'{text[:60]}…'
