"""The keys of `val:` that are ours, and what our metrics take there. Imports neither torch nor BasicSR."""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.options.convert import Section, Structs, convert, convert_ours, refuse_unknown


class AnyValOptions(Section):
    """The keys of `val:` that images and clips share."""
    # iterations from one validation to the next; 0: only at the end; training needs it
    val_freq: Annotated[int, msgspec.Meta(ge=0)] | None = None
    save_img: bool = False  # whether results are saved as images
    suffix: str | None = None  # of their names, in test; default: the name of the run
    pbar: bool = False  # whether to show a progress bar
    metrics: dict[str, Any] | None = None  # a section with type: for each score
    amp: Literal['fp32', 'same'] = 'fp32'  # same: as train.amp; in test, where nothing trains, fp32 too


class ValOptions(AnyValOptions):
    """The keys of `val:` that are ours (BasicSR's own stand beside them)."""
    tile: Annotated[int, msgspec.Meta(ge=0)] = 0  # images in pieces of so many low-resolution pixels; 0: whole
    tile_overlap: Annotated[int, msgspec.Meta(ge=0)] = 16  # low-resolution pixels that pieces share at each side
    pictures: Annotated[int, msgspec.Meta(ge=0)] = 0  # of so many images of a set, side by side in TensorBoard


class _OurMetric(Section, tag_field='type'):
    better: Literal['lower'] = 'lower'  # which BasicSR would take for `higher` where it is left out
    weights: str | None = None  # of the backbone; default: torch's cache folder, else a download


class LPIPSOptions(_OurMetric, tag='calculate_lpips', kw_only=True):
    """A metric of type `calculate_lpips`."""
    crop_border: Annotated[int, msgspec.Meta(ge=0)]  # pixels at each side that do not count
    net: Literal['alex', 'vgg', 'squeeze'] = 'alex'  # the backbone


class FIDOptions(_OurMetric, tag='calculate_fid'):
    """A metric of type `calculate_fid`, of a whole set."""


class KIDOptions(_OurMetric, tag='calculate_kid'):
    """A metric of type `calculate_kid`, of a whole set."""
    patch: Annotated[int, msgspec.Meta(ge=8)] = 64  # side of the pieces that are compared


class NIQEOptions(Section, tag_field='type', tag='calculate_niqe', kw_only=True):
    """A metric of type `calculate_niqe`, BasicSR's."""
    crop_border: Annotated[int, msgspec.Meta(ge=0)]  # pixels at each side that do not count
    input_order: Literal['HWC'] = 'HWC'  # as results are
    convert_to: Literal['y', 'gray'] = 'y'  # what of the colours counts
    better: Literal['lower'] = 'lower'  # which is better


class _WithTruth(Section, tag_field='type', kw_only=True):
    crop_border: Annotated[int, msgspec.Meta(ge=0)]  # pixels at each side that do not count
    input_order: Literal['HWC'] = 'HWC'  # as results are


class _HigherOptions(_WithTruth, kw_only=True):
    better: Literal['higher'] = 'higher'  # which is better


class _LowerOptions(_WithTruth, kw_only=True):
    better: Literal['lower'] = 'lower'  # which is better


class _BasicSROptions(_WithTruth, kw_only=True):
    better: Literal['higher', 'lower'] = 'higher'  # which is better
    test_y_channel: bool = False  # whether luma alone counts


class PSNROptions(_BasicSROptions, tag='calculate_psnr'):
    """A metric of type `calculate_psnr`, BasicSR's."""


class SSIMOptions(_BasicSROptions, tag='calculate_ssim'):
    """A metric of type `calculate_ssim`, BasicSR's."""


class JODOptions(_HigherOptions, tag='calculate_jod'):
    """A metric of type `calculate_jod`."""


class JOD20Options(_HigherOptions, tag='calculate_jod20'):
    """A metric of type `calculate_jod20`."""


class HaarPSIOptions(_HigherOptions, tag='calculate_haarpsi'):
    """A metric of type `calculate_haarpsi`."""


class MDSIOptions(_LowerOptions, tag='calculate_mdsi'):
    """A metric of type `calculate_mdsi`."""


class GMSDOptions(_LowerOptions, tag='calculate_gmsd'):
    """A metric of type `calculate_gmsd`."""


class TextureOptions(_WithTruth, tag='calculate_texture'):
    """A metric of type `calculate_texture`, of which 1 is best."""


_METRICS = {struct.__struct_config__.tag: struct for struct in (
    LPIPSOptions, FIDOptions, KIDOptions, NIQEOptions, PSNROptions, SSIMOptions, JODOptions, JOD20Options,
    HaarPSIOptions, MDSIOptions, GMSDOptions, TextureOptions)}


def check_val(val: dict[str, Any], kind: type[Section] = ValOptions,
              check_metric: Callable[[dict[str, Any], str], dict[str, Any]] | None = None) -> None:
    """Check the section `val:` and fill in defaults, in place.

    Args:
        val: The section.
        kind: Its keys that are ours.
        check_metric: Takes a metric's section and its key, gives it with defaults; default: of images.

    Raises:
        OptionsError: A key or value that is not possible.
    """
    refuse_unknown(val, kind.__struct_fields__, 'val.')
    convert_ours(val, kind, 'val')
    metrics = val['metrics'] or {}
    for name, metric in metrics.items():
        if isinstance(metric, dict):  # `basicsr_kd.preflight` says what else is wrong
            metrics[name] = (check_metric or _check_metric)(metric, f'val.metrics.{name}')


def _check_metric(metric: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(metric.get('type'), str):
        raise OptionsError(f'{key}.type: found {metric.get("type")!r}, expected the name of a metric')
    struct: Any = _METRICS.get(metric['type'])
    if struct is None:
        if metric.get('better', 'higher') not in ('higher', 'lower'):
            raise OptionsError(f'{key}.better: found {metric["better"]!r}. Possible: higher, lower')
        return metric
    structs: Structs = {key: struct}
    checked = msgspec.to_builtins(convert(metric, struct, key, structs))
    if checked.get('weights'):
        checked['weights'] = os.path.expanduser(checked['weights'])
    return checked


def has_truth(dataset: Mapping[str, Any]) -> bool:
    """Whether results on a set of images or clips, a section of `datasets:`, can be compared with something."""
    if dataset['type'] == 'TecoGANTestDataset':
        return bool(dataset.get('dataroot_gt'))
    return dataset['type'] != 'SingleImageDataset'
