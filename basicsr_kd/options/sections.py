"""The plugin's own YAML sections as strict msgspec structs: an unknown key is an error with a suggestion.

Imports neither torch nor BasicSR; what needs networks or files is checked in `basicsr_kd.preflight`.
"""
from __future__ import annotations

import math
import os
import re
from typing import Any

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.options import realesrgan, video
from basicsr_kd.options.basicsr_sections import (
    AnyScheduler,
    DistOptions,
    LoggerOptions,
    PathOptions,
    TopOptions,
    TrainSection,
    WandbOptions,
)
from basicsr_kd.options.convert import Structs, check_keys, convert, convert_ours
from basicsr_kd.options.datasets import check_set
from basicsr_kd.options.distill import (
    ScheduleOptions,
    StudentOptions,
    TeacherOptions,
    check_distillation,
    with_defaults,
)
from basicsr_kd.options.our_models import REALESRGAN_MODELS, VIDEO_MODEL, our_model
from basicsr_kd.options.prune import CalibrationOptions, PruneOptions, check_steps, prune_steps
from basicsr_kd.options.train import CompileOptions, TrainOptions, check_gan
from basicsr_kd.options.val import check_val
from basicsr_kd.options.values import check_values
from basicsr_kd.runs.resume import resumes

_OWN_KEYS: dict[str, Any] = {VIDEO_MODEL: video, **dict.fromkeys(REALESRGAN_MODELS, realesrgan)}

_FILLED_IN = {'dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path'}
"""Keys that no file has: parse_options and BasicSR's runners fill them in."""
_TEXTS = ('name', 'pretrain_network', 'param_key', 'resume_', 'dataroot', 'meta_info', 'path', 'suffix', 'project',
          'filename_tmpl', 'cache_path', 'weights')
_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+')
_FASTEST = 100
"""The largest learning rate that is no mistake, of any optimizer."""

_STRUCTS: Structs = {
    'teacher': TeacherOptions, 'student': StudentOptions, 'prune': PruneOptions, 'teacher.prune': PruneOptions,
    'prune.calibration': CalibrationOptions, 'teacher.prune.calibration': CalibrationOptions, 'train': TrainSection,
    'train.scheduler': AnyScheduler,
    'student.calibration': CalibrationOptions, 'train.compile': CompileOptions,
    'train.distill_schedule': ScheduleOptions
}


def check_sections(opt: dict[str, Any], is_train: bool) -> None:
    """Check that the sections of a file are there, and are sections; before anything else is done with them.

    Args:
        opt: The options as the file has them.
        is_train: Whether `train.py` runs.

    Raises:
        OptionsError: A key that is missing or unknown, of a wrong type, or a phase of `datasets` that is none.
    """
    own = _OWN_KEYS.get(str(our_model(opt.get('model_type'))))
    others = {key for key in opt if str(key).startswith('network_')}  # which BasicSR leaves to the model
    for model, others_keys in _OWN_KEYS.items():
        theirs = next((key for key in opt if others_keys is not own and key in others_keys.TOP_KEYS), None)
        if theirs is not None:
            raise OptionsError(f'{theirs}: a key of {model}, and model_type is {opt.get("model_type")}. Use that, or '
                               'leave the key out')
    check_keys(opt, TopOptions, '', more=_FILLED_IN | others | (own.TOP_KEYS if own else set()))
    check_keys(opt['path'], PathOptions, 'path')
    if opt['name'] in ('', '.', '..') or os.path.basename(opt['name']) != opt['name']:
        raise OptionsError(f'name: found {opt["name"]!r}, expected the name of a folder in experiments/, without /')
    expected = ('train', 'val') if is_train else ('test', 'val', 'train')  # the last is left out
    for phase, dataset in opt['datasets'].items():
        if not isinstance(dataset, dict):
            raise OptionsError(f'datasets.{phase} is missing' if dataset is None else
                               f'datasets.{phase}: found {dataset!r}, expected a section')
        for root in ('dataroot_gt', 'dataroot_lq'):
            if not isinstance(dataset.get(root), str | None):
                raise OptionsError(f'datasets.{phase}.{root}: found {dataset[root]!r}, expected a folder')
        phase = str(phase)
        if phase.split('_')[0] not in expected or phase.startswith('train_'):
            raise OptionsError(f'datasets.{phase}: {"training" if is_train else "test.py"} has no such set. Expected ' +
                               ('train, val, val_2, …' if is_train else 'test, test_2, …'))


def validate(opt: dict[str, Any], is_train: bool) -> list[str]:
    """Check the sections of our models and fill in their defaults, in place.

    In test, what only training needs (`teacher`, `student`, `prune`, `train`, `datasets.train`) is dropped.

    Args:
        opt: The parsed options file, as BasicSR's `parse_options` returns it.
        is_train: Whether `train.py` runs.

    Returns:
        Warnings, a line each: keys nobody reads.

    Raises:
        OptionsError: A key that is close to one of ours, a wrong type or value, sections that do not go together.
    """
    check_sections(opt, is_train)
    if not is_train:
        opt['datasets'].pop('train', None)  # which BasicSR would test on, in crops
        if not opt['datasets']:
            raise OptionsError('datasets: there is no set to test on. Expected test, test_2, …')
    own = _OWN_KEYS.get(str(our_model(opt['model_type'])))
    of_clips = own is video
    opt.update(_numbers(opt))
    check_keys(opt.get('dist_params') or {}, DistOptions, 'dist_params')
    if is_train and not of_clips and isinstance(opt['datasets'].get('train'), dict):
        realesrgan.check_training_set(opt)
    sets = {} if of_clips else opt['datasets']  # of clips `basicsr_kd.preflight.clips` says what is wrong
    warnings = [line for phase, dataset in sets.items() for line in check_set(dataset, f'datasets.{phase}')]
    if opt.get('val') is None and not is_train:
        opt['val'] = {}  # BasicSR's test reads it
    if opt.get('val') is not None:
        (video.check_video_val if of_clips else check_val)(opt['val'])
    if of_clips:
        video.check_video(opt, is_train)
    if not is_train:
        for section in ('teacher', 'student', 'prune', 'train'):
            opt.pop(section, None)
        return warnings
    train = opt.get('train')
    if train is None:
        raise OptionsError('train is missing: a section with total_iter, optim_g, scheduler, …')
    if train.get('amp') is False:  # YAML reads `amp: false`; nothing else means fp32 as plainly
        train['amp'] = 'fp32'
    check_keys(train, TrainSection, 'train', _STRUCTS, own.TRAIN_KEYS if own else ())
    convert_ours(train, TrainOptions, 'train', _STRUCTS)
    train['distill_opt'] = with_defaults(train['distill_opt'])
    for key, kind in (('teacher', TeacherOptions), ('student', StudentOptions),
                      ('prune', PruneOptions | list[PruneOptions])):
        if opt.get(key) is not None:
            opt[key] = msgspec.to_builtins(convert(opt[key], kind, key, _STRUCTS))
    if opt.get('teacher'):
        opt['teacher']['path'] = os.path.expanduser(opt['teacher']['path'])
    warnings += _check_together(opt, train)
    opt['logger'] = opt.get('logger') or {}
    check_keys(opt['logger'], LoggerOptions, 'logger', {'logger': LoggerOptions, 'logger.wandb': WandbOptions})
    warnings += check_values(opt)  # before defaults, which are nobody's mistake
    convert_ours(opt['logger'], LoggerOptions, 'logger')
    _keep_workers(opt['datasets']['train'])
    return warnings


def _check_together(opt: dict[str, Any], train: dict[str, Any]) -> list[str]:
    warnings: list[str] = []
    model, path = str(our_model(opt['model_type'])), opt.get('path') or {}
    for section, prefix, keys in ((opt, '', ('network_g',)), (opt['datasets'], 'datasets.', ('train',)),
                                  (train, 'train.', ('optim_g', 'scheduler', 'total_iter'))):
        for key in keys:
            if section.get(key) is None:
                raise OptionsError(f'{prefix}{key} is missing')
    if train.get('pixel_opt') is None and train.get('perceptual_opt') is None:
        raise OptionsError('train: neither pixel_opt nor perceptual_opt is given; at least one is needed')
    warnings += check_gan(opt, train)
    if model in REALESRGAN_MODELS:
        warnings += realesrgan.check_real_esrgan(opt)
    _check_optimizers(train)
    check_steps(opt.get('prune'), 'prune', int(train['total_iter']))
    check_steps((opt.get('teacher') or {}).get('prune'), 'teacher.prune', None)
    if opt.get('prune') is not None and 'network_g' in (path.get('ignore_resume_networks') or ()):
        raise OptionsError('path.ignore_resume_networks: network_g of a pruned run cannot be left out, its widths come '
                           'from the file to resume')
    if model.startswith('Prune'):
        for found, key in ((opt.get('teacher'), 'teacher'), (opt.get('student'), 'student'),
                           (train['distill_opt'], 'train.distill_opt')):
            if found is not None:
                raise OptionsError(f'{key}: {model} does not distil; use model_type: {model.replace("Prune", "KD")}')
    if model.startswith('KD') and opt.get('prune') is not None:
        raise OptionsError(f'prune: {model} prunes its teacher; move the section to teacher.prune (or use model_type: '
                           f'{model.replace("KD", "Prune")})')
    if opt.get('prune') is not None:
        if not path.get('pretrain_network_g') and not resumes(opt):
            raise OptionsError('path.pretrain_network_g is missing: the trained network that `prune:` makes smaller')
        if train['distill_opt'] is not None and prune_steps(opt['prune'])[0].steps > 1:
            raise OptionsError('prune.steps: a network that is pruned in stages cannot be distilled meanwhile; prune '
                               'it at once, or in a run without train.distill_opt before')
    if model.startswith('Prune'):
        return warnings
    warnings += check_distillation(opt, train)
    from_teacher = (opt.get('student') or {}).get('init') == 'teacher'
    if from_teacher and path.get('pretrain_network_g') and not resumes(opt):
        raise OptionsError('student.init: teacher and path.pretrain_network_g both say where the student starts; '
                           'leave one out')
    return warnings


def _keep_workers(dataset: dict[str, Any]) -> None:
    """Have a loader's workers stay between epochs: with a launcher each new one imports everything again (`spawn`)."""
    if dataset.get('num_worker_per_gpu') and dataset.get('persistent_workers') is None:
        dataset['persistent_workers'] = True


def _check_optimizers(train: dict[str, Any]) -> None:
    for key in ('optim_g', 'optim_d'):
        section = train.get(key)
        if section is None and key == 'optim_d':
            continue
        if not isinstance(section, dict) or 'type' not in section:
            raise OptionsError(f'train.{key}: found {section!r}, expected a section with type:')
        if not isinstance(section.get('lr'), (int, float)) or isinstance(section['lr'], bool):
            raise OptionsError(f'train.{key}.lr: found {section.get("lr")!r}, expected a number')
        if section['lr'] > _FASTEST:
            raise OptionsError(f'train.{key}.lr: found {section["lr"]}, expected {_FASTEST} at most, such as 1e-4')


def _numbers(value: Any, key: str = '') -> Any:
    """YAML 1.1 reads `1e-2` as a string; read such strings as the numbers they are, save for names and files.

    Raises:
        OptionsError: A number that is not finite.
    """
    if isinstance(value, dict):
        return {name: item if str(name).startswith(_TEXTS) else _numbers(item, f'{key}.{name}')
                for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item, f'{key}[{index}]') for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionsError(f'{key.removeprefix(".")}: found {value}, expected a number that is finite')
    if not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        return value
    number = float(value)
    return int(number) if number.is_integer() else number  # 5e3 iterations are a whole number of them
