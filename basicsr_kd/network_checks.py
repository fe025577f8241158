"""The checks of `basicsr_kd.preflight` that need networks. They are built on the meta device: without memory."""
from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from basicsr_kd.archs.from_file import like_file, read_architecture
from basicsr_kd.archs.rrdbnet_shape import rrdbnet_options
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.distillation.distiller import Distiller, DistillTerm, probe_image
from basicsr_kd.distillation.inheritance import InheritanceError, check_inheritable
from basicsr_kd.distillation.layers import LayerError
from basicsr_kd.distillation.taps import TapError
from basicsr_kd.options import OptionsError, closest, distill_terms, prune_steps, resumes
from basicsr_kd.pruning import PruningError, check_prune

META = torch.device('meta')


def check_training_networks(opt: dict[str, Any]) -> None:
    """Student, discriminator, teacher, pruning and distilled layers fit their files and each other.

    Raises:
        OptionsError, CheckpointError: See `basicsr_kd.preflight.check`.
    """
    student = _build(opt, 'network_g', 'path.pretrain_network_g')
    image = probe_image(opt['network_g'].get('num_in_ch', 3), META)
    _check_scale(student, image, opt['scale'], 'network_g')
    if opt['train'].get('gan_opt'):
        _check_discriminator(opt)
    if opt.get('prune') and not resumes(opt):
        _check_prune(student, opt['prune'], 'prune')
    if opt.get('teacher'):
        _check_teacher(opt, student, image)


def read_test_network(opt: dict[str, Any]) -> None:
    """Set `network_g` to what the file to test holds, where its shapes tell; check that it fits otherwise.

    Raises:
        OptionsError, CheckpointError: See `basicsr_kd.preflight.check`.
    """
    path = opt['path']['pretrain_network_g']
    state = read_state_dict(path, opt['path'].get('param_key_g'))
    if rrdbnet_options(state) is not None:
        opt['network_g'] = like_file(path)
    _must_fit(build_on_meta(opt.get('network_g'), 'network_g'), state, f'path.pretrain_network_g: {path}', 'network_g')


def must_be_registered(name: Any, registry: Any, key: str) -> None:
    """Raises:
        OptionsError: The name is not in one of BasicSR's registries; the text has the closest that is.
    """
    if name not in registry and f'{name}_basicsr' not in registry:
        raise OptionsError(f'{key}: found {name!r}; {closest(str(name), registry.keys())}')


def _build(opt: dict[str, Any], key: str, path_key: str) -> nn.Module:
    """Build a network on the meta device and check that its checkpoint, if any, fits it."""
    network = opt.get(key)
    path = opt['path'].get(path_key.removeprefix('path.'))
    state = read_state_dict(path) if path and not resumes(opt) else None
    if network is None and state is not None and key == 'network_g':
        network = opt[key] = read_architecture(state, path)
    net = build_on_meta(network, key)
    if state is not None and opt['path'].get(path_key.replace('path.pretrain_network', 'strict_load'), True):
        _must_fit(net, state, f'{path_key}: {path}', key)
    return net


def build_on_meta(network: Any, key: str) -> nn.Module:
    """Build BasicSR network options without memory for the weights.

    Raises:
        OptionsError: An unknown type or argument, or one that the network refuses.
    """
    if not isinstance(network, dict) or 'type' not in network:
        raise OptionsError(f'{key}: found {network!r}, expected a section with type: and the arguments of the network')
    must_be_registered(network['type'], ARCH_REGISTRY, f'{key}.type')
    arch = ARCH_REGISTRY.get(network['type'])
    accepted = list(inspect.signature(arch).parameters)
    for argument in network:
        if argument != 'type' and argument not in accepted:
            raise OptionsError(f'{key}.{argument}: unknown argument of {network["type"]}; '
                               f'{closest(argument, accepted)}')
    try:
        with META:  # not by build_network: it opens BasicSR's logger, which must wait for the folder of its file
            return arch(**{name: value for name, value in network.items() if name != 'type'})
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise OptionsError(f'{key}: {network["type"]} cannot be built: {error}') from None


def _must_fit(net: nn.Module, state: dict[str, Tensor], found: str, key: str) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differs = next((name for name in (*own, *theirs) if own.get(name) != theirs.get(name)), None)
    if differs is not None:
        in_file, in_network = theirs.get(differs, 'missing'), own.get(differs, 'missing')
        raise OptionsError(f'{found} does not fit {key} ({type(net).__name__}): {differs} is {in_file} in the file, '
                           f'{in_network} in the network')


def _check_scale(net: nn.Module, image: Tensor, scale: int, key: str) -> None:
    height = _run(lambda: net(image), key).shape[-1]
    if height != scale * image.shape[-1]:
        raise OptionsError(f'{key}: enlarges {height / image.shape[-1]:g} times, but scale: is {scale}')


def _check_discriminator(opt: dict[str, Any]) -> None:
    net_d = _build(opt, 'network_d', 'path.pretrain_network_d')
    size = opt['datasets']['train'].get('gt_size')
    if size:
        _run(lambda: net_d(torch.zeros(2, 3, size, size, device=META)), f'network_d with datasets.train.gt_size {size}')


def _check_teacher(opt: dict[str, Any], student: nn.Module, image: Tensor) -> None:
    section = opt['teacher']
    if not os.path.exists(section['path']):
        return  # a resumed run, which loads models/teacher.pth
    state = read_state_dict(section['path'], section['param_key'])
    network = section['network'] or read_architecture(state, section['path'])
    teacher = build_on_meta(network, 'teacher.network')
    _must_fit(teacher, state, f'teacher.path: {section["path"]}', 'teacher.network')
    _check_scale(teacher, image, opt['scale'], 'teacher')
    if (opt.get('student') or {}).get('init') == 'teacher':
        try:
            check_inheritable(student.state_dict(), state)
        except InheritanceError as error:
            raise OptionsError(str(error)) from None
    if section['prune']:
        _check_prune(teacher, section['prune'], 'teacher.prune')
    terms = distill_terms(opt['train'].get('distill_opt'))
    try:
        Distiller(student, teacher, [DistillTerm(nn.Identity(), term.layers) for term in terms], image)
    except (LayerError, TapError) as error:
        raise OptionsError(f'train.distill_opt: {error}') from None


def _check_prune(net: nn.Module, section: Any, key: str) -> None:
    step = prune_steps(section)[0]  # what a later step finds is only known once this one is done
    try:
        check_prune(net, ratio=step.ratio, of=step.of, layout=step.layout, allocation=step.allocation,
                    importance=step.importance, round_to=step.round_to)
    except PruningError as error:
        raise OptionsError(f'{key}{str(error).removeprefix("prune")}') from None


def _run(forward: Callable[[], Tensor], key: str) -> Tensor:
    try:
        with torch.no_grad():
            return forward()
    except (RuntimeError, AssertionError, ValueError) as error:
        raise OptionsError(f'{key}: {error}') from None
