"""Which of our models a `model_type` means. Imports neither torch nor BasicSR."""
from __future__ import annotations

import sys
from typing import Any

VIDEO_MODEL = 'TecoGANModel'
REALESRGAN_MODELS = ('KDRealESRGANModel', 'PruneRealESRGANModel')
OUR_MODELS = ('KDGANModel', 'PruneGANModel', VIDEO_MODEL, *REALESRGAN_MODELS)


def our_model(model_type: Any) -> str | None:
    """The model of ours that a name means: itself, or what a class registered elsewhere derives from; None: neither."""
    if model_type in OUR_MODELS:
        return str(model_type)
    bases = (base for base in bases_of('MODEL_REGISTRY', model_type) if base.__module__.startswith('basicsr_kd.'))
    return next((base.__name__ for base in bases if base.__name__ in OUR_MODELS), None)


def bases_of(registry: str, name: Any) -> tuple[type, ...]:
    """What a class in one of BasicSR's registries derives from, itself first; nothing where there is none."""
    registries: Any = sys.modules.get('basicsr.utils.registry')  # not there: nothing is registered
    found = dict(iter(getattr(registries, registry))) if registries and isinstance(name, str) else {}
    return getattr(found[name], '__mro__', ()) if isinstance(name, str) and name in found else ()
