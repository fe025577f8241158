"""Checks that stop a training that has diverged before anything broken is saved."""
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from basicsr_kd.errors import TrainingError


def check_losses(log: Mapping[str, float], current_iter: int, folder: str) -> None:
    """Check that every term of the loss is a finite number.

    Args:
        log: The terms by their names in the log.
        current_iter: The iteration.
        folder: The folder of the checkpoints.

    Raises:
        TrainingError: A term is NaN or infinite; the text names the first.
    """
    for name, value in log.items():
        if not math.isfinite(value):
            raise TrainingError(f'{name} is {value} at iteration {current_iter:,}; {_way_out(folder)}')


def check_weights(nets: Mapping[str, nn.Module], current_iter: int, folder: str) -> None:
    """Check that every weight is a finite number; the loss would only show it in the next iteration.

    Args:
        nets: The networks that are about to be saved, by their roles, such as `generator`.
        current_iter: The iteration, -1 at the end as in BasicSR.
        folder: The folder of the checkpoints.

    Raises:
        TrainingError: A weight is NaN or infinite; the text names the first.
    """
    when = f'at iteration {current_iter:,}' if current_iter > 0 else 'at the end'
    for which, net in nets.items():
        for name, weight in net.named_parameters():
            if not torch.isfinite(weight).all():
                raise TrainingError(f'{name} of the {which} is no longer finite {when}; {_way_out(folder)}')


def check_flow(flow: Tensor, current_iter: int, folder: str) -> None:
    """Check that the motion that a network finds is finite.

    With a motion that is not, `grid_sample` still gives finite values, so no loss shows it, and its backward pass reads
    memory out of bounds, which can end the process with a segmentation fault.

    Args:
        flow: The motion, any shape.
        current_iter: The iteration.
        folder: The folder of the checkpoints.

    Raises:
        TrainingError: The motion is NaN or infinite somewhere.
    """
    if not torch.isfinite(flow).all():
        raise TrainingError('the motion between frames is not finite at iteration '
                            f'{current_iter:,}; {_way_out(folder)}')


def _way_out(folder: str) -> str:
    return (f'training stops and saves nothing. The last good checkpoints are in {folder}; go on from them with '
            '--auto_resume and a lower learning rate or loss weight, or with train.amp: fp32')
