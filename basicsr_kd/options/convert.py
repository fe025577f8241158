"""What is said of a fault in an options file: the key's path, what was found and what is possible."""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.utils.text import closest

Structs = Mapping[str, Any]
"""Structs, or unions of structs that a key `type` tells apart, by their paths in the options file."""


def refuse_unknown(section: Mapping[str, Any], known: Collection[str], prefix: str) -> None:
    """See that a section has no key that nobody reads.

    Args:
        section: A section of an options file.
        known: The keys that it may have.
        prefix: What stands before its keys in messages: '' for the file itself, else the section's path and a dot.

    Raises:
        OptionsError: An unknown key; the text has the closest known one.
    """
    for key in section:
        if key not in known:
            raise OptionsError(f'{prefix}{key}: unknown key; {closest(str(key), known)}')


def check_keys(section: dict[str, Any], kind: Any, path: str, structs: Structs | None = None,
               more: Collection[str] = ()) -> None:
    """Check a section against a struct. No default is filled in; a key whose `~` means nothing is removed.

    Args:
        section: A section of an options file.
        kind: The struct.
        path: The section's place in the file; '' for the file itself.
        structs: As for `convert`; default: `kind` alone.
        more: Further keys that are allowed, since other code checks them.

    Raises:
        OptionsError: As `convert`, and an unknown key.
    """
    _make_whole(section, kind)
    known = {*kind.__struct_fields__, *more}
    refuse_unknown(section, known, f'{path}.' if path else '')
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    for key in [key for key, value in section.items() if value is None and defaults.get(key, None) is not None]:
        del section[key]
    given = {key: value for key, value in section.items() if key in defaults and value is not None}
    convert(given, kind, path, structs or {path: kind})


def convert_ours(section: dict[str, Any], kind: Any, path: str, structs: Structs | None = None) -> None:
    """Check the keys of a struct in a section that may have others, and fill in its defaults, in place.

    Args:
        section: A section of an options file.
        kind: The struct.
        path: Where it stands in the file; '' for the file itself.
        structs: As for `convert`; default: none but `kind`.

    Raises:
        OptionsError: As `convert`.
    """
    _make_whole(section, kind)
    ours = {key: section[key] for key in kind.__struct_fields__ if key in section}
    section.update(msgspec.to_builtins(convert(ours, kind, path, structs or {path: kind})))


def _make_whole(section: dict[str, Any], kind: Any) -> None:
    """Whole numbers that BasicSR's files write as `!!float 5e3`, in place."""
    for key, hint in get_type_hints(kind).items():
        kinds, value = (hint, *get_args(hint)), section.get(key)
        if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer():
            section[key] = int(value)


def convert(section: Any, kind: Any, path: str, structs: Structs) -> Any:
    """msgspec.convert, with errors for people.

    Args:
        section: A section of an options file.
        kind: The struct (or union) it must be.
        path: Where it stands in the file; '' for the file itself.
        structs: The structs by their paths, for suggestions.

    Raises:
        OptionsError: The key's path, what was found, what is possible.
    """
    try:
        return msgspec.convert(section, kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(' - at `$')
        where = where.rstrip('`')
        full = (path + where).removeprefix('.')
        unknown = re.search(r'unknown field `(.*)`', message)
        if unknown:
            struct = _struct(_without_indices(full), _look_up(section, where), structs)
            known = struct.__struct_fields__ if struct else ()
            raise OptionsError(f'{full}.{unknown[1]}: unknown key; {closest(unknown[1], known)}') from None
        missing = re.search(r'missing required field `(.*)`', message)
        if missing:
            raise OptionsError(f'{full}.{missing[1]} is missing'.removeprefix('.')) from None
        found = _look_up(section, where)
        choices = _choices(full, _look_up(section, where.rpartition('.')[0]), structs)
        raise OptionsError(f'{full}: found {found!r}. ' +
                           (f'Possible: {choices}' if choices else _in_yaml_words(message))) from None


def _in_yaml_words(message: str) -> str:
    """What msgspec says of Python's types, in the words of an options file."""
    words = {'object': 'a section', 'array': 'a list', 'str': 'a text', 'float': 'a number', 'int': 'a whole number',
             'bool': 'true or false', 'null': 'nothing'}
    return re.sub(r'`([^`]*)`', lambda types: ' or '.join(words.get(t, t) for t in types[1].split(' | ')), message)


def _look_up(section: Any, where: str) -> Any:
    """The value at a msgspec path such as `.prune[0].ratio`; an inner `[...]` stands for some item of a mapping."""
    for key, index in re.findall(r'\.([^.\[]+)|\[([^]]*)\]', where):
        if index == '...':
            return section
        section = section[int(index)] if index else section[key]
    return section


def _choices(full: str, parent: Any, structs: Structs) -> str:
    """What the key at this path may be, where it takes one of a few words or numbers."""
    path, _, key = _without_indices(full).rpartition('.')
    if path in structs and key == 'type' and get_args(structs[path]):
        return ', '.join(struct.__struct_config__.tag for struct in get_args(structs[path]))
    struct = _struct(path, parent, structs)
    if struct is None or key not in struct.__struct_fields__:
        return ''
    kind = get_type_hints(struct)[key]
    kinds = (kind, *get_args(kind))  # those of `Literal[…] | None` too
    return ', '.join(str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind))


def _struct(path: str, section: Any, structs: Structs) -> Any:
    """The struct at a path; of a union the one that the section's `type` names."""
    found = structs.get(path)
    if not get_args(found):
        return found
    return next((struct for struct in get_args(found) if isinstance(section, Mapping) and
                 struct.__struct_config__.tag == section.get('type')), None)


def _without_indices(path: str) -> str:
    return re.sub(r'\[[^]]*\]', '', path)


class Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A section of an options file; a key that it does not have is an error."""
