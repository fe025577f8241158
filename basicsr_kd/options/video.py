"""The keys of TecoGANModel that other models do not have. Imports neither torch nor BasicSR."""
from __future__ import annotations

import os
from typing import Annotated, Any, Literal

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.options.convert import Section, convert
from basicsr_kd.options.our_models import VIDEO_MODEL, our_model
from basicsr_kd.options.val import AnyValOptions, check_val

TOP_KEYS = {'degradation'}
TRAIN_KEYS = {'warp_opt', 'pingpong_opt'}


class DegradationOptions(Section):
    """How low resolution is made of ground truth, where a data set does not have it."""
    type: Literal['BD', 'BI'] = 'BD'  # BD: Gaussian blur and every scale-th pixel; BI: bicubic, which must be given
    sigma: Annotated[float, msgspec.Meta(gt=0)] = 1.5  # of the blur, in pixels of the ground truth


class VideoValOptions(AnyValOptions):
    """The keys of `val:` that are ours (BasicSR's own stand beside them)."""
    # how frames are scored: as TecoGAN's authors, or as while training
    protocol: Literal['official', 'training'] = 'official'
    frame_rate: Annotated[float, msgspec.Meta(gt=0)] | None = None  # frames a second of the clips, for JOD


class _ClipMetric(Section, tag_field='type'):
    better: Literal['lower'] = 'lower'  # which is better


class PSNROptions(Section, tag_field='type', tag='calculate_psnr'):
    """A metric of type `calculate_psnr`; border and colours are the protocol's."""
    better: Literal['higher'] = 'higher'  # which is better


class JODOptions(Section, tag_field='type', tag='calculate_jod'):
    """A metric of type `calculate_jod`."""
    better: Literal['higher'] = 'higher'  # which is better


class JOD20Options(Section, tag_field='type', tag='calculate_jod20'):
    """A metric of type `calculate_jod20`."""
    better: Literal['higher'] = 'higher'  # which is better


class LPIPSOptions(_ClipMetric, tag='calculate_lpips'):
    """A metric of type `calculate_lpips`."""
    weights: str | None = None  # of AlexNet, for LPIPS and tLP; default: torch's cache folder, else a download


class TOFOptions(_ClipMetric, tag='calculate_tof'):
    """A metric of type `calculate_tof`."""


class TLPOptions(_ClipMetric, tag='calculate_tlp'):
    """A metric of type `calculate_tlp`."""
    weights: str | None = None  # of AlexNet; default: torch's cache folder, else a download


class FIDOptions(_ClipMetric, tag='calculate_fid'):
    """A metric of type `calculate_fid`, over the frames of all clips."""
    weights: str | None = None  # of Inception


class KIDOptions(_ClipMetric, tag='calculate_kid'):
    """A metric of type `calculate_kid`, over the frames of all clips."""
    weights: str | None = None  # of Inception
    patch: Annotated[int, msgspec.Meta(ge=8)] = 64  # side of the pieces that are compared


_AnyMetric = PSNROptions | JODOptions | JOD20Options | LPIPSOptions | TOFOptions | TLPOptions | FIDOptions | KIDOptions


def check_video(opt: dict[str, Any], is_train: bool) -> None:
    """Check what TecoGANModel has besides, and fill in defaults, in place.

    Raises:
        OptionsError: A key or value that is not possible, or a loss that is missing.
    """
    section = convert(opt.get('degradation') or {}, DegradationOptions, 'degradation',
                      {'degradation': DegradationOptions})
    opt['degradation'] = msgspec.to_builtins(section)
    if not is_train:
        return
    train, dataset = opt.get('train') or {}, opt['datasets'].get('train') or {}
    if train.get('pixel_opt') is None:
        raise OptionsError('train.pixel_opt is missing; e.g. {type: CharbonnierLoss, loss_weight: 1.0, eps: 0.000001}')
    if section.type == 'BI' and dataset.get('type') == 'TecoGANTrainDataset':
        raise OptionsError('degradation.type: BI needs low-resolution frames in datasets.train, and '
                           "TecoGANTrainDataset has ground truth only; use BasicSR's REDSRecurrentDataset, or type: BD")
    train.setdefault('net_d_init_iters', 0)  # a fresh discriminator is what TecoGAN starts with
    frames = dataset.get('num_frame', 10)
    if train.get('gan_opt') and isinstance(frames, int) and frames * (2 if train.get('pingpong_opt') else 1) < 3:
        raise OptionsError(f'datasets.train.num_frame: found {dataset["num_frame"]}, expected at least 3: the '
                           'discriminator looks at three frames together')


def check_video_val(val: dict[str, Any]) -> None:
    """`basicsr_kd.options.val.check_val` for clips."""
    check_val(val, VideoValOptions, _check_metric)
    for name, metric in (val.get('metrics') or {}).items():
        depends = isinstance(metric, dict) and metric['type'] in ('calculate_jod', 'calculate_jod20')
        if depends and not val['frame_rate']:
            raise OptionsError(f'val.frame_rate is missing: frames a second of the clips, which val.metrics.{name} '
                               'depends on')


def _check_metric(metric: dict[str, Any], key: str) -> dict[str, Any]:
    checked = msgspec.to_builtins(convert(metric, _AnyMetric, key, {key: _AnyMetric}))
    if checked.get('weights'):
        checked['weights'] = os.path.expanduser(checked['weights'])
    return checked


def is_video(opt: dict[str, Any]) -> bool:
    """Whether the model of these options works on clips."""
    return our_model(opt['model_type']) == VIDEO_MODEL
