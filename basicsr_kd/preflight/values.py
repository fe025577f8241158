"""Checks of values for which PyTorch, the machine or the images are needed: arguments of losses, packages, borders."""
from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
import torchvision
from basicsr.archs.vgg_arch import VGG_PRETRAIN_PATH
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from basicsr_kd.archs.build import registered
from basicsr_kd.errors import OptionsError
from basicsr_kd.options.video import is_video
from basicsr_kd.preflight.input_sizes import sizes
from basicsr_kd.runs.resume import resumes

_LOSSES = ('pixel_opt', 'gan_opt', 'ldl_opt', 'warp_opt', 'pingpong_opt')
_MOST = 10_000
"""Most blocks or channels: so many layers take minutes to build, and so many channels fit in no memory."""


def check_built(opt: dict[str, Any], optimizers: dict[str, Any]) -> None:
    """Check that losses and optimizers can be made with their arguments, and that losses can be computed.

    Args:
        opt: The options; types and names of arguments have passed.
        optimizers: PyTorch's optimizers, by name.

    Raises:
        OptionsError: A loss or an optimizer fails.
    """
    train = opt['train']
    for key in _LOSSES:
        if train.get(key):
            arguments = {name: value for name, value in train[key].items() if name != 'type'}
            kind = train[key]['type']
            loss = _must_work(f'train.{key}', kind, registered(kind, LOSS_REGISTRY), arguments)
            found = _try_loss(f'train.{key}', kind, loss, key == 'gan_opt')
            if not torch.isfinite(found).all():
                raise OptionsError(f'train.{key}: {kind} with these arguments is not finite on images in [0, 1], or '
                                   'its gradient is not')
    for key in ('optim_g', 'optim_d'):
        if train.get(key):
            arguments = {name: value for name, value in train[key].items() if name != 'type'}
            _must_step(f'train.{key}', train[key]['type'], optimizers, arguments)


def _must_work(key: str, name: str, kind: Any, arguments: dict[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except Exception as error:  # whatever their own code raises
        raise OptionsError(f'{key}: {name} cannot be made of these arguments: '
                           f'{" ".join(str(error).split()) or type(error).__name__}') from None


def _must_step(key: str, name: str, optimizers: dict[str, Any], arguments: dict[str, Any]) -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimizer = _must_work(key, name, optimizers[name], {'params': [weight], **arguments})
    try:
        optimizer.step()
    except Exception as error:  # whatever its own code raises, such as for `weight_decay: true`
        raise OptionsError(f'{key}: {name} cannot make a step with these arguments: '
                           f'{" ".join(str(error).split()) or type(error).__name__}') from None


def _try_loss(key: str, name: str, loss: Any, of_discriminator: bool) -> Tensor:
    """The values and gradients of a loss of two images in [0, 1], or of a discriminator's outputs."""
    one, other = torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)
    one.requires_grad_()
    try:
        if of_discriminator:
            found = [loss(one, True, is_disc=False), loss(other, True, is_disc=True), loss(one, False, is_disc=True)]
        else:
            found = [loss(one, other), loss(one, one.detach())]  # equal images: there a root has no gradient
        values = torch.stack([torch.as_tensor(value, dtype=torch.float32).mean() for value in found])
        values.sum().backward()
        assert one.grad is not None
        return torch.cat([values.detach(), one.grad.flatten()])
    except Exception as error:  # whatever its own code raises
        raise OptionsError(f'{key}: {name} cannot be computed with these arguments: '
                           f'{" ".join(str(error).split()) or type(error).__name__}') from None


def check_numbers_of_network(network: Any, key: str) -> None:
    """Check that a network takes and gives images, and has no more blocks or channels than can be built.

    Raises:
        OptionsError: A number of channels or blocks is wrong.
    """
    for name, value in network.items() if isinstance(network, dict) else ():
        if name in ('num_in_ch', 'num_out_ch', 'in_nc', 'out_nc') and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise OptionsError(f'{key}.{name}: found {value!r}, expected a whole number of at least 1')
        if str(name).startswith('num_') and isinstance(value, int) and value < 0:
            raise OptionsError(f'{key}.{name}: found {value}, expected at least 0')
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, int) and not isinstance(one, bool) and abs(one) > _MOST for one in values):
            raise OptionsError(f'{key}.{name}: found {value}, expected at most {_MOST:,}')


def check_installed(opt: dict[str, Any]) -> None:
    """Check that the packages of the logger are installed, and that `prefetch_mode: cuda` has what it needs.

    Raises:
        OptionsError: A package, a GPU or an option is missing.
    """
    logger = opt.get('logger') or {}
    wandb = (logger.get('wandb') or {}).get('project')
    if wandb and not logger.get('use_tb_logger'):
        raise OptionsError('logger.wandb: Weights & Biases gets what TensorBoard gets. Set logger.use_tb_logger: true')
    for wanted, package, key in ((wandb, 'wandb', 'logger.wandb.project'),
                                 (logger.get('use_tb_logger'), 'tensorboard', 'logger.use_tb_logger')):
        if wanted and importlib.util.find_spec(package) is None:
            raise OptionsError(f'{key} needs {package}, which is not installed: pip install {package}')
    train = opt['datasets'].get('train') or {}
    if train.get('prefetch_mode') == 'cuda':
        if opt['num_gpu'] == 0:
            raise OptionsError('datasets.train.prefetch_mode: cuda needs a GPU, and num_gpu is 0; use cpu, or leave it '
                               'out')
        if not train.get('pin_memory'):
            raise OptionsError('datasets.train.prefetch_mode: cuda needs datasets.train.pin_memory: true')


def check_backbone(opt: dict[str, Any]) -> None:
    """Check that the weights of VGG are here or can be downloaded, before minutes are spent on calibration.

    Raises:
        OptionsError: The weights cannot be downloaded.
    """
    section, teacher, student = (opt['train'].get('perceptual_opt'), opt.get('teacher') or {}, opt.get('student') or {})
    calibrates = opt.get('prune') or teacher.get('prune') or student.get('init') == 'teacher'
    if not section or not calibrates or resumes(opt) or is_video(opt):  # with clips, VGG is optional
        return
    kind = section.get('vgg_type', 'vgg19')
    if os.path.exists(VGG_PRETRAIN_PATH) or kind not in torchvision.models.list_models():
        return
    url = torchvision.models.get_model_weights(kind).IMAGENET1K_V1.url
    try:
        torch.hub.load_state_dict_from_url(url, map_location='cpu', progress=False)
    except OSError as error:  # URLError is one
        raise OptionsError(without_backbone(error)) from None


def without_backbone(error: OSError) -> str:
    """The message for weights of VGG that cannot be downloaded."""
    reason = getattr(error, 'reason', error)
    return (f'weights could not be downloaded ({reason}). Those of train.perceptual_opt (VGG19) are looked for in '
            f'{VGG_PRETRAIN_PATH} first; perceptual_opt: ~ does without')


def check_borders(opt: dict[str, Any]) -> None:
    """Check that the borders that metrics cut leave something of the smallest image.

    Raises:
        OptionsError: A border leaves nothing.
    """
    metrics = ((opt.get('val') or {}).get('metrics') or {}).items()
    borders = [(metric['crop_border'], name) for name, metric in metrics if isinstance(metric.get('crop_border'), int)]
    border, name = max(borders, default=(0, ''))
    for phase, dataset in opt['datasets'].items() if border else ():
        folder = dataset.get('dataroot_lq')
        if phase == 'train' or not folder or (dataset.get('io_backend') or {}).get('type') != 'disk':
            continue
        for path, *sides in sizes(folder):
            if min(sides) * opt['scale'] <= 2 * border:
                raise OptionsError(f'val.metrics.{name}.crop_border: {border} pixels at each side leave nothing of '
                                   f'{path} of datasets.{phase}, enlarged to {sides[0] * opt["scale"]}x'
                                   f'{sides[1] * opt["scale"]}')
