"""The base of all our models: BasicSR's GAN training with more options."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from basicsr_kd.models.training.balance import WinnerWatch, even_loss, is_below, warm_up
from basicsr_kd.models.training.ddp import share_buffers, with_sync_bn, wrap
from basicsr_kd.models.training.divergence import check_losses, check_weights
from basicsr_kd.models.validation.images import Validation
from basicsr_kd.runs import signals, start


class GANTrainer(Validation, SRGANModel):
    """SRGANModel / ESRGANModel with an optional discriminator, two passes through it in each step, also on a CPU.

    Options of `train:` read here: `gan_opt` (default: no discriminator), `relativistic` (ESRGAN's average loss, or the
    standard one), `net_d_iters`, `net_d_init_iters`, `warmup_iter_d` (iterations over which D's learning rate rises),
    `adaptive_d` (D does not learn while its loss is below this number).

    The batch is BasicSR's: `lq` (n, 3, h, w) and `gt` (n, 3, scale·h, scale·w), RGB in [0, 1].

    Raises:
        TrainingError: A term of the loss is no longer finite.
    """

    relativistic_by_default = False
    discriminator_first = False
    """Whether the discriminator makes its step first, so that the generator learns from the updated one."""
    # attributes of BasicSR's
    output: Tensor
    gt: Tensor
    cri_pix: Any
    cri_perceptual: Any
    optimizer_d: Any

    def __init__(self, opt: dict[str, Any]) -> None:
        train = opt.get('train') or {}
        self.broken: list[str] = []  # images of the training set that do not decode
        self.with_gan = bool(train.get('gan_opt'))
        relativistic = train.get('relativistic')
        self.relativistic = self.relativistic_by_default if relativistic is None else relativistic
        if opt['path'].get('resume_state'):
            opt['path'].update(param_key_g='params', param_key_d='params')  # the weights that train; EMA is also loaded
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
        """Move a network to the device and wrap it for distributed training; unlike in BasicSR, also on CPUs (gloo)."""
        if net is getattr(self, 'net_d', None):  # BasicSR has set net_d before
            net = with_sync_bn(net, self.opt)
        return wrap(self.prepare(net), self.device, self.opt)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        self.see_broken(data.get('broken', ()))
        self.lq: Tensor = self.lq.contiguous(memory_format=self.memory_format)

    def see_broken(self, named: Iterable[str]) -> None:
        """Name images that do not decode; over `datasets.train.max_bad_images` of them, this run saves and ends.

        Args:
            named: For each sample, the broken images that it replaces, one line for each.
        """
        for path in (path for lines in named for path in lines.splitlines()):
            if path not in self.broken:
                self.broken.append(path)
                get_root_logger().error(f'{path} cannot be read as an image; another takes its place.')
        most = self.opt['datasets']['train'].get('max_bad_images', 0) if self.broken else 0
        if len(self.broken) > most:
            self.error = (f'{self.broken[-1]} cannot be read, like {len(self.broken) - 1} before it, and '
                          f'datasets.train.max_bad_images is {most}. Replace it, or let more of them pass.')
            signals.end_for_an_error()

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
        if self.with_gan and current_iter > self.net_d_init_iters:  # before that, D is meant to win
            self.winner_watch.see(self.log_dict['l_d_real'] + self.log_dict['l_d_fake'], current_iter)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
        signals.begun()  # first: it may still end the run and undo its start
        start.begun()
        if number := signals.stop_after(current_iter):
            self.end_run(number, current_iter)

    def run_generator(self, current_iter: int, train_g: bool) -> Tensor:
        """The output (n, 3, scale·h, scale·w) for `self.lq`; `train_g` says whether the generator learns from it."""
        return self.net_g(self.lq)

    def log_only(self, log: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further values for the log that are no terms of the loss, computed from the logged values."""
        return {}

    def train_networks(self, train_g: bool) -> OrderedDict[str, Tensor]:
        """Make one step of each network with `self.output`; returns the values for the log.

        Both networks learn from the same two passes through the discriminator; BasicSR runs it five times
        (relativistic) or three times. The generator's step does not change the discriminator, and the gradient of the
        adversarial loss at the image is computed before the discriminator's step: the gradients are BasicSR's. Two
        things differ: spectral normalisation makes one power iteration in each pass, so fewer here, and BatchNorm's
        running statistics, which training does not use, take in each batch once.
        """
        log: OrderedDict[str, Tensor] = OrderedDict()
        if not self.with_gan:
            return self.train_generator(None) if train_g else log
        image, gt = self.output.detach().requires_grad_(train_g), self.target('gan')
        real, fake = self.discriminate(gt), self.discriminate(image)  # two passes, so that BatchNorm sees each alone
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
        """The adversarial loss of the generator, and its gradient (scaled) at the generated image.

        No gradient of the discriminator's weights is computed. `keep` says whether they get one later.
        """
        loss = generator_loss(self.cri_gan, real, fake, self.relativistic)
        return loss, torch.autograd.grad(self.scaler.scale(loss), image, retain_graph=keep)[0]

    def train_discriminator(self, loss: Tensor) -> None:
        """Make one step of the discriminator; no gradient at the image is computed: the generator has it already."""
        self.optimizer_d.zero_grad()
        self.scaler.scale(loss).backward(inputs=[weight for weight in self.net_d.parameters() if weight.requires_grad])
        self.step(self.optimizer_d)

    def train_generator(self, wanted: Tensor | None) -> OrderedDict[str, Tensor]:
        """Make one step of the generator; returns the terms of its loss, without the adversarial one.

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
        if self.cri_perceptual:  # its network takes images, so clips (n, t, 3, h, w) are flattened
            images = self.output, self.target('percep')
            percep, style = self.cri_perceptual(*(image.flatten(0, -4) for image in images))
            losses.update({k: v for k, v in (('l_g_percep', percep), ('l_g_style', style)) if v is not None})
        return losses

    def target(self, loss: Literal['l1', 'percep', 'gan']) -> Tensor:
        """The image that a loss (pixel, perceptual, adversarial) compares the output with, of the output's shape."""
        return self.gt

    def discriminator_pauses(self, real: Tensor, fake: Tensor, loss: Tensor) -> bool:
        """Whether D is too good to go on learning (`adaptive_d`), by its logits (n, 1) and loss; all ranks agree."""
        return is_below(loss, self.opt['train']['adaptive_d'])

    def discriminate(self, image: Tensor) -> Tensor:
        """The discriminator's logits for images (n, 3, h, w), in fp32 so that losses are in fp32."""
        with self.autocast():
            logits = self.net_d(image.contiguous(memory_format=self.memory_format))
        return logits.float()

    def save(self, epoch: int, current_iter: int) -> None:
        nets = {'generator': self.net_g} | ({'discriminator': self.net_d} if self.with_gan else {})
        nets = {which: self.get_bare_model(net) for which, net in nets.items()}
        check_weights(nets, current_iter, self.opt['path']['models'])
        with self.saving(current_iter):
            self.save_beside(current_iter)
            (SRGANModel if self.with_gan else SRModel).save(self, epoch, current_iter)

    def save_beside(self, current_iter: int) -> None:
        """Write, on all ranks, what a subclass keeps beside the newest state only."""


def generator_loss(criterion: nn.Module, real: Tensor, fake: Tensor, relativistic: bool) -> Tensor:
    """The adversarial loss of the generator; its gradient goes to `fake` alone.

    Args:
        criterion: BasicSR's GANLoss.
        real: The discriminator's logits (n, …) for ground truth; they count only in the relativistic loss.
        fake: The discriminator's logits for generated images.
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
    """The losses of the discriminator, for ground truth and for generated images; see `generator_loss`.

    As in BasicSR no gradient goes through the mean that the relativistic loss subtracts.
    """
    if not relativistic:
        return criterion(real, True, is_disc=True), criterion(fake, False, is_disc=True)
    return (criterion(real - fake.detach().mean(), True, is_disc=True) * 0.5,
            criterion(fake - real.detach().mean(), False, is_disc=True) * 0.5)
