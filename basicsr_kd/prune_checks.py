"""The checks of `basicsr_kd.preflight` on a `prune:` section: what it asks of its network and of its images."""
from __future__ import annotations

from typing import Any

from torch import nn

from basicsr_kd.dataset_checks import must_exist
from basicsr_kd.option_errors import OptionsError
from basicsr_kd.prune_options import PruneOptions, calibration_root, prune_steps
from basicsr_kd.pruning import PruningError, check_prune, needs_calibration, read_calibration


def check_pruning(net: nn.Module, section: Any, key: str, opt: dict[str, Any]) -> None:
    """The network can be pruned as the section says, and the images for it are there.

    Args:
        net: What is pruned; on the meta device is enough.
        section: A `prune:` section that `basicsr_kd.options.validate` has passed.
        key: Its name in the options file.
        opt: The options.

    Raises:
        OptionsError: The key's path, what was found, what is possible.
    """
    steps = prune_steps(section)
    try:
        check_prune(net, **steps[0].arguments())  # what a later step finds is only known once this one is done
    except PruningError as error:
        raise OptionsError(f'{key}: {_said(error)}') from None
    for index, step in enumerate(steps):
        _check_calibration(step, f'{key}[{index}]' if isinstance(section, list) else key, opt)


def _check_calibration(step: PruneOptions, key: str, opt: dict[str, Any]) -> None:
    why = needs_calibration(**step.looks())
    if why is None:
        return
    root = calibration_root(step, opt)
    if root is None:
        raise OptionsError(f'{key}: {why} looks at images, and datasets.train has no dataroot_lq; give '
                           f'{key}.calibration.dataroot: a folder (or .lmdb) of low-resolution images')
    where = f'{key}.calibration.dataroot' if step.calibration.dataroot else f'{key}: {why}: datasets.train.dataroot_lq'
    must_exist(root, where)
    try:
        read_calibration(root, step.calibration.num, step.calibration.size)
    except PruningError as error:
        raise OptionsError(f'{where}: {_said(error)}') from None


def _said(error: PruningError) -> str:
    return str(error).removeprefix('prune: ')
