"""The keys of each set in `datasets:`, by its type. Imports neither torch nor BasicSR."""
from __future__ import annotations

from typing import Any

from basicsr_kd.errors import OptionsError
from basicsr_kd.options.basicsr_sections import AnySet, BackendOptions, PairedSection, PhotoSection
from basicsr_kd.options.clips import ClipTestOptions, ClipTrainOptions
from basicsr_kd.options.convert import check_keys, convert
from basicsr_kd.options.realesrgan import PHOTO_SETS, PhotoOptions

SETS: dict[str, Any] = {
    'PairedImageDataset': PairedSection, 'SingleImageDataset': PhotoSection, 'TecoGANTrainDataset': ClipTrainOptions,
    'TecoGANTestDataset': ClipTestOptions, **dict.fromkeys(PHOTO_SETS, PhotoOptions)
}
_IN_PLACE_OF = {'NamedPairedImageDataset': 'PairedImageDataset'}
"""What the preflight puts there, in options that are checked again."""
_CHECKED_ELSEWHERE = (ClipTrainOptions, ClipTestOptions, PhotoOptions)
"""Where what they say is read."""


def check_set(dataset: dict[str, Any], key: str) -> list[str]:
    """Check the keys of a set.

    Args:
        dataset: Its section.
        key: Where it stands.

    Returns:
        Warnings, a line each: of a set of another kind most keys are not checked.

    Raises:
        OptionsError: A key that is missing or unknown, or of a wrong type.
    """
    if not isinstance(dataset.get('type'), str):
        raise OptionsError(f'{key}.type: found {dataset.get("type")!r}, expected the kind of set, such as '
                           'PairedImageDataset')
    kind = SETS.get(_IN_PLACE_OF.get(dataset['type'], dataset['type']))
    if kind in _CHECKED_ELSEWHERE:
        return []
    if kind is None:
        common = {name: value for name, value in dataset.items() if name in AnySet.__struct_fields__}
        convert({'io_backend': {'type': 'disk'}, **common, **_backend(common)}, AnySet, key, {key: AnySet})
        return [f'{key}: of type {dataset["type"]} only the keys that all sets have are checked']
    check_keys(dataset, kind, key, {key: kind, f'{key}.io_backend': BackendOptions})
    return []


def _backend(common: dict[str, Any]) -> dict[str, Any]:
    """The place of images of a set of another kind, as far as it is one of ours."""
    backend = common.get('io_backend')
    return {'io_backend': {'type': 'disk'}} if isinstance(backend, dict) else {}
