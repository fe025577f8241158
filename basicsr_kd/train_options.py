"""The keys of `train:` that are ours. Imports neither torch nor BasicSR."""
from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from basicsr_kd.distill_options import AnyDistillOptions, ScheduleOptions
from basicsr_kd.prune_options import Section


class CompileOptions(Section):
    """What `torch.compile` is told."""
    mode: Literal['default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs'] = 'default'


class TrainOptions(Section):
    """The keys of `train:` that are ours (BasicSR's own stand beside them)."""
    distill_opt: AnyDistillOptions | list[AnyDistillOptions] | None = None
    distill_schedule: ScheduleOptions = msgspec.field(default_factory=ScheduleOptions)
    distill_every: Annotated[int, msgspec.Meta(ge=1)] = 1  # the teacher runs in every n-th iteration
    relativistic: bool | None = None  # left out: true for PruneGANModel (ESRGAN's losses), false for the others
    amp: Literal['fp32', 'bf16', 'fp16'] = 'fp32'
    channels_last: bool = True
    compile: bool | CompileOptions = False  # student, teacher and discriminator
    broadcast_buffers: bool = False  # of the discriminator: rank 0's go to all ranks before each iteration
    sync_bn: bool = False  # the discriminator's BatchNorm takes the statistics of all ranks together; on GPUs
    warmup_iter_d: Annotated[int, msgspec.Meta(ge=0)] = 0  # D's learning rate rises over so many iterations
    adaptive_d: Annotated[float, msgspec.Meta(gt=0)] | None = None  # D pauses while its loss is below


TRAIN_KEYS = {
    'total_iter', 'warmup_iter', 'ema_decay', 'optim_g', 'optim_d', 'scheduler', 'pixel_opt', 'perceptual_opt',
    'gan_opt', 'net_d_iters', 'net_d_init_iters'
}.union(TrainOptions.__struct_fields__)
"""Ours, and those of BasicSR that our models read."""
