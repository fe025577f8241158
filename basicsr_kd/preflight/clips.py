"""The checks of `basicsr_kd.preflight` that keep clips and images apart: sets, networks and metrics of TecoGANModel."""
from __future__ import annotations

from typing import Any

from torch import nn

from basicsr_kd.archs.probe import is_recurrent, makes_low_resolution
from basicsr_kd.data.tecogan_train_dataset import check_crop
from basicsr_kd.errors import OptionsError
from basicsr_kd.options.our_models import VIDEO_MODEL
from basicsr_kd.options.video import is_video
from basicsr_kd.utils.metric_names import CLIP_METRICS, IMAGE_METRICS

_IMAGES = ('PairedImageDataset', 'SingleImageDataset', 'RealESRGANDataset', 'FFHQDataset')  # BasicSR's
_OF_CLIPS = [f'calculate_{name}' for name in CLIP_METRICS if name not in IMAGE_METRICS]


def check_sets(opt: dict[str, Any]) -> None:
    """Check that TecoGANModel has sets of clips, and that other models have none.

    Raises:
        OptionsError: The model cannot use a set.
    """
    for phase, dataset in opt['datasets'].items():
        found, key = dataset.get('type'), f'datasets.{phase}.type'
        if not is_video(opt):
            if found in ('TecoGANTrainDataset', 'TecoGANTestDataset'):
                raise OptionsError(f'{key}: {found} has clips, {opt["model_type"]} takes images; use model_type: '
                                   f'{VIDEO_MODEL}')
        elif phase != 'train' and found != 'TecoGANTestDataset':
            raise OptionsError(f'{key}: found {found}, expected TecoGANTestDataset, which {VIDEO_MODEL} reads frame by '
                               'frame')
        elif phase != 'train' and opt['degradation']['type'] == 'BI' and not dataset.get('dataroot_lq'):
            raise OptionsError(f'datasets.{phase}.dataroot_lq is missing: with degradation.type: BI low resolution '
                               'must be given, only BD can be made')
        elif found in _IMAGES:
            raise OptionsError(f'{key}: found {found}, which has images; expected clips, TecoGANTrainDataset')
        elif phase == 'train' and isinstance(dataset.get('gt_size'), int):  # of BasicSR's sets, too
            check_crop(dataset['gt_size'], opt['scale'], 'datasets.train.gt_size')


def must_take_clips(net: nn.Module, key: str, opt: dict[str, Any]) -> None:
    """Check that a network of TecoGANModel is an FRNet, perhaps pruned, for the degradation of the options.

    Raises:
        OptionsError: The network is of another type or for another degradation.
    """
    if not is_video(opt):
        return
    if not is_recurrent(net):
        raise OptionsError(f'{key}: found {type(net).__name__}, expected FRNet, the only network that {VIDEO_MODEL} '
                           'can run frame by frame')
    found, expected = 'BD' if makes_low_resolution(net) else 'BI', opt['degradation']['type']
    if found != expected:
        raise OptionsError(f'{key}: found an FRNet of degradation {found}, expected {expected} as degradation.type has '
                           'it; give both the same')


def check_clip_metric(kind: str, key: str, opt: dict[str, Any]) -> None:
    """Check that a metric of clips is used with a model of clips.

    Raises:
        OptionsError: The model works on single images.
    """
    if kind in _OF_CLIPS and not is_video(opt):
        raise OptionsError(f'{key}: {kind} is a metric of clips, and {opt["model_type"]} works on single images; '
                           f'remove it, or use model_type: {VIDEO_MODEL}')
