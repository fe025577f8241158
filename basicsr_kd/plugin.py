"""`register()`: puts the plugin's classes and metrics into BasicSR's registries, its steps into BasicSR's runners.

Calling it again changes nothing, so the import hook, the launchers and a user's own script may all do it.
"""

import difflib
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

from basicsr_kd import compat, launchers

# Where a class or a metric, which is a function, belongs is the package that exports it (`__all__`); BasicSR's names
# for its registries on the left.
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
    """Registers classes and metrics, and wraps BasicSR's option parsing, once.

    A name that somebody else already holds stays with them, and one line on stderr says so.

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
    """The names in BasicSR's registries that stand for classes and metrics of ours."""
    registries = importlib.import_module('basicsr.utils.registry')
    return [name for registry in EXPORTS for name, obj in getattr(registries, registry) if _is_ours(obj)]


def _register(registry: Any, name: str, obj: Any) -> None:
    held = registry._obj_map.get(name)
    if held is obj:
        return
    if held is not None and not _is_ours(held):
        _warn(f"'{name}' of the {registry._name} registry belongs to {_describe(held)} already; that one stays, "
              f'{_describe(obj)} is not registered')
        return
    registry._obj_map[name] = obj  # new, or our own from before a reload


def _let_others_replace(registry: Any) -> None:
    """Lets an extension imported later take one of our names; BasicSR's registry alone would end it with an assert.

    The plugin registers as soon as BasicSR is imported, so without this it would break code that worked without it.
    """
    if '_do_register' in vars(registry):
        return
    original = registry._do_register

    @functools.wraps(original)
    def do_register(name: str, obj: Any, suffix: str | None = None) -> None:
        held = registry._obj_map.get(name)
        if suffix is None and held is not None and _is_ours(held):
            _warn(f"'{name}' of the {registry._name} registry now belongs to {_describe(obj)}, "
                  f'in place of {_describe(held)}')
            del registry._obj_map[name]
        original(name, obj, suffix)

    registry._do_register = do_register


def _is_ours(obj: Any) -> bool:
    return getattr(obj, '__module__', '').partition('.')[0] == 'basicsr_kd'


def _describe(obj: Any) -> str:
    return f'{getattr(obj, "__module__", "?")}.{getattr(obj, "__qualname__", obj)}'


def _warn(message: str) -> None:
    print(f'basicsr_kd: {message}.', file=sys.stderr)


def _wrap_parse_options(parse_options: Callable[..., tuple[dict, Any]]) -> Callable[..., tuple[dict, Any]]:
    if getattr(parse_options, '_basicsr_kd', False):
        return parse_options

    @functools.wraps(parse_options)
    def wrapper(root_path: str, is_train: bool = True) -> tuple[dict, Any]:
        opt, args = parse_options(root_path, is_train=is_train)
        main: Any = sys.modules['__main__']
        if is_train and hasattr(main, 'train_pipeline') and hasattr(main, 'load_resume_state'):
            main.load_resume_state = compat.load_resume_state  # BasicSR's train.py run as a script has its own
        _check_options(opt, is_train)
        return opt, args

    wrapper._basicsr_kd = True  # type: ignore[attr-defined]
    return wrapper


def _check_model_type(found: Any) -> None:
    """Ends the process on a name that nobody registered but that is close to one of ours."""
    from basicsr.utils.registry import MODEL_REGISTRY

    from basicsr_kd import options
    close = difflib.get_close_matches(str(found), options.OUR_MODELS, n=1, cutoff=0.7)
    if close and found not in MODEL_REGISTRY:
        sys.exit(f'basicsr_kd: model_type: found {found!r}; did you mean {close[0]!r}?')


def _check_options(opt: dict, is_train: bool) -> None:
    """Ends the process on wrong options of one of our models.

    BasicSR moves the folder of an earlier run away soon after parsing, long before it builds a model, so this is the
    last moment at which a mistake costs nothing.
    """
    from basicsr_kd import options, rank_checks
    from basicsr_kd.models.distributed import from_all_ranks
    ranks = rank_checks.options_of_ranks(opt)
    if not any(rank.get('model_type') in options.OUR_MODELS for rank in ranks):
        _check_model_type(opt.get('model_type'))
        return
    from basicsr_kd import preflight
    from basicsr_kd.checkpoint import CheckpointError
    from basicsr_kd.data.seeds import vary_worker_seeds
    from basicsr_kd.option_errors import OptionsError
    from basicsr_kd.pruning import PruningError
    warnings, mistake = [], ''
    try:
        rank_checks.must_agree(ranks)
        warnings = options.validate(opt, is_train)
        preflight.check(opt)
    except (OptionsError, CheckpointError, PruningError) as error:
        mistake = str(error)
    mistakes = [found for found in from_all_ranks(mistake) if found]  # files may be missing on one machine
    if mistakes:
        launchers.refuse(mistakes[0])
    vary_worker_seeds()
    if opt['rank'] == 0:
        for warning in warnings:
            _warn(warning)
