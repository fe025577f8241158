"""One step of generator and discriminator, with as few passes through the discriminator as BasicSR's gradients need."""
from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr_kd.models.acceleration import Acceleration
from basicsr_kd.models.adversary import discriminator_losses, generator_loss
from basicsr_kd.models.balance import is_below


class GANStep(Acceleration):
    """What `GANTrainer` does with the generator's output; attributes without a value are BasicSR's."""

    discriminator_first = False
    """Whether the generator learns from the discriminator as it is after its step."""
    with_gan: bool
    relativistic: bool
    output: Tensor
    gt: Tensor
    net_d: nn.Module
    cri_gan: nn.Module
    cri_pix: Any
    cri_perceptual: Any
    optimizer_g: Any
    optimizer_d: Any

    def train_networks(self, train_g: bool) -> OrderedDict[str, Tensor]:
        """One step of each network by `self.output`; returns what belongs into the log.

        Both networks learn from the same two passes through the discriminator, where BasicSR runs it five times
        (relativistic) or three. The generator's step does not change the discriminator, and what the adversarial loss
        wants of the image is known before the discriminator's step: the gradients are BasicSR's. Two things differ:
        spectral normalisation makes one power iteration a pass, so fewer here, and BatchNorm's running statistics,
        which training does not use, take in each batch once.
        """
        log: OrderedDict[str, Tensor] = OrderedDict()
        if not self.with_gan:
            return self.train_generator(None) if train_g else log
        image, gt = self.output.detach().requires_grad_(train_g), self.target('gan')
        real, fake = self.discriminate(gt), self.discriminate(image)  # apart, so that BatchNorm sees each alone
        l_d_real, l_d_fake = discriminator_losses(self.cri_gan, real, fake, self.relativistic)
        pauses = self.discriminator_pauses(real, fake, l_d_real + l_d_fake)
        wanted: Tensor | None = None
        if train_g and (pauses or not self.discriminator_first):
            log['l_g_gan'], wanted = self.adversarial_gradient(image, real, fake, keep=not pauses)
        if not pauses:
            self.train_discriminator(l_d_real + l_d_fake)
        if train_g and wanted is None:
            anew = self.discriminate(gt) if self.relativistic else real
            log['l_g_gan'], wanted = self.adversarial_gradient(image, anew, self.discriminate(image))
        if train_g:
            log.update(self.train_generator(wanted))
        log.update(l_d_real=l_d_real, l_d_fake=l_d_fake, out_d_real=real.detach().mean(),
                   out_d_fake=fake.detach().mean())
        if self.opt['train']['adaptive_d'] is not None:
            log['d_paused'] = torch.tensor(float(pauses), device=self.device)
        return log

    def adversarial_gradient(self, image: Tensor, real: Tensor, fake: Tensor,
                             keep: bool = False) -> tuple[Tensor, Tensor]:
        """The adversarial loss of the generator, and its gradient (scaled) at the image that it made.

        No gradient of the discriminator's weights is computed. `keep` says whether they get one later.
        """
        loss = generator_loss(self.cri_gan, real, fake, self.relativistic)
        return loss, torch.autograd.grad(self.scaler.scale(loss), image, retain_graph=keep)[0]

    def train_discriminator(self, loss: Tensor) -> None:
        """One step of the discriminator; no gradient at the image is computed, which the generator took before."""
        self.optimizer_d.zero_grad()
        self.scaler.scale(loss).backward(inputs=[weight for weight in self.net_d.parameters() if weight.requires_grad])
        self.step(self.optimizer_d)

    def train_generator(self, wanted: Tensor | None) -> OrderedDict[str, Tensor]:
        """One step of the generator; returns the terms of its loss, without the adversarial one.

        Args:
            wanted: The gradient of the adversarial loss at `self.output`.
        """
        losses = self.generator_losses()
        total = self.scaler.scale(torch.stack(list(losses.values())).sum())
        if wanted is None:
            total.backward()
        else:
            torch.autograd.backward([total, self.output], [None, wanted])
        self.step(self.optimizer_g)
        return losses

    def generator_losses(self) -> OrderedDict[str, Tensor]:
        """The weighted terms of the generator's loss under their names in the log, without the adversarial one."""
        losses: OrderedDict[str, Tensor] = OrderedDict()
        if self.cri_pix:
            losses['l_g_pix'] = self.cri_pix(self.output, self.target('l1'))
        if self.cri_perceptual:  # whose network takes images, also where there are clips (n, t, 3, h, w)
            images = self.output, self.target('percep')
            percep, style = self.cri_perceptual(*(image.flatten(0, -4) for image in images))
            losses.update({k: v for k, v in (('l_g_percep', percep), ('l_g_style', style)) if v is not None})
        return losses

    def target(self, loss: Literal['l1', 'percep', 'gan']) -> Tensor:
        """What a loss (pixel, perceptual, adversarial) compares the output with, of its shape."""
        return self.gt

    def discriminator_pauses(self, real: Tensor, fake: Tensor, loss: Tensor) -> bool:
        """Whether it is too good to learn on (`adaptive_d`), by its logits (n, 1) and loss; all ranks decide alike."""
        return is_below(loss, self.opt['train']['adaptive_d'])

    def discriminate(self, image: Tensor) -> Tensor:
        """The discriminator's logits for images (n, 3, h, w), in fp32 so that the losses are."""
        with self.autocast():
            logits = self.net_d(image.contiguous(memory_format=self.memory_format))
        return logits.float()
