"""What the networks of a run are shown before it, as its options name it: calibration images, a training patch."""
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
    """Where the calibration images of a network are.

    Returns:
        The folder or .lmdb, None where nothing says so; and the key that says so, from `calibration` or `datasets` on.
    """
    train = opt['datasets']['train']
    key = 'dataroot_gt' if is_recurrent(net) or synthesises(opt) else 'dataroot_lq'
    if is_recurrent(net):
        if train.get('type') != TecoGANTrainDataset.__name__:  # whose clips may be chosen in other ways
            train = {}
    root = calibration.dataroot or train.get(key)
    return (os.path.expanduser(root) if isinstance(root, str) else None,
            'calibration.dataroot' if calibration.dataroot else f'datasets.train.{key}')


def calibration_images(net: nn.Module, calibration: CalibrationOptions, opt: dict[str, Any]) -> Tensor | None:
    """The images (n, c, h, w) or clips (n, t, c, h, w), as the network takes them; None where the options name none.

    Of the training set those clips that it takes; clips for validation are none of them. Of a set of photos whose low
    resolution is made in training, such as is made there.

    Raises:
        PruningError: As `read_calibration_for`.
        ClipError: As `TecoGANTrainDataset`.
    """
    root, _ = calibration_root(net, calibration, opt)
    if root is None:
        return None
    if synthesises(opt) and not calibration.dataroot:
        return _degraded_patches(opt, calibration)
    clips = None
    if is_recurrent(net) and not calibration.dataroot:
        section = {**opt['datasets']['train'], 'phase': 'train', 'cache': None}  # its list, not its pixels
        clips = TecoGANTrainDataset(section).clips
    sigma = (opt.get('degradation') or {}).get('sigma', SIGMA)
    return read_calibration_for(net, root, calibration.num, calibration.size, sigma, clips)


def whole_images(net: nn.Module, calibration: CalibrationOptions, opt: dict[str, Any]) -> list[Tensor] | None:
    """The images of `calibration_images` as large as they are; None of clips and where they are made in training."""
    root, _ = calibration_root(net, calibration, opt)
    if root is None or is_recurrent(net) or (synthesises(opt) and not calibration.dataroot):
        return None
    return read_whole(root, calibration.num, input_channels(net))


def _degraded_patches(opt: dict[str, Any], calibration: CalibrationOptions) -> Tensor:
    """Low resolution (n, 3, size, size) of photos evenly spread over the training set, the same at every call.

    The size is less where `crop_size` does not have so much, and a multiple of 4, which networks with a pixel-unshuffle
    need.
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
    """A grey low-resolution image (1, c, h, w) as training gives `network_g`, by which shapes are found.

    It has the size of training, as there are networks that take no smaller images, or pad some sizes inside.
    """
    return probe_image(opt['network_g'].get('num_in_ch', 3), device, max(gt_size(opt) // opt['scale'], 1))
