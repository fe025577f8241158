"""What our models share: BasicSR's GAN training, with options where it leaves no choice."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from basicsr_kd.models.balance import WinnerWatch, even_loss, warm_up
from basicsr_kd.models.distributed import share_buffers, with_sync_bn, wrap
from basicsr_kd.models.divergence import check_losses, check_weights
from basicsr_kd.models.gan_step import GANStep
from basicsr_kd.models.validation import Validation


class GANTrainer(GANStep, Validation, SRGANModel):
    """SRGANModel / ESRGANModel with the discriminator optional and two passes through it a step, also on a CPU.

    Options of `train:` read here: `gan_opt` (left out: no discriminator), `relativistic` (ESRGAN's average loss, or the
    standard one), `net_d_iters`, `net_d_init_iters`, `warmup_iter_d` (D's learning rate rises over so many iterations),
    `adaptive_d` (D does not learn while its loss is below).

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
        self.compile(self.net_g)
        if self.with_gan:
            self.compile(self.net_d, repeats=True)

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
        if net is getattr(self, 'net_d', None):  # which BasicSR puts there before
            net = with_sync_bn(net, self.opt)
        return wrap(self.prepare(net), self.device, self.opt)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        self.lq: Tensor = self.lq.contiguous(memory_format=self.memory_format)

    def optimize_parameters(self, current_iter: int) -> None:
        if self.with_gan:
            share_buffers(self.net_d, self.opt)
        self.start_steps()
        self.optimizer_g.zero_grad()
        train_g = current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters
        with torch.set_grad_enabled(train_g), self.autocast():
            self.output = self.run_generator(current_iter, train_g).float()
        log = self.train_networks(train_g)
        self.finish_steps()
        log.update(self.log_only(log))
        self.log_dict = self.reduce_loss_dict(log)
        check_losses(self.log_dict, current_iter, self.opt['path']['models'])
        if self.with_gan and current_iter > self.net_d_init_iters:  # before, it is meant to win
            self.winner_watch.see(self.log_dict['l_d_real'] + self.log_dict['l_d_fake'], current_iter)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def run_generator(self, current_iter: int, train_g: bool) -> Tensor:
        """The output (n, 3, scale·h, scale·w) for `self.lq`; `train_g` says whether the generator learns from it."""
        return self.net_g(self.lq)

    def log_only(self, log: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further values for the log that are no terms of the loss, made from those that are in it."""
        return {}

    def save(self, epoch: int, current_iter: int) -> None:
        nets = {'generator': self.net_g} | ({'discriminator': self.net_d} if self.with_gan else {})
        nets = {which: self.get_bare_model(net) for which, net in nets.items()}
        check_weights(nets, current_iter, self.opt['path']['models'])
        (SRGANModel if self.with_gan else SRModel).save(self, epoch, current_iter)
