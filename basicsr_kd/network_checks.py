"""The checks of `basicsr_kd.preflight` that need networks. They are built on the meta device: without memory."""
from __future__ import annotations

import inspect
import os
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from basicsr_kd.archs.build import differences, for_shapes, registered
from basicsr_kd.archs.from_file import network_section, read_architecture
from basicsr_kd.archs.rrdbnet_shape import rrdbnet_options
from basicsr_kd.checkpoint import CheckpointError, read_state_dict
from basicsr_kd.distillation.distiller import Distiller, DistillTerm, probe_image
from basicsr_kd.distillation.inheritance import InheritanceError, check_inheritable
from basicsr_kd.distillation.layers import LayerError
from basicsr_kd.distillation.taps import TapError
from basicsr_kd.option_errors import OptionsError, closest
from basicsr_kd.options import distill_terms, resumes
from basicsr_kd.prune_checks import check_pruning
from basicsr_kd.prune_options import prune_steps


def check_training_networks(opt: dict[str, Any]) -> None:
    """Student, discriminator, teacher, pruning and distilled layers fit their files and each other.

    Raises:
        OptionsError, CheckpointError: See `basicsr_kd.preflight.check`.
    """
    image = probe_image(opt['network_g'].get('num_in_ch', 3), torch.device('cpu'))
    student = build_for_check(opt['network_g'], 'network_g', image, opt['scale'])
    _check_pretrained(student, opt, 'g')
    if opt['train'].get('gan_opt'):
        _check_discriminator(opt)
    if opt.get('prune') and (not resumes(opt) or prune_steps(opt['prune'])[0].steps > 1):  # stages may be left to do
        check_pruning(student, opt['prune'], 'prune', opt)
    if opt.get('teacher'):
        _check_teacher(opt, student, image)


def read_test_network(opt: dict[str, Any]) -> None:
    """Set `network_g` to what the file to test holds: as its shapes or the `.yml` beside it tell, or else `network_g`
    itself, perhaps pruned.

    Raises:
        OptionsError, CheckpointError: See `basicsr_kd.preflight.check`.
    """
    path, network = opt['path']['pretrain_network_g'], opt.get('network_g')
    state = read_state_dict(path, opt['path'].get('param_key_g'))
    try:
        network = read_architecture(state, path)
    except CheckpointError as error:
        if network is None:
            raise OptionsError(f'network_g is missing, and {error}') from None
        check_arguments(network, ARCH_REGISTRY, 'network_g')
    try:  # equal widths are few words in the log, others a list of hundreds
        opt['network_g'] = network_section(state, path, network)
    except (CheckpointError, ValueError) as error:
        raise OptionsError(f'path.pretrain_network_g: {path} does not fit network_g: {error}') from None
    image = probe_image(network.get('base', network).get('num_in_ch', 3), torch.device('cpu'))  # base: of PrunedNet
    build_for_check(opt['network_g'], 'network_g', image, opt['scale'])


def must_be_registered(name: Any, registry: Any, key: str) -> Any:
    """Look a name up in one of BasicSR's registries, which may have it under `<name>_basicsr`.

    Raises:
        OptionsError: It is not there; the text has the closest name that is.
    """
    found = registered(name, registry)
    if found is None:
        raise OptionsError(f'{key}: found {name!r}; {closest(str(name), registry.keys())}')
    return found


def check_arguments(section: Any, registry: Any, key: str, given: tuple[str, ...] = ()) -> Any:
    """The registered class or function that a section with `type:` names; the other keys are the arguments it takes.

    Args:
        section: The section of the options file.
        registry: What has the types by name: one of BasicSR's registries, or a dict.
        key: The section's name there.
        given: Arguments that BasicSR adds.

    Raises:
        OptionsError: No section, no type, an unknown type, an unknown argument or a missing one.
    """
    if not isinstance(section, dict) or 'type' not in section:
        raise OptionsError(f'{key}: found {section!r}, expected a section with type: and its arguments')
    named = must_be_registered(section['type'], registry, f'{key}.type')
    parameters = inspect.signature(named).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for argument in section:
            if argument != 'type' and argument not in parameters:
                raise OptionsError(f'{key}.{argument}: unknown argument of {section["type"]}; '
                                   f'{closest(argument, parameters)}')
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD and \
                name not in (*section, *given):
            raise OptionsError(f'{key}.{name} is missing; {section["type"]} needs it')
    return named


def build_for_check(network: Any, key: str, image: Tensor, scale: int | None = None) -> nn.Module:
    """Build BasicSR network options and run them on an image (n, c, h, w), without memory for weights where that works.

    Not by BasicSR's `build_network`: it opens the logger, which must wait for the folder of its file.

    Args:
        network: The section of the options file.
        key: Its name there.
        image: An input of the network; only its shape matters.
        scale: How many times larger the output must be; None for a discriminator.

    Raises:
        OptionsError: An unknown type or argument, one that the network refuses, or another scale.
    """
    arch = check_arguments(network, ARCH_REGISTRY, key)
    arguments = {name: value for name, value in network.items() if name != 'type'}
    net, output = _build_and_run(arch, arguments, key, image)
    if scale is not None and output.shape[-1] != scale * image.shape[-1]:
        raise OptionsError(f'{key}: enlarges {output.shape[-1] / image.shape[-1]:g} times, but scale: is {scale}')
    return net


def _build_and_run(arch: Any, arguments: dict[str, Any], key: str, image: Tensor) -> tuple[nn.Module, Tensor]:
    def work(device: str) -> tuple[nn.Module, Tensor]:
        net = arch(**arguments)
        return net, net(image.to(device))

    try:
        return for_shapes(work)
    except Exception as error:  # whatever a network's own code raises
        raise OptionsError(f'{key}: {arch.__name__} cannot be built and run on an input of shape '
                           f'{tuple(image.shape)}: {error}') from None


def _check_pretrained(net: nn.Module, opt: dict[str, Any], which: str) -> None:
    path = opt['path'].get(f'pretrain_network_{which}')
    prunes = which == 'g' and bool(opt.get('prune'))
    if path and not resumes(opt) and (prunes or opt['path'].get(f'strict_load_{which}', True)):
        state = read_state_dict(path, opt['path'].get(f'param_key_{which}'))
        _must_fit(net, state, f'path.pretrain_network_{which}: {path}', f'network_{which}')
        if prunes:
            _must_be_finite(state, f'path.pretrain_network_{which}: {path}')


def _must_fit(net: nn.Module, state: dict[str, Tensor], found: str, key: str) -> None:
    differs = differences(net, state)
    if differs:
        options = rrdbnet_options(state) or {}
        holds = ', '.join(f'{name} {value}' for name, value in options.items() if isinstance(value, int))
        raise OptionsError(f'{found} does not fit {key} ({type(net).__name__}): {differs[0]}' +
                           (f'; the file holds {holds}' if holds else ''))


def _must_be_finite(state: dict[str, Tensor], found: str) -> None:
    broken = next((name for name, tensor in state.items() if not torch.isfinite(tensor).all()), None)
    if broken is not None:
        raise OptionsError(f'{found} has values that are not finite (NaN or infinity), first in {broken}; it cannot be '
                           'pruned. Use an earlier checkpoint: this one has diverged')


def _check_discriminator(opt: dict[str, Any]) -> None:
    size = opt['datasets']['train'].get('gt_size') or 128
    image = torch.zeros(2, opt['network_d'].get('num_in_ch', 3), size, size)
    try:
        net_d = build_for_check(opt['network_d'], 'network_d', image)
    except OptionsError as error:
        raise OptionsError(f'{error} (its images are those of datasets.train.gt_size: {size})') from None
    _check_pretrained(net_d, opt, 'd')


def _check_teacher(opt: dict[str, Any], student: nn.Module, image: Tensor) -> None:
    section = opt['teacher']
    if not os.path.exists(section['path']):
        return  # a resumed run, which loads models/teacher.pth
    state = read_state_dict(section['path'], section['param_key'])
    network = section['network'] or read_architecture(state, section['path'])
    teacher = build_for_check(network, 'teacher.network' if section['network'] else 'teacher', image, opt['scale'])
    _must_fit(teacher, state, f'teacher.path: {section["path"]}', 'teacher.network')
    if (opt.get('student') or {}).get('init') == 'teacher':
        try:
            check_inheritable(student.state_dict(), state)
        except InheritanceError as error:
            raise OptionsError(str(error)) from None
    if section['prune']:
        _must_be_finite(state, f'teacher.path: {section["path"]}')
        teacher = check_pruning(teacher, section['prune'], 'teacher.prune', opt)
    terms = distill_terms(opt['train'].get('distill_opt'))
    try:
        with torch.random.fork_rng(devices=[]):  # adapters are made; the run's own must start from its seed
            Distiller(student, teacher, [DistillTerm(nn.Identity(), term.layers) for term in terms], image)
    except (LayerError, TapError) as error:
        raise OptionsError(f'train.distill_opt: {error}') from None
