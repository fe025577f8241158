"""Inputs for the networks of a run before it starts, from its options: calibration images, a training patch."""
from __future__ import annotations

import copy
import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from basicsr_kd.archs.probe import input_channels, is_recurrent, probe_image
from basicsr_kd.data import RealESRGANPhotoDataset, TecoGANTrainDataset
from basicsr_kd.data.calibration import read_calibration_for, read_whole, spread
from basicsr_kd.data.realesrgan_degradation import SecondOrderDegradation
from basicsr_kd.data.seeds import seeded
from basicsr_kd.data.tecogan_degradation import SIGMA
from basicsr_kd.options.prune import CalibrationOptions
from basicsr_kd.options.realesrgan import gt_size, synthesises


def calibration_root(net: nn.Module, calibration: CalibrationOptions, opt: dict[str, Any]) -> tuple[str | None, str]:
    """Find where the calibration images of a network are.

    Returns:
        The folder or .lmdb, or None if no option names one; and the key that names it, from `calibration` or
        `datasets` on.
    """
    train = opt['datasets']['train']
    key = 'dataroot_gt' if is_recurrent(net) or synthesises(opt) else 'dataroot_lq'
    if is_recurrent(net):
        if train.get('type') != TecoGANTrainDataset.__name__:  # other sets may choose their clips in other ways
            train = {}
    root = calibration.dataroot or train.get(key)
    return (os.path.expanduser(root) if isinstance(root, str) else None,
            'calibration.dataroot' if calibration.dataroot else f'datasets.train.{key}')


def calibration_images(net: nn.Module, calibration: CalibrationOptions, opt: dict[str, Any]) -> Tensor | None:
    """The images (n, c, h, w) or clips (n, t, c, h, w) that the network takes; None if the options name no images.

    From a training set of clips, only the clips that training uses are taken, none for validation. If training makes
    low resolution from photos, it is made here in the same way.

    Raises:
        PruningError: As in `read_calibration_for`.
        ClipError: As in `TecoGANTrainDataset`.
    """
    root, _ = calibration_root(net, calibration, opt)
    if root is None:
        return None
    if synthesises(opt) and not calibration.dataroot:
        return _degraded_patches(opt, calibration)
    clips = None
    if is_recurrent(net) and not calibration.dataroot:
        section = {**opt['datasets']['train'], 'phase': 'train', 'cache': None}  # only the list of clips is needed
        clips = TecoGANTrainDataset(section).clips
    sigma = (opt.get('degradation') or {}).get('sigma', SIGMA)
    return read_calibration_for(net, root, calibration.num, calibration.size, sigma, clips)


def whole_images(net: nn.Module, calibration: CalibrationOptions, opt: dict[str, Any]) -> list[Tensor] | None:
    """The images of `calibration_images` in full size; None for clips, and if training makes the low resolution."""
    root, _ = calibration_root(net, calibration, opt)
    if root is None or is_recurrent(net) or (synthesises(opt) and not calibration.dataroot):
        return None
    return read_whole(root, calibration.num, input_channels(net))


def _degraded_patches(opt: dict[str, Any], calibration: CalibrationOptions) -> Tensor:
    """Low resolution (n, 3, size, size) of photos evenly spread over the training set, the same at every call.

    The size is smaller if `crop_size` has less room, and a multiple of 4, for networks with a pixel-unshuffle.
    """
    section = copy.deepcopy(opt['datasets']['train'])
    crop = section['crop_size']
    size = min(calibration.size, crop // opt['scale']) // 4 * 4
    degrade = SecondOrderDegradation({**opt, 'gt_size': crop}, torch.device('cpu'))
    with seeded(0):
        photos = RealESRGANPhotoDataset(section)
        return torch.cat([degrade(default_collate([photos[index]]))[0][..., :size, :size]
                          for index in spread(range(len(photos)), calibration.num)])


def training_patch(opt: dict[str, Any], device: torch.device) -> Tensor:
    """A grey low-resolution image (1, c, h, w) like those that training gives `network_g`, to find shapes with.

    It has the size of training, since some networks take no smaller images, or pad some sizes inside.
    """
    return probe_image(opt['network_g'].get('num_in_ch', 3), device, max(gt_size(opt) // opt['scale'], 1))
