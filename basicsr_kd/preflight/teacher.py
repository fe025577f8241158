"""The checks of `basicsr_kd.preflight` on a teacher: its file, its images, and what a student takes from it."""
from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY
from torch import Tensor, nn

from basicsr_kd.archs.build import build
from basicsr_kd.archs.from_file import describe
from basicsr_kd.archs.spandrel_net import as_module
from basicsr_kd.data.run_inputs import training_patch
from basicsr_kd.distillation.distiller import Distiller
from basicsr_kd.distillation.inheritance import InheritanceError, check_inheritable
from basicsr_kd.errors import LayerError, OptionsError, TapError
from basicsr_kd.losses.terms import build_terms
from basicsr_kd.options.distill import StudentOptions, distill_terms
from basicsr_kd.options.realesrgan import gt_size, gt_size_key
from basicsr_kd.preflight.arguments import check_arguments, must_be_registered
from basicsr_kd.preflight.clips import must_take_clips
from basicsr_kd.preflight.networks import build_for_check, must_enlarge, must_fit, read_weights
from basicsr_kd.preflight.pruning import check_calibration, check_pruning
from basicsr_kd.runs.resume import resumes

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

_SIZES = ('num_feat', 'num_block', 'num_grow_ch', 'num_conv', 'num_group', 'squeeze_factor', 'nf', 'nb')


def check_teacher(opt: dict[str, Any], student: nn.Module) -> None:
    """Check that the teacher fits the options, that its images match the student's, and that the student can learn.

    Args:
        opt: The options, with a section `teacher`.
        student: `network_g`; it may be on the meta device.

    Raises:
        OptionsError, CheckpointError: See `basicsr_kd.preflight.check`.
    """
    section = opt['teacher']
    if not os.path.exists(section['path']):
        return  # a resumed run, which loads models/teacher.pth
    image = training_patch(opt, torch.device('cpu'))
    state = read_weights(section['path'], section['param_key'], 'teacher.path')
    network = section['network'] or describe(state, section['path'])
    if isinstance(network, dict):
        teacher = _built(network, state, opt, image)
    else:
        teacher = _opened(network, opt, image)
    must_take_clips(teacher, 'teacher', opt)
    found, expected = (_run(net, image).shape[1] for net in (teacher, student))
    if found != expected:
        raise OptionsError(f'teacher: found images of {found} channels as its output, expected {expected} as network_g '
                           'gives')
    _check_inheritance(student, teacher, network, opt)
    if section['prune']:
        teacher = check_pruning(teacher, section['prune'], 'teacher.prune', opt)
    terms = distill_terms(opt['train'].get('distill_opt'))
    for term in terms:
        check_arguments(term.loss, LOSS_REGISTRY, 'train.distill_opt')  # losses that others have registered
    try:
        with torch.random.fork_rng(devices=[]):  # adapters made here must not change the run's random numbers
            Distiller(student, teacher, build_terms(terms, lambda: build(opt['network_d']), gt_size(opt)), image)
    except (LayerError, TapError) as error:
        raise OptionsError(f'train.distill_opt: {error}') from None


def _built(network: dict[str, Any], state: dict[str, Tensor], opt: dict[str, Any], image: Tensor) -> nn.Module:
    """A teacher that BasicSR builds, without memory where possible."""
    section = opt['teacher']
    key = 'teacher.network' if section['network'] else 'teacher'
    base = network.get('base')  # of PrunedNet
    _must_take((base if isinstance(base, dict) else network).get('num_in_ch', image.shape[1]), image, key)
    teacher = build_for_check(network, key, image, opt['scale'])
    must_fit(teacher, state, f'teacher.path: {section["path"]}', 'teacher.network')
    return teacher


def _opened(network: ImageModelDescriptor[nn.Module], opt: dict[str, Any], image: Tensor) -> nn.Module:
    """A teacher that spandrel opened; it is on the CPU, with its weights."""
    section, name, sizes = opt['teacher'], network.architecture.name, network.size_requirements
    if section['prune']:
        raise OptionsError(f'teacher.prune: {section["path"]} is a network that only spandrel opens ({name}), and '
                           'BasicSR could not build what is left of it; give its options in teacher.network if BasicSR '
                           'has it, else leave teacher.prune out')
    _must_take(network.input_channels, image, 'teacher')
    height, width = image.shape[2:]
    if not sizes.check(width, height):
        raise OptionsError(f'teacher: found patches of {width}x{height} ({gt_size_key(opt)} / scale), expected sides '
                           f'of at least {sizes.minimum}, in multiples of {sizes.multiple_of}, for {name}')
    teacher = as_module(network)
    try:
        output = _run(teacher, image.expand(2, -1, -1, -1))  # spandrel itself runs images one at a time
    except Exception as error:  # whatever a network's own code raises
        raise OptionsError(f'teacher: {name} cannot be run on two patches of {width}x{height}: {error}') from None
    must_enlarge(output, image, opt['scale'], 'teacher')
    return teacher


def _must_take(channels: int, image: Tensor, key: str) -> None:
    if channels != image.shape[1]:
        raise OptionsError(f'{key}: found a network that takes images of {channels} channels, expected '
                           f'{image.shape[1]} as network_g takes')


def _run(net: nn.Module, image: Tensor) -> Tensor:
    device = next(net.parameters()).device
    with torch.random.fork_rng(devices=[]), device, torch.no_grad():
        return net(image.to(device))


def _check_inheritance(student: nn.Module, teacher: nn.Module, network: Any, opt: dict[str, Any]) -> None:
    options = msgspec.convert(opt.get('student') or {}, StudentOptions)
    if options.init != 'teacher' or resumes(opt):
        return
    try:
        check_inheritable(student, teacher)
    except InheritanceError as error:
        raise OptionsError(str(error)) from None
    if opt['network_g']['type'] == network['type']:
        _must_have_the_same_numbers(opt['network_g'], network)
    check_calibration(teacher, options.why_images, options.calibration, 'student', opt)


def _must_have_the_same_numbers(student: dict[str, Any], teacher: dict[str, Any]) -> None:
    """Check that numbers in no tensor (res_scale, img_range, …) are equal in both networks, which are of one type."""
    parameters = inspect.signature(must_be_registered(student['type'], ARCH_REGISTRY, 'network_g.type')).parameters
    for name, parameter in parameters.items():
        if name in _SIZES:
            continue
        own, theirs = (section.get(name, parameter.default) for section in (student, teacher))
        own, theirs = (tuple(value) if isinstance(value, list) else value for value in (own, theirs))
        if own != theirs:
            raise OptionsError(f'network_g.{name}: found {own!r}, expected {theirs!r} as in the teacher; with '
                               'student.init: teacher the two may differ in width and depth only')
