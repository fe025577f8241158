"""The GAN losses of BasicSR's SRGANModel and ESRGANModel, from logits that both networks' steps share."""
from __future__ import annotations

from torch import Tensor, nn


def generator_loss(criterion: nn.Module, real: Tensor, fake: Tensor, relativistic: bool) -> Tensor:
    """What the generator minimises; its gradient goes to `fake` alone.

    Args:
        criterion: BasicSR's GANLoss.
        real: The discriminator's logits (n, …) for ground truth; they count only in the relativistic loss.
        fake: Those for what the generator made.
        relativistic: ESRGAN's loss, the relativistic average one (Jolicoeur-Martineau: "The relativistic
            discriminator", ICLR 2019), else the standard one.
    """
    if not relativistic:
        return criterion(fake, True, is_disc=False)
    real = real.detach()
    return (criterion(real - fake.mean(), False, is_disc=False) +
            criterion(fake - real.mean(), True, is_disc=False)) / 2


def discriminator_losses(criterion: nn.Module, real: Tensor, fake: Tensor,
                         relativistic: bool) -> tuple[Tensor, Tensor]:
    """What the discriminator minimises, for ground truth and for what was made; see `generator_loss`.

    As in BasicSR no gradient goes through the mean that the relativistic loss subtracts.
    """
    if not relativistic:
        return criterion(real, True, is_disc=True), criterion(fake, False, is_disc=True)
    return (criterion(real - fake.detach().mean(), True, is_disc=True) * 0.5,
            criterion(fake - real.detach().mean(), False, is_disc=True) * 0.5)
