"""`register()`: puts the plugin's classes and metrics into BasicSR's registries, its steps into BasicSR's runners.

Calling it again changes nothing, so the import hook, the launchers and a user's own script may all do it.
"""
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

from basicsr_kd import compat
from basicsr_kd.runs.distributed import warn
from basicsr_kd.runs.resume import load_resume_state

# The package whose `__all__` exports a class or a metric (a function) decides the registry; the keys are BasicSR's
# names for its registries.
EXPORTS = {
    'ARCH_REGISTRY': 'basicsr_kd.archs',
    'DATASET_REGISTRY': 'basicsr_kd.data',
    'LOSS_REGISTRY': 'basicsr_kd.losses',
    'METRIC_REGISTRY': 'basicsr_kd.metrics',
    'MODEL_REGISTRY': 'basicsr_kd.models',
}
# `parse_options` is imported by name into BasicSR's runners, so it is replaced in each of them.
PARSERS = ('basicsr.utils.options', 'basicsr.train', 'basicsr.test')


def register() -> None:
    """Registers classes and metrics, and wraps BasicSR's option parsing; a second call changes nothing.

    A name that is already taken by others stays theirs, and one line on stderr says so.

    Raises:
        ImportError: BasicSR, or something the plugin needs, is missing.
    """
    compat.prepare_import()
    registries = importlib.import_module('basicsr.utils.registry')
    compat.patch_basicsr()
    for registry_name, package_name in EXPORTS.items():
        registry, package = getattr(registries, registry_name), importlib.import_module(package_name)
        _let_others_replace(registry)
        for name in package.__all__:
            _register(registry, name, getattr(package, name))
    for module_name in PARSERS:
        module: Any = importlib.import_module(module_name)
        module.parse_options = _wrap_parse_options(module.parse_options)


def registered() -> list[str]:
    """The names in BasicSR's registries that belong to our classes and metrics."""
    registries = importlib.import_module('basicsr.utils.registry')
    return [name for registry in EXPORTS for name, obj in getattr(registries, registry) if _is_ours(obj)]


def _register(registry: Any, name: str, obj: Any) -> None:
    held = registry._obj_map.get(name)
    if held is obj:
        return
    if held is not None and not _is_ours(held):
        warn(f"'{name}' of the {registry._name} registry belongs to {_describe(held)} already; that one stays, "
              f'{_describe(obj)} is not registered')
        return
    registry._obj_map[name] = obj  # new, or our own from before a reload


def _let_others_replace(registry: Any) -> None:
    """Lets an extension imported later take one of our names; BasicSR's registry alone would stop it with an assert.

    The plugin registers as soon as BasicSR is imported, so without this it would break code that works without it.
    """
    if '_do_register' in vars(registry):
        return
    original = registry._do_register

    @functools.wraps(original)
    def do_register(name: str, obj: Any, suffix: str | None = None) -> None:
        held = registry._obj_map.get(name)
        if suffix is None and held is not None and _is_ours(held):
            warn(f"'{name}' of the {registry._name} registry now belongs to {_describe(obj)}, "
                  f'in place of {_describe(held)}')
            del registry._obj_map[name]
        original(name, obj, suffix)

    registry._do_register = do_register


def _is_ours(obj: Any) -> bool:
    return getattr(obj, '__module__', '').partition('.')[0] == 'basicsr_kd'


def _describe(obj: Any) -> str:
    return f'{getattr(obj, "__module__", "?")}.{getattr(obj, "__qualname__", obj)}'


def _wrap_parse_options(parse_options: Callable[..., tuple[dict, Any]]) -> Callable[..., tuple[dict, Any]]:
    if getattr(parse_options, '_basicsr_kd', False):
        return parse_options

    @functools.wraps(parse_options)
    def wrapper(root_path: str, is_train: bool = True) -> tuple[dict, Any]:
        from basicsr_kd.preflight import check_options, parse_ours
        opt, args = parse_ours(root_path, is_train) or parse_options(root_path, is_train=is_train)
        main: Any = sys.modules['__main__']
        if is_train and hasattr(main, 'train_pipeline') and hasattr(main, 'load_resume_state'):
            main.load_resume_state = load_resume_state  # BasicSR's train.py run as a script has its own
        check_options(opt, is_train)
        return opt, args

    wrapper._basicsr_kd = True  # type: ignore[attr-defined]
    return wrapper
