"""The checks of `basicsr_kd.preflight` on a `prune:` section, its network and its images."""
from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import nn

from basicsr_kd.archs.probe import is_recurrent, makes_low_resolution
from basicsr_kd.data.run_inputs import calibration_images, calibration_root
from basicsr_kd.errors import ClipError, MissingExtraError, OptionsError
from basicsr_kd.options.prune import CalibrationOptions, prune_steps
from basicsr_kd.options.realesrgan import synthesises
from basicsr_kd.preflight.arguments import must_exist
from basicsr_kd.pruning import PruningError, check_prune
from basicsr_kd.pruning.job import Job, must_have_target


def check_pruning(net: nn.Module, section: Any, key: str, opt: dict[str, Any]) -> nn.Module:
    """Check that the network can be pruned as the section says, and that the images for it exist.

    Args:
        net: The network to prune; it may be on the meta device.
        section: A `prune:` section that `basicsr_kd.options.validate` has passed.
        key: The section's name in the options file.
        opt: The options.

    Returns:
        The network with as many blocks as the steps leave, and with its channels unchanged.

    Raises:
        OptionsError: A step is impossible; the text names the key's path, what was found and what is possible.
    """
    left = net
    for index, step in enumerate(prune_steps(section)):
        where = f'{key}[{index}]' if isinstance(section, list) else key
        request = step.request()
        try:
            if not index or step.keep is not None:
                check_prune(left, request)
            else:  # what this step can reach is only known once the steps before it are done
                must_have_target(left, request)
            if step.layout == 'blocks':
                left = Job(left, request, None, None).remove_blocks({})[1]  # the last blocks, not the least important
        except (MissingExtraError, PruningError) as error:
            raise OptionsError(f'{where}: {_said(error)}') from None
        check_calibration(net, request.why_images, step.calibration, where, opt)
    return left


def check_calibration(net: nn.Module, why: str | None, calibration: CalibrationOptions, key: str,
                      opt: dict[str, Any]) -> None:
    """Check that the calibration images exist and that the network runs on them.

    Args:
        net: The network that is run on the images; it may be on the meta device.
        why: What needs the images; with None nothing is checked.
        calibration: The section that says which images.
        key: The section in the options file that `calibration` belongs to.
        opt: The options.

    Raises:
        OptionsError: An image or a size is wrong; the text names the key's path, what was found and what is possible.
    """
    if not why:
        return
    root, said_by = calibration_root(net, calibration, opt)
    if root is None:
        raise OptionsError(f'{key}: {why} looks at {_wanted(net)}, and nothing says where they are; give '
                           f'{key}.calibration.dataroot: a folder (or .lmdb) of them')
    where = f'{key}.{said_by}' if calibration.dataroot else f'{key}: {why}: {said_by}'
    must_exist(root, where)
    if synthesises(opt) and not calibration.dataroot:
        calibration = msgspec.structs.replace(calibration, num=1)  # making each takes half a second on a CPU
    try:
        images = calibration_images(net, calibration, opt)
    except (ClipError, PruningError) as error:
        raise OptionsError(f'{where}: {_said(error)}') from None
    assert images is not None  # because there is a root
    try:
        with torch.no_grad():
            net(images[:1].to(next(net.parameters()).device))
    except Exception as error:  # whatever a network's own code raises
        height, width = images.shape[-2:]
        raise OptionsError(f'{key}.calibration.size: {type(net).__name__} cannot be run on images of {height} x {width}'
                           f' pixels, as they are cut out of {root} with size {calibration.size}: '
                           f'{str(error) or type(error).__name__}') from None


def _wanted(net: nn.Module) -> str:
    """What `calibration.dataroot` must hold, in words."""
    if not is_recurrent(net):
        return 'low-resolution images'
    return f'clips of {"ground truth" if makes_low_resolution(net) else "low resolution"}'


def _said(error: Exception) -> str:
    return str(error).removeprefix('prune: ')
