"""The calibration images of a run, as its options name them."""
from __future__ import annotations

import os
from typing import Any

from torch import Tensor, nn

from basicsr_kd.data import TecoGANTrainDataset
from basicsr_kd.data.degradation import SIGMA
from basicsr_kd.prune_options import CalibrationOptions
from basicsr_kd.pruning.calibration_clips import read_calibration_for, takes_clips


def calibration_root(net: nn.Module, calibration: CalibrationOptions, opt: dict[str, Any]) -> tuple[str | None, str]:
    """Where the calibration images of a network are.

    Returns:
        The folder or .lmdb, None where nothing says so; and the key that says so, from `calibration` or `datasets` on.
    """
    train, key = opt['datasets']['train'], 'dataroot_lq'
    if takes_clips(net):
        key = 'dataroot_gt'
        if train.get('type') != TecoGANTrainDataset.__name__:  # whose clips may be chosen in other ways
            train = {}
    root = calibration.dataroot or train.get(key)
    return (os.path.expanduser(root) if isinstance(root, str) else None,
            'calibration.dataroot' if calibration.dataroot else f'datasets.train.{key}')


def calibration_images(net: nn.Module, calibration: CalibrationOptions, opt: dict[str, Any]) -> Tensor | None:
    """The images (n, c, h, w) or clips (n, t, c, h, w), as the network takes them; None where the options name none.

    Of the training set those clips that it takes; clips for validation are none of them.

    Raises:
        PruningError: As `read_calibration_for`.
        ClipError: As `TecoGANTrainDataset`.
    """
    root, _ = calibration_root(net, calibration, opt)
    if root is None:
        return None
    clips = None
    if takes_clips(net) and not calibration.dataroot:
        section = {**opt['datasets']['train'], 'phase': 'train', 'cache': None}  # its list, not its pixels
        clips = TecoGANTrainDataset(section).clips
    sigma = (opt.get('degradation') or {}).get('sigma', SIGMA)
    return read_calibration_for(net, root, calibration.num, calibration.size, sigma, clips)
