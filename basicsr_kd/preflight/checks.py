"""The order of all checks, and what ends a run that does not pass them."""
from __future__ import annotations

import os
from typing import Any

import torch
from basicsr.utils.registry import DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY

from basicsr_kd import options
from basicsr_kd.data import order
from basicsr_kd.errors import BasicSRKDError, OptionsError
from basicsr_kd.metrics.image_scores import needs_truth
from basicsr_kd.options.val import has_truth
from basicsr_kd.options.video import is_video
from basicsr_kd.preflight.arguments import check_arguments, must_be_registered, must_exist
from basicsr_kd.preflight.clips import check_clip_metric, check_sets
from basicsr_kd.preflight.datasets import check_datasets, check_photos, name_images, name_sets
from basicsr_kd.preflight.devices import check_device, check_speed
from basicsr_kd.preflight.input_sizes import check_image_sizes
from basicsr_kd.preflight.networks import check_training_networks, read_test_network
from basicsr_kd.preflight.pairs import check_channels, check_pair_sizes
from basicsr_kd.preflight.ranks import must_agree, options_of_ranks
from basicsr_kd.preflight.teacher import check_teacher
from basicsr_kd.preflight.values import check_backbone, check_borders, check_built, check_installed
from basicsr_kd.runs import signals, start
from basicsr_kd.runs.distributed import from_all_ranks, refuse, warn
from basicsr_kd.runs.resume import resumes
from basicsr_kd.utils.extras import load
from basicsr_kd.utils.metric_names import of_type


def check_options(opt: dict[str, Any], is_train: bool) -> None:
    """End the process if the options of one of our models are wrong; options of other models are not looked at.

    A training that passes holds its folder from here on, and handles signals.

    BasicSR moves the folder of an earlier run away soon after parsing, long before it builds a model, so this is the
    last moment at which a mistake costs nothing.
    """
    everywhere = options_of_ranks(opt)
    if not any(options.our_model(rank.get('model_type')) for rank in everywhere):
        return
    warnings, mistake = [], ''
    try:
        must_agree(everywhere)
        warnings = options.validate(opt, is_train)
        check(opt)
        if is_train:
            signals.watch()
            start.begin(opt)
    except BasicSRKDError as error:
        mistake = str(error)
    mistakes = [found for found in from_all_ranks(mistake) if found]  # files may be missing on one machine
    if mistakes:
        refuse(mistakes[0])
    if is_train:
        order.put_in_place(opt)
    if opt['rank'] == 0:
        for warning in warnings:
            warn(warning)


def check(opt: dict[str, Any]) -> None:
    """Check the options of our models against files and networks, before anything is created.

    For a test, `network_g` is replaced by the network in the file `path.pretrain_network_g`, see `read_test_network`.

    Args:
        opt: Options that `basicsr_kd.options.validate` has passed.

    Raises:
        OptionsError: An option is wrong; the text names the key's path, what was found and what is possible.
        CheckpointError: A checkpoint cannot be read.
    """
    check_device(opt)
    check_installed(opt)
    _check_files(opt)
    _check_names(opt)
    check_sets(opt)
    check_datasets(opt)
    check_photos(opt)
    if opt['is_train']:
        check_speed(opt)
        net_g = check_training_networks(opt)
        if opt.get('teacher'):
            check_teacher(opt, net_g)
    else:
        net_g = read_test_network(opt)
    if not is_video(opt):
        check_image_sizes(opt, net_g)
        check_channels(opt)
        check_pair_sizes(opt)
        check_borders(opt)
    if opt['is_train']:
        check_backbone(opt)  # last: it may be a download
    name_sets(opt)
    name_images(opt)


def _check_files(opt: dict[str, Any]) -> None:
    path = opt['path']
    resuming = opt['is_train'] and resumes(opt)
    if not opt['is_train'] and not path.get('pretrain_network_g'):
        raise OptionsError('path.pretrain_network_g is missing: the trained network to test')
    if not resuming:  # a resumed run takes the saved networks instead, which `runs.resume` looks for
        for key in ('pretrain_network_g', 'pretrain_network_d'):
            if path.get(key):
                _must_stay(path[key], f'path.{key}', opt)
    inherited = resuming and (not opt['train'].get('distill_opt') or
                              os.path.isfile(os.path.join(path['models'], 'teacher.pth')))
    if opt.get('teacher') and not inherited:
        _must_stay(opt['teacher']['path'], 'teacher.path', opt)


def _must_stay(path: str, key: str, opt: dict[str, Any]) -> None:
    """Check that the file exists outside the folder of this run's name, which BasicSR moves away at the start."""
    must_exist(path, key)
    if not opt['is_train'] or resumes(opt):
        return
    own = os.path.realpath(opt['path']['experiments_root'])
    if os.path.realpath(path).startswith(own + os.sep):
        raise OptionsError(f'{key}: {path} lies in the folder of this run, which BasicSR moves away at the start; copy '
                           f'it elsewhere or change the name of this run ({opt["name"]})')


def _check_names(opt: dict[str, Any]) -> None:
    train = opt.get('train') or {}
    for phase, dataset in opt['datasets'].items():
        must_be_registered(dataset.get('type'), DATASET_REGISTRY, f'datasets.{phase}.type')
    for key in ('pixel_opt', 'perceptual_opt', 'gan_opt', 'ldl_opt', 'warp_opt', 'pingpong_opt'):
        if train.get(key) is not None:
            check_arguments(train[key], LOSS_REGISTRY, f'train.{key}')
    for key in ('optim_g', 'optim_d'):
        if train.get(key) is not None:
            check_arguments(train[key], _optimizers(), f'train.{key}', given=('params',))
    if opt['is_train']:
        check_built(opt, _optimizers())
    for name, metric in ((opt.get('val') or {}).get('metrics') or {}).items():
        _check_metric(metric, f'val.metrics.{name}', opt)
    pictures = (opt.get('val') or {}).get('pictures')
    if opt['is_train'] and pictures and not (opt.get('logger') or {}).get('use_tb_logger'):
        raise OptionsError(f'val.pictures: found {pictures}, which are for TensorBoard, and logger.use_tb_logger is '
                           'not set; set it to true, or leave val.pictures out')


def _check_metric(metric: Any, key: str, opt: dict[str, Any]) -> None:
    """Check that the metric and its weights exist, and that one set (for clips: every set) has ground truth for it."""
    given = ('img', 'img2', *(('crop_border',) if is_video(opt) else ()))  # the protocol of clips sets crop_border
    check_arguments(metric, METRIC_REGISTRY, key, given)
    check_clip_metric(metric['type'], key, opt)
    ours = of_type(metric['type'])
    if ours and ours.package:
        load(ours.package, f'{key} ({ours.title})')
    if metric.get('weights'):
        must_exist(metric['weights'], f'{key}.weights')
    sets = {phase: dataset for phase, dataset in opt['datasets'].items() if phase != 'train'}
    without = [phase for phase, dataset in sets.items() if not has_truth(dataset)]
    if without and (is_video(opt) or needs_truth(metric['type']) and len(without) == len(sets)):
        dataset = sets[without[0]]
        raise OptionsError(f'{key}: {metric["type"]} compares with ground truth, which datasets.{without[0]} '
                           f'({dataset["type"]}) does not have; remove the metric, or give dataroot_gt' +
                           (' (type: PairedImageDataset)' if dataset['type'] == 'SingleImageDataset' else ''))


def _optimizers() -> dict[str, Any]:
    """PyTorch's optimizers by name; BasicSR 1.4.2 takes only Adam, later versions take more."""
    found = {name: cls for name, cls in vars(torch.optim).items() if isinstance(cls, type)}
    return {name: cls for name, cls in found.items() if issubclass(cls, torch.optim.Optimizer)}
