"""What must hold before a run creates anything: files, networks, layers. The networks are built without memory."""
from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY
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


def check(opt: dict[str, Any]) -> None:
    """Check the options of KDGANModel and PruneGANModel against files and networks, before anything is created.

    In test, `network_g` is replaced by what the shapes in `path.pretrain_network_g` say, where that is an RRDBNet.

    Args:
        opt: Options that `basicsr_kd.options.validate` has passed.

    Raises:
        OptionsError: The key's path, what was found, what is possible.
        CheckpointError: A checkpoint that cannot be read.
    """
    _check_device(opt)
    _check_files(opt)
    _check_names(opt)
    if not opt['is_train']:
        _read_test_network(opt)
        return
    student = _build(opt, 'network_g', 'path.pretrain_network_g')
    image = probe_image(opt['network_g'].get('num_in_ch', 3), META)
    _check_scale(student, image, opt['scale'], 'network_g')
    if opt['train'].get('gan_opt'):
        _check_discriminator(opt)
    if opt.get('prune') and not resumes(opt):
        _check_prune(student, opt['prune'], 'prune')
    if opt.get('teacher'):
        _check_teacher(opt, student, image)


def _check_device(opt: dict[str, Any]) -> None:
    gpus = torch.cuda.device_count()
    if opt['num_gpu'] > gpus:
        raise OptionsError(f'num_gpu: found {opt["num_gpu"]}, this machine has {gpus} GPU(s); use num_gpu: auto')
    if opt['num_gpu'] > 1 and not opt['dist']:
        raise OptionsError(f'num_gpu: found {opt["num_gpu"]} without a launcher; start with torchrun --nproc_per_node='
                           f'{opt["num_gpu"]} basicsr/train.py -opt … --launcher pytorch, or set num_gpu: 1')


def _check_files(opt: dict[str, Any]) -> None:
    for phase, dataset in opt['datasets'].items():
        for key in ('dataroot_gt', 'dataroot_lq'):
            if isinstance(dataset.get(key), str):
                _must_exist(dataset[key], f'datasets.{phase}.{key}')
    path = opt['path']
    resuming = opt['is_train'] and resumes(opt)
    if path.get('resume_state'):
        _must_exist(path['resume_state'], 'path.resume_state')
    for key in ('pretrain_network_g', 'pretrain_network_d'):
        if path.get(key) and not resuming:  # in a resumed run BasicSR puts the saved networks in their place
            _must_exist(path[key], f'path.{key}')
    if not opt['is_train'] and not path.get('pretrain_network_g'):
        raise OptionsError('path.pretrain_network_g is missing: the trained network to test')
    if opt.get('teacher') and not (resuming and os.path.isfile(os.path.join(path['models'], 'teacher.pth'))):
        _must_exist(opt['teacher']['path'], 'teacher.path')


def _must_exist(path: str, key: str) -> None:
    if not os.path.exists(path):
        folder = os.path.dirname(os.path.abspath(path))
        there = sorted(os.listdir(folder)) if os.path.isdir(folder) else None
        hint = f'the folder {folder} does not exist either' if there is None else \
            closest(os.path.basename(path), there[:20]) if there else f'the folder {folder} is empty'
        raise OptionsError(f'{key}: {path} does not exist (from {os.getcwd()}); {hint}')


def _check_names(opt: dict[str, Any]) -> None:
    train = opt.get('train') or {}
    for phase, dataset in opt['datasets'].items():
        _must_be_registered(dataset.get('type'), DATASET_REGISTRY, f'datasets.{phase}.type')
    for key in ('pixel_opt', 'perceptual_opt', 'gan_opt'):
        if train.get(key):
            _must_be_registered(train[key].get('type'), LOSS_REGISTRY, f'train.{key}.type')
    for name, metric in ((opt.get('val') or {}).get('metrics') or {}).items():
        _must_be_registered(metric.get('type'), METRIC_REGISTRY, f'val.metrics.{name}.type')


def _must_be_registered(name: Any, registry: Any, key: str) -> None:
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
    _must_be_registered(network['type'], ARCH_REGISTRY, f'{key}.type')
    arch = ARCH_REGISTRY.get(network['type'])
    accepted = list(inspect.signature(arch).parameters)
    for argument in network:
        if argument != 'type' and argument not in accepted:
            raise OptionsError(f'{key}.{argument}: unknown argument of {network["type"]}; {closest(argument, accepted)}')
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
        raise OptionsError(f'{found} does not fit {key} ({type(net).__name__}): {differs} is '
                           f'{theirs.get(differs, "missing")} in the file and {own.get(differs, "missing")} in the network')


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


def _read_test_network(opt: dict[str, Any]) -> None:
    path = opt['path']['pretrain_network_g']
    state = read_state_dict(path, opt['path'].get('param_key_g'))
    if rrdbnet_options(state) is not None:
        opt['network_g'] = like_file(path)
    _must_fit(build_on_meta(opt.get('network_g'), 'network_g'), state, f'path.pretrain_network_g: {path}', 'network_g')
