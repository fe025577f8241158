"""How many iterations cost as much as another arm's: multiply-accumulates of one training step, counted.

For every image of a batch, in passes forward (a pass back costs twice as much):
- the student forward and back: 3 of its own;
- the discriminator: real and fake, each forward and back (3 + 3), and for the generator's loss the fake one once more
  back, to the image and not to the weights (1): 7;
- the teacher, where there is distillation: 1, in every `distill_every`-th iteration.
Losses, adapters and optimizers are left out; on the demo's networks the adapters come to less than 2 %.
"""
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from basicsr_kd.archs.build import build
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.errors import OptionsError
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.models.training.network_files import prune_to_file
from basicsr_kd.options.prune import prune_steps
from studies.ablation.plan import AblationError


def equal_cost_iterations(options: Mapping[str, Any], like: Mapping[str, Any]) -> int:
    """Iterations of a training with `options` that cost what all of those of `like` do.

    Args:
        options, like: BasicSR's options, placeholders filled in.

    Raises:
        AblationError: a network of either is not what trains, since `prune:` makes it smaller.
    """
    return round(int(like['train']['total_iter']) * step_macs(like) / step_macs(options))


def step_macs(options: Mapping[str, Any]) -> float:
    """Multiply-accumulates of one training step, for one image of the batch.

    Raises:
        AblationError: see `equal_cost_iterations`.
    """
    if options.get('prune'):
        raise AblationError('more_iterations_like: cannot count the cost of a network that prune: makes smaller first.')
    train, hr = options['train'], options['datasets']['train']['gt_size']
    lr = hr // options['scale']
    macs: float = 3 * _forward(build(options['network_g']), lr)
    if train.get('gan_opt'):
        macs += 7 * _forward(build(options['network_d']), hr)
    if train.get('distill_opt'):
        macs += _forward(_teacher(options), lr) / train.get('distill_every', 1)
    return macs


def _forward(net: nn.Module, size: int) -> int:
    return int(complexity(net, (size, size)).macs or 0)


def _teacher(options: Mapping[str, Any]) -> nn.Module:
    section = options['teacher']
    teacher = build_from_file(section['path'], section.get('param_key'), section.get('network'))
    try:
        steps = prune_steps(section.get('prune'))
    except OptionsError as error:
        raise AblationError(f'teacher.prune: {error}') from None
    if not steps:
        return teacher
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / 'teacher.pth')
        prune_to_file(teacher, steps, file, section.get('network'), dict(options))
        return build_from_file(file)
