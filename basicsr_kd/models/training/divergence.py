"""Training that has diverged: it stops before anything broken is saved."""
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from basicsr_kd.errors import TrainingError


def check_losses(log: Mapping[str, float], current_iter: int, folder: str) -> None:
    """Every term of the loss is a number.

    Args:
        log: The terms by their names in the log.
        current_iter: The iteration.
        folder: Where the checkpoints are.

    Raises:
        TrainingError: The first term that is NaN or infinite.
    """
    for name, value in log.items():
        if not math.isfinite(value):
            raise TrainingError(f'{name} is {value} at iteration {current_iter:,}; {_way_out(folder)}')


def check_weights(nets: Mapping[str, nn.Module], current_iter: int, folder: str) -> None:
    """Every weight is a number; the loss would only tell in the next iteration.

    Args:
        nets: The networks that are about to be saved, by what they are.
        current_iter: The iteration, -1 at the end as in BasicSR.
        folder: Where the checkpoints are.

    Raises:
        TrainingError: The first weight that is NaN or infinite.
    """
    when = f'at iteration {current_iter:,}' if current_iter > 0 else 'at the end'
    for which, net in nets.items():
        for name, weight in net.named_parameters():
            if not torch.isfinite(weight).all():
                raise TrainingError(f'{name} of the {which} is no longer finite {when}; {_way_out(folder)}')


def check_flow(flow: Tensor, current_iter: int, folder: str) -> None:
    """The motion that a network finds is finite.

    Where it is not, `grid_sample` gives values that are, so no loss tells, and its backward pass reads memory that is
    not its own: it can end the process with a segmentation fault.

    Args:
        flow: The motion, any shape.
        current_iter: The iteration.
        folder: Where the checkpoints are.

    Raises:
        TrainingError: It is NaN or infinite somewhere.
    """
    if not torch.isfinite(flow).all():
        raise TrainingError('the motion between frames is not finite at iteration '
                            f'{current_iter:,}; {_way_out(folder)}')


def _way_out(folder: str) -> str:
    return (f'training stops and saves nothing. The last good checkpoints are in {folder}; go on from them with '
            '--auto_resume and a lower learning rate or loss weight, or with train.amp: fp32')
