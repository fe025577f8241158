"""The plugin's own YAML sections as strict msgspec structs: an unknown key is an error with a suggestion.

Imports neither torch nor BasicSR; what needs networks or files is checked in `basicsr_kd.preflight`.
"""
from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.options import realesrgan, video
from basicsr_kd.options.convert import Structs, convert, convert_ours, unknown_keys
from basicsr_kd.options.distill import (
    AnyDistillOptions,
    ScheduleOptions,
    StudentOptions,
    TeacherOptions,
    check_distillation,
)
from basicsr_kd.options.prune import CalibrationOptions, PruneOptions, check_steps, prune_steps
from basicsr_kd.options.train import TRAIN_KEYS, CompileOptions, LoggerOptions, TrainOptions, check_gan
from basicsr_kd.options.val import check_val
from basicsr_kd.runs.resume import resumes
from basicsr_kd.utils.text import closest

OUR_MODELS = ('KDGANModel', 'PruneGANModel', video.MODEL, *realesrgan.MODELS)
_OWN_KEYS: dict[str, Any] = {video.MODEL: video,
                             **dict.fromkeys(realesrgan.MODELS, realesrgan)}

# keys that BasicSR itself reads, beside which ours stand
_TOP_KEYS = {
    'name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'network_d', 'path', 'train',
    'val', 'logger', 'dist_params', 'find_unused_parameters', 'teacher', 'student', 'prune', 'dist', 'rank',
    'world_size', 'auto_resume', 'is_train', 'root_path'
}
_PATH_KEYS = {
    'pretrain_network_g', 'pretrain_network_d', 'param_key_g', 'param_key_d', 'strict_load_g', 'strict_load_d',
    'resume_state', 'ignore_resume_networks', 'experiments_root', 'results_root', 'models', 'training_states', 'log',
    'visualization'
}
_SCHEDULERS = ('MultiStepLR', 'MultiStepRestartLR', 'CosineAnnealingRestartLR')  # BasicSR's
_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+')

_STRUCTS: Structs = {
    'teacher': TeacherOptions, 'student': StudentOptions, 'prune': PruneOptions, 'teacher.prune': PruneOptions,
    'prune.calibration': CalibrationOptions, 'teacher.prune.calibration': CalibrationOptions, 'train': TrainOptions,
    'student.calibration': CalibrationOptions, 'train.distill_opt': AnyDistillOptions, 'train.compile': CompileOptions,
    'train.distill_schedule': ScheduleOptions
}


def validate(opt: dict[str, Any], is_train: bool) -> list[str]:
    """Check the sections of our models and fill in their defaults, in place.

    In test, the sections that only training needs (`teacher`, `student`, `prune`, `train`) are dropped.

    Args:
        opt: The parsed options file, as BasicSR's `parse_options` returns it.
        is_train: Whether `train.py` runs.

    Returns:
        Warnings, a line each: keys nobody reads.

    Raises:
        OptionsError: A key that is close to one of ours, a wrong type or value, sections that do not go together.
    """
    own = _OWN_KEYS.get(opt['model_type'])
    of_clips = own is video
    warnings = unknown_keys(opt, _TOP_KEYS | (own.TOP_KEYS if own else set()), '')
    for key in ('scale', 'datasets', 'path'):
        if opt.get(key) is None:
            raise OptionsError(f'{key} is missing')
    for key in ('network_g', 'network_d', 'datasets', 'path', 'train', 'val'):
        if not isinstance(opt.get(key), dict | None):
            raise OptionsError(f'{key}: found {opt[key]!r}, expected a section')
    if opt.get('name') in ('', '.', '..') or os.path.basename(str(opt.get('name'))) != str(opt.get('name')):
        raise OptionsError(f'name: found {opt.get("name")!r}, expected the name of a folder in experiments/, without /')
    opt.update(_numbers(opt))
    warnings += unknown_keys(opt.get('path') or {}, _PATH_KEYS, 'path.')
    if opt.get('val') is None and not is_train:
        opt['val'] = {}  # BasicSR's test reads it
    if opt.get('val') is not None:
        warnings += video.check_video_val(opt['val']) if of_clips else check_val(opt['val'])
    if of_clips:
        video.check_video(opt, is_train)
    if not is_train:
        for section in ('teacher', 'student', 'prune', 'train'):
            opt.pop(section, None)
        return warnings
    train = opt.get('train')
    if train is None:
        raise OptionsError('train is missing: a section with total_iter, optim_g, scheduler, …')
    warnings += unknown_keys(train, TRAIN_KEYS | (own.TRAIN_KEYS if own else set()), 'train.')
    if train.get('amp') is False:  # YAML reads `amp: false`; nothing else means fp32 as plainly
        train['amp'] = 'fp32'
    convert_ours(train, TrainOptions, 'train', _STRUCTS)
    for key, kind in (('teacher', TeacherOptions), ('student', StudentOptions),
                      ('prune', PruneOptions | list[PruneOptions])):
        if opt.get(key) is not None:
            opt[key] = msgspec.to_builtins(convert(opt[key], kind, key, _STRUCTS))
    if opt.get('teacher'):
        opt['teacher']['path'] = os.path.expanduser(opt['teacher']['path'])
    warnings += _check_together(opt, train)
    opt['logger'] = opt.get('logger') or {}
    convert_ours(opt['logger'], LoggerOptions, 'logger')
    _keep_workers(opt['datasets']['train'])
    return warnings


def _check_together(opt: dict[str, Any], train: dict[str, Any]) -> list[str]:
    warnings: list[str] = []
    model, path = opt['model_type'], opt.get('path') or {}
    for section, prefix, keys in ((opt, '', ('network_g',)), (opt['datasets'], 'datasets.', ('train',)),
                                  (train, 'train.', ('optim_g', 'scheduler', 'total_iter'))):
        for key in keys:
            if section.get(key) is None:
                raise OptionsError(f'{prefix}{key} is missing')
    if train.get('pixel_opt') is None and train.get('perceptual_opt') is None:
        raise OptionsError('train: neither pixel_opt nor perceptual_opt is given; at least one is needed')
    warnings += check_gan(opt, train)
    if model != video.MODEL:
        realesrgan.check_training_set(opt)
    if model in realesrgan.MODELS:
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
    if dataset.get('num_worker_per_gpu'):
        dataset.setdefault('persistent_workers', True)


def _check_optimizers(train: dict[str, Any]) -> None:
    for key in ('optim_g', 'optim_d', 'scheduler'):
        section = train.get(key)
        if section is None and key == 'optim_d':
            continue
        if not isinstance(section, dict) or 'type' not in section:
            raise OptionsError(f'train.{key}: found {section!r}, expected a section with type:')
        if key != 'scheduler' and (not isinstance(section.get('lr'), (int, float)) or isinstance(section['lr'], bool)):
            raise OptionsError(f'train.{key}.lr: found {section.get("lr")!r}, expected a number')
    if train['scheduler']['type'] not in _SCHEDULERS:
        raise OptionsError(f'train.scheduler.type: found {train["scheduler"]["type"]!r}; '
                           f'{closest(str(train["scheduler"]["type"]), _SCHEDULERS)}')


def _numbers(value: Any) -> Any:
    """YAML 1.1 reads `1e-2` as a string; read such strings as the numbers they are, save for a run's or set's name."""
    if isinstance(value, dict):
        return {key: item if key == 'name' else _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        return value
    number = float(value)
    return int(number) if number.is_integer() else number  # 5e3 iterations are a whole number of them
