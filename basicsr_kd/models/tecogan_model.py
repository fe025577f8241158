"""The training of FRVSR and TecoGAN on clips, in which the discriminator makes its step before the generator."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from basicsr_kd.archs.warp import backward_warp
from basicsr_kd.data.tecogan_degradation import BORDER, gaussian_downsample
from basicsr_kd.errors import BackboneError
from basicsr_kd.models.kdgan_model import KDGANModel
from basicsr_kd.models.prune_gan_model import PruneGANModel
from basicsr_kd.models.tecogan_triplets import mirrored, mirrored_flow, teco_triplets, triplet_flow
from basicsr_kd.models.training.balance import is_below
from basicsr_kd.models.training.divergence import check_flow
from basicsr_kd.models.training.gan_trainer import GANTrainer
from basicsr_kd.models.validation.clips import VideoValidation
from basicsr_kd.runs.distributed import on_master_first


class VideoGAN(VideoValidation, GANTrainer):
    """GANTrainer for an FRNet on clips (n, t, c, h, w), as in Chu et al. (TecoGAN), ACM TOG 39(4), 2020.

    Options of `train:` read here: `warp_opt` (each low-resolution frame must equal the frame before, warped onto it),
    `pingpong_opt` (clips run forth and back, and both ways must give the same), `adaptive_d` (here: D learns only while
    mean log σ(real) - mean log σ(fake) is below this number; 0.4 in TecoGAN). Also read: `degradation:`.

    The batch has `gt` (n, t, 3, scale·h + 8, scale·w + 8), from which `lq` is made, or both `gt` (n, t, 3, scale·h,
    scale·w) and `lq` (n, t, 3, h, w); RGB in [0, 1].
    """

    discriminator_first = True  # two passes through it while it pauses (most of the time), else three

    def init_training_settings(self) -> None:
        train = self.opt['train']
        perceptual = train.pop('perceptual_opt', None)  # built below, since that may fail
        super().init_training_settings()
        self.cri_perceptual = self._perceptual_loss(perceptual) if perceptual else None
        self.cri_warp, self.cri_pingpong = (
            build_loss(train[key]).to(self.device) if train.get(key) else None for key in ('warp_opt', 'pingpong_opt'))

    def _perceptual_loss(self, section: dict[str, Any]) -> nn.Module | None:
        """The loss; None, with a warning and on all ranks, if the weights of its network cannot be had."""
        built: list[nn.Module] = []

        def build() -> str:
            try:
                built.append(build_loss(section))
            except BackboneError as error:
                return str(error)
            return ''

        missing = on_master_first(build)  # rank 0 may download the weights for all
        if missing:
            get_root_logger().warning(f'train.perceptual_opt: left out, since {missing}')
            return None
        return (built[0] if built else build_loss(section)).to(self.device)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        gt: Tensor = data['gt'].to(self.device)
        self.see_broken(data.get('broken', ()))
        if 'lq' in data:
            self.lq, self.gt = data['lq'].to(self.device), gt
        else:
            self.lq = gaussian_downsample(gt, self.opt['scale'], self.opt['degradation']['sigma'])
            self.gt = gt[..., BORDER:-BORDER, BORDER:-BORDER]
        if self.cri_pingpong:
            self.lq, self.gt = mirrored(self.lq), mirrored(self.gt)

    def run_generator(self, current_iter: int, train_g: bool) -> Tensor:
        self.sequence: dict[str, Tensor] = self.net_g(self.lq, with_flow=True)
        check_flow(self.sequence['lr_flow'], current_iter, self.opt['path']['models'])
        return self.sequence['hr']

    def train_networks(self, train_g: bool) -> OrderedDict[str, Tensor]:
        if self.with_gan:
            self._prepare_triplets()
        return super().train_networks(train_g)

    def generator_losses(self) -> OrderedDict[str, Tensor]:
        losses = super().generator_losses()
        if self.cri_warp:
            before, flow, frames = (self.sequence[key].flatten(0, 1).float() for key in
                                    ('lr_prev', 'lr_flow', 'lr_curr'))
            losses['l_g_warp'] = self.cri_warp(backward_warp(before, flow), frames)
        if self.cri_pingpong:
            way = self.output.shape[1] // 2
            losses['l_g_pingpong'] = self.cri_pingpong(self.output[:, :way], self.output[:, -way:].flip(1))
        return losses

    @torch.no_grad()
    def _prepare_triplets(self) -> None:
        """Compute what the discriminator sees beside the frames: the same for real and generated frames."""
        net: Any = self.get_bare_model(self.net_g)
        shape, flow = self.lq.shape[:2], self.sequence['hr_flow'].float()
        self.upsampled = net.upsample_func(self.lq.flatten(0, 1)).unflatten(0, shape)
        if self.cri_pingpong:
            self.flow = mirrored_flow(flow)
            return
        frames = shape[1] // 3 * 3
        middle, last = self.lq[:, 1:frames:3], self.lq[:, 2:frames:3]
        with self.autocast():
            forward = net.fnet(middle.flatten(0, 1), last.flatten(0, 1)).float()
        forward = (net.scale * net.upsample_func(forward)).unflatten(0, middle.shape[:2])
        self.flow = triplet_flow(flow[:, 0:frames:3], forward)

    def discriminate(self, image: Tensor) -> Tensor:
        """The discriminator's logits for the triplets of clips (n, t, 3, h, w), in fp32 so that losses are in fp32."""
        return super().discriminate(teco_triplets(image, self.upsampled, self.flow))

    def discriminator_pauses(self, real: Tensor, fake: Tensor, loss: Tensor) -> bool:
        threshold = self.opt['train']['adaptive_d']
        return threshold is not None and not is_below(logsigmoid(real).mean() - logsigmoid(fake).mean(), threshold)


class TecoGANModel(KDGANModel, PruneGANModel, VideoGAN):
    """FRVSR (without `gan_opt`) or TecoGAN, as `VideoGAN` trains them and `VideoValidation` tests them.

    With `prune:` the generator is pruned before the first iteration, or in stages (see `PruneGANModel`); with
    `teacher:` and `distill_opt` it learns from an FRNet (see `KDGANModel`); both are possible at once. Features of all
    frames of a clip are compared: student and teacher go through the clip side by side, each with its own previous
    output.
    """

    relativistic_by_default = False
