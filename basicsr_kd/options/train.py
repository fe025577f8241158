"""The keys of `train:` that are ours, and what those of GAN training need of each other.

Imports neither torch nor BasicSR.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.options.convert import Section
from basicsr_kd.options.distill import ScheduleOptions

# and what they are where the file does not say
_ONLY_WITH_GAN = {'warmup_iter_d': 0, 'adaptive_d': None, 'broadcast_buffers': False, 'sync_bn': False}


class CompileOptions(Section):
    """What `torch.compile` is told."""
    mode: Literal['default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs'] = 'default'  # PyTorch's


class TrainOptions(Section):
    """The keys of `train:` that are ours (BasicSR's own stand beside them)."""
    # distillation losses: type: and its keys; several add up
    distill_opt: dict[str, Any] | list[dict[str, Any]] | None = None
    # a factor on all of them over time
    distill_schedule: ScheduleOptions = msgspec.field(default_factory=ScheduleOptions)
    distill_every: Annotated[int, msgspec.Meta(ge=1)] = 1  # the teacher runs in every n-th iteration
    relativistic: bool | None = None  # default: true for PruneGANModel (ESRGAN's losses), false for the others
    amp: Literal['fp32', 'bf16', 'fp16'] = 'fp32'  # number format of forward passes
    channels_last: bool = True  # memory format, faster in all formats
    compile: bool | CompileOptions = False  # student, teacher and discriminator
    broadcast_buffers: bool = False  # of the discriminator: rank 0's go to all ranks before each iteration
    sync_bn: bool = False  # the discriminator's BatchNorm takes the statistics of all ranks together; on GPUs
    warmup_iter_d: Annotated[int, msgspec.Meta(ge=0)] = 0  # D's learning rate rises over so many iterations
    adaptive_d: Annotated[float, msgspec.Meta(gt=0)] | None = None  # D pauses while its loss is below


def check_gan(opt: dict[str, Any], train: dict[str, Any]) -> list[str]:
    """Check discriminator, its optimizer and its pace, and fill in `net_d_init_iters`, in place.

    Args:
        opt: The options, with our own keys of `train` filled in.
        train: Their section `train`.

    Returns:
        Warnings, a line each.

    Raises:
        OptionsError: A key that is missing, or one that would keep generator or discriminator from learning.
    """
    if train.get('gan_opt') is None:
        warnings = [f'train.{key}: not used, train.gan_opt is not given' for key, unset in _ONLY_WITH_GAN.items()
                    if train[key] != unset]
        if opt.pop('network_d', None) is not None:
            warnings.append('network_d: not used, train.gan_opt is not given')
        return warnings
    for section, key in ((opt, 'network_d'), (train, 'optim_d')):
        if section.get(key) is None:
            raise OptionsError(f'{"train." if section is train else ""}{key} is missing; train.gan_opt needs it '
                               f'(leave train.gan_opt out to train without a discriminator)')
    total = int(train['total_iter'])
    train.setdefault('net_d_init_iters', 0 if opt['path'].get('pretrain_network_d') else total // 100)
    for key, what in (('net_d_init_iters', 'the generator would never learn'),
                      ('warmup_iter_d', 'the discriminator would never learn at its own rate')):
        if train[key] >= total:
            raise OptionsError(f'train.{key}: found {train[key]:,}, expected less than train.total_iter ({total:,}); '
                               f'{what}')
    if 0 < train['warmup_iter_d'] <= (train.get('warmup_iter') or 0):
        raise OptionsError(f'train.warmup_iter_d: found {train["warmup_iter_d"]:,}, expected more than '
                           f'train.warmup_iter ({train["warmup_iter"]:,}), which covers the discriminator too')
    if train['adaptive_d'] is not None and train['gan_opt'].get('gan_type') == 'wgan':
        raise OptionsError('train.adaptive_d: the loss of gan_type: wgan may be below any number, so the discriminator '
                           'would stop for ever; leave it out, or use gan_type: vanilla, lsgan or hinge')
    if train['sync_bn'] and opt['num_gpu'] == 0:
        raise OptionsError('train.sync_bn: PyTorch has SyncBatchNorm on GPUs only, and num_gpu is 0; leave it out')
    return []
