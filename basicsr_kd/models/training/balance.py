"""Who wins, generator or discriminator: a discriminator that pauses, learns slowly at first, or is too strong."""
from __future__ import annotations

from collections import deque
from statistics import fmean

import torch
import torch.distributed as dist
from basicsr.utils import get_root_logger
from torch import Tensor, nn

WINDOW = 100
"""Iterations over which the discriminator's loss is averaged."""
NEAR_ZERO = 0.04
"""A discriminator has won if its loss (real + fake) is below this share of the even loss (see `even_loss`)."""
SUGGESTED = 0.35
"""Share of the even loss that the warning proposes as `train.adaptive_d` (not for TecoGANModel: its rule differs)."""


def is_below(loss: Tensor, threshold: float | None) -> bool:
    """Whether the discriminator's loss is below the threshold; its mean over ranks counts, so that all decide alike."""
    if threshold is None:
        return False
    mean = loss.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
    return mean.item() < threshold


def warm_up(optimizer: torch.optim.Optimizer, current_iter: int, warmup_iter: int) -> None:
    """Raise the learning rate linearly up to the optimizer's own at `warmup_iter`; from there schedulers go on."""
    if current_iter <= warmup_iter:
        for group in optimizer.param_groups:
            group['lr'] = group['initial_lr'] * current_iter / warmup_iter


def even_loss(criterion: nn.Module, device: torch.device) -> float:
    """The loss (real + fake) of a discriminator that gives 0 for everything, by BasicSR's GANLoss."""
    nothing = torch.zeros(1, device=device)
    return sum(criterion(nothing, real, is_disc=True).item() for real in (True, False))


class WinnerWatch:
    """Warns in the log when the discriminator has won over a window of iterations.

    Light students learn little from such a discriminator (BasicSR issue #333).

    Args:
        even: The loss (real + fake) of a discriminator that gives 0 for everything: 2 ln 2 = 1.39 for `vanilla`, half
            of that if relativistic. If it is 0 (`wgan`), the loss says nothing, and nothing is watched.
    """

    def __init__(self, even: float) -> None:
        self._even = even
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._won = False

    def see(self, loss: float, current_iter: int) -> None:
        """Take in the discriminator's loss (real + fake) of an iteration; warn when it begins to win."""
        self._losses.append(loss)
        if self._even <= 0 or len(self._losses) < WINDOW:
            return
        won = fmean(self._losses) < NEAR_ZERO * self._even
        if won and not self._won:
            get_root_logger().warning(
                f'The discriminator wins: its loss was {fmean(self._losses):.3g} on average over the {WINDOW} '
                f'iterations up to {current_iter:,}; {self._even:.3g} would be even. The generator learns little from '
                f'it. Options: train.adaptive_d: {SUGGESTED * self._even:.2g} (it pauses below; TecoGANModel, which '
                'goes by the logits, takes 0.4 as TecoGAN), a lower train.optim_d.lr, train.warmup_iter_d, a network_d '
                'with fewer features, train.gan_opt.loss_weight.')
        self._won = won
