"""What our models share: BasicSR's GAN training, with options where it leaves no choice."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from basicsr_kd.models.balance import WinnerWatch, even_loss, is_below, warm_up
from basicsr_kd.models.checkpoints import Checkpoints
from basicsr_kd.models.divergence import check_losses, check_weights
from basicsr_kd.models.memory_format import to_memory_format
from basicsr_kd.models.precision import has_bf16
from basicsr_kd.models.validation import Validation


class GANTrainer(Validation, Checkpoints, SRGANModel):
    """SRGANModel / ESRGANModel with the discriminator optional, in bf16 and channels_last if asked, also on a CPU.

    Options of `train:` read here: `gan_opt` (left out: no discriminator), `relativistic` (ESRGAN's average loss, or the
    standard one), `amp`, `channels_last`, `net_d_iters`, `net_d_init_iters`, `warmup_iter_d` (D's learning rate rises
    over so many iterations), `adaptive_d` (D does not learn while its loss is below).

    The batch is BasicSR's: `lq` (n, 3, h, w) and `gt` (n, 3, scale·h, scale·w), RGB in [0, 1].

    Raises:
        TrainingError: A term of the loss is no longer finite.
    """

    relativistic_by_default = False

    def __init__(self, opt: dict[str, Any]) -> None:
        train = opt.get('train') or {}
        self.with_gan = bool(train.get('gan_opt'))
        relativistic = train.get('relativistic')
        self.relativistic = self.relativistic_by_default if relativistic is None else relativistic
        self.bf16 = train.get('amp') == 'bf16' and has_bf16(opt)
        self.memory_format = torch.channels_last if train.get('channels_last', True) else torch.contiguous_format
        if opt['path'].get('resume_state'):
            opt['path'].update(param_key_g='params', param_key_d='params')  # what trains; EMA is loaded besides
        super().__init__(opt)

    def init_training_settings(self) -> None:
        train = self.opt['train']
        if self.with_gan:
            if train['net_d_init_iters'] and not self.opt['path'].get('pretrain_network_d'):
                get_root_logger().warning('path.pretrain_network_d is not given: the discriminator is fresh, alone for '
                                          f'{train["net_d_init_iters"]} iterations (train.net_d_init_iters).')
            super().init_training_settings()
            self.winner_watch = WinnerWatch(even_loss(self.cri_gan, self.device) / (2 if self.relativistic else 1))
        else:
            SRModel.init_training_settings(self)
            self.net_d_iters, self.net_d_init_iters = 1, 0
        if self.ema_decay > 0:
            self.net_g_ema.to(memory_format=self.memory_format)

    def setup_optimizers(self) -> None:
        train = self.opt['train']
        optim_type = train['optim_g'].pop('type')
        self.optimizer_g = self.get_optimizer(optim_type, self.generator_parameters(), **train['optim_g'])
        self.optimizers.append(self.optimizer_g)
        if self.with_gan:
            optim_type = train['optim_d'].pop('type')
            self.optimizer_d = self.get_optimizer(optim_type, self.net_d.parameters(), **train['optim_d'])
            self.optimizers.append(self.optimizer_d)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        super().update_learning_rate(current_iter, warmup_iter)
        if self.with_gan:
            warm_up(self.optimizer_d, current_iter, self.opt['train']['warmup_iter_d'])

    def generator_parameters(self) -> list[dict[str, Any]]:
        """The parameter groups of `optim_g`."""
        return [{'params': list(self.net_g.parameters())}]

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move to the device and wrap for distributed training; unlike BasicSR's, also with gloo on a CPU."""
        net = self.prepare(net)
        if not self.opt['dist']:
            return net
        return DistributedDataParallel(
            net,
            device_ids=[torch.cuda.current_device()] if self.device.type == 'cuda' else None,
            broadcast_buffers=False,  # the discriminator runs several times before one backward pass
            find_unused_parameters=self.opt.get('find_unused_parameters', False))

    def prepare(self, net: nn.Module) -> nn.Module:
        """Move to the device, in the memory order of this run."""
        return to_memory_format(net.to(self.device), self.memory_format)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        self.lq: Tensor = self.lq.contiguous(memory_format=self.memory_format)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        train_g = current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters
        with torch.set_grad_enabled(train_g), self.autocast():
            self.output = self.run_generator(current_iter, train_g).float()
        log = self.train_networks(train_g)
        log.update(self.log_only(log))
        self.log_dict = self.reduce_loss_dict(log)
        check_losses(self.log_dict, current_iter, self.opt['path']['models'])
        if self.with_gan and current_iter > self.net_d_init_iters:  # before, it is meant to win
            self.winner_watch.see(self.log_dict['l_d_real'] + self.log_dict['l_d_fake'], current_iter)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def train_networks(self, train_g: bool) -> OrderedDict[str, Tensor]:
        """One step of each network by `self.output`, the generator's first; returns what belongs into the log."""
        log = self.train_generator() if train_g else OrderedDict()
        if self.with_gan:
            log.update(self.train_discriminator())
        return log

    def train_generator(self) -> OrderedDict[str, Tensor]:
        """One step of the generator; returns the terms of its loss."""
        if self.with_gan:
            self.net_d.requires_grad_(False)
        losses = self.generator_losses()
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer_g.step()
        return losses

    def run_generator(self, current_iter: int, train_g: bool) -> Tensor:
        """The output (n, 3, scale·h, scale·w) for `self.lq`; `train_g` says whether the generator learns from it."""
        return self.net_g(self.lq)

    def generator_losses(self) -> OrderedDict[str, Tensor]:
        """The weighted terms of the generator's loss under their names in the log; their sum is minimised."""
        losses: OrderedDict[str, Tensor] = OrderedDict()
        if self.cri_pix:
            losses['l_g_pix'] = self.cri_pix(self.output, self.gt)
        if self.cri_perceptual:  # whose network takes images, also where there are clips (n, t, 3, h, w)
            percep, style = self.cri_perceptual(*(images.flatten(0, -4) for images in (self.output, self.gt)))
            losses.update({k: v for k, v in (('l_g_percep', percep), ('l_g_style', style)) if v is not None})
        if self.with_gan:
            fake = self.discriminate(self.output)
            if self.relativistic:
                real = self.discriminate(self.gt).detach()
                losses['l_g_gan'] = (self.cri_gan(real - fake.mean(), False, is_disc=False) +
                                     self.cri_gan(fake - real.mean(), True, is_disc=False)) / 2
            else:
                losses['l_g_gan'] = self.cri_gan(fake, True, is_disc=False)
        return losses

    def log_only(self, log: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further values for the log that are no terms of the loss, made from those that are in it."""
        return {}

    def train_discriminator(self) -> OrderedDict[str, Tensor]:
        """One step of the discriminator; real and fake go through it apart, so that BatchNorm sees each alone."""
        self.net_d.requires_grad_(True)
        self.optimizer_d.zero_grad()
        fake_image = self.output.detach()
        if self.relativistic:
            fake = self.discriminate(fake_image).detach()
            real = self.discriminate(self.gt)
            l_d_real = self.cri_gan(real - fake.mean(), True, is_disc=True) * 0.5
            fake = self.discriminate(fake_image)
            l_d_fake = self.cri_gan(fake - real.detach().mean(), False, is_disc=True) * 0.5
        else:
            real = self.discriminate(self.gt)
            l_d_real = self.cri_gan(real, True, is_disc=True)
            fake = self.discriminate(fake_image)
            l_d_fake = self.cri_gan(fake, False, is_disc=True)
        log = OrderedDict(l_d_real=l_d_real, l_d_fake=l_d_fake, out_d_real=real.detach().mean(),
                          out_d_fake=fake.detach().mean())
        pauses = self.discriminator_pauses(real, fake, l_d_real + l_d_fake)
        if not pauses:
            (l_d_real + l_d_fake).backward()
            self.optimizer_d.step()
        if self.opt['train']['adaptive_d'] is not None:
            log['d_paused'] = torch.tensor(float(pauses), device=self.device)
        return log

    def discriminator_pauses(self, real: Tensor, fake: Tensor, loss: Tensor) -> bool:
        """Whether it is too good to learn on (`adaptive_d`), by its logits (n, 1) and loss; all ranks decide alike."""
        return is_below(loss, self.opt['train']['adaptive_d'])

    def discriminate(self, image: Tensor) -> Tensor:
        """The discriminator's logits for images (n, 3, h, w), in fp32 so that the losses are."""
        with self.autocast():
            logits = self.net_d(image.contiguous(memory_format=self.memory_format))
        return logits.float()

    def save(self, epoch: int, current_iter: int) -> None:
        nets = {'generator': self.net_g} | ({'discriminator': self.net_d} if self.with_gan else {})
        nets = {which: self.get_bare_model(net) for which, net in nets.items()}
        check_weights(nets, current_iter, self.opt['path']['models'])
        (SRGANModel if self.with_gan else SRModel).save(self, epoch, current_iter)
