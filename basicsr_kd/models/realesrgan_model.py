"""Training as in Real-ESRGAN: low resolution is made batch by batch, and targets may be sharpened."""
from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

import torch
from basicsr.losses.loss_util import get_refined_artifact_map
from basicsr.utils import get_root_logger
from torch import Tensor

from basicsr_kd.checkpoint import atomic_save
from basicsr_kd.data.realesrgan_degradation import SecondOrderDegradation
from basicsr_kd.models.kdgan_model import KDGANModel
from basicsr_kd.models.prune_gan_model import PruneGANModel
from basicsr_kd.models.training.gan_trainer import GANTrainer
from basicsr_kd.options.realesrgan import synthesises


class SecondOrder(GANTrainer):
    """GANTrainer on BasicSR's RealESRGANDataset: the training data and losses of BasicSR's RealESRGANModel.

    Options read here, with BasicSR's names: those of the degradation, `high_order_degradation` (false: the set has
    pairs), `queue_size`, `l1_gt_usm`, `percep_gt_usm`, `gan_gt_usm` (which losses take the sharpened ground truth), and
    in `train:` `ldl_opt` (Liang et al.: "Details or Artifacts", CVPR 2022).
    """

    def init_training_settings(self) -> None:
        super().init_training_settings()
        pool = self.opt['queue_size'] if synthesises(self.opt) else 0
        self.degradation = SecondOrderDegradation(self.opt, self.device, pool)

    def save_beside(self, current_iter: int) -> None:
        """Write the pool of this rank's pairs, which is too large to be in every state."""
        super().save_beside(current_iter)
        if self.degradation.queue_size and current_iter != -1:
            atomic_save({'iter': current_iter, **self.degradation.pool()}, self._pool_file())

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Also restore the pool of pairs if it was saved at that iteration; else it is filled anew."""
        super().resume_training(resume_state)
        if not self.degradation.queue_size:
            return
        pool = torch.load(self._pool_file(), weights_only=True) if os.path.isfile(self._pool_file()) else {}
        if pool.get('iter') == resume_state['iter'] and pool['gt'].shape == self.degradation.queue_gt.shape:
            self.degradation.set_pool(pool)
        else:
            get_root_logger().warning('The pool of pairs (queue_size) was not saved with this state and is filled '
                                      'anew, so this run goes on, but not bit for bit as if it had not ended.')

    def _pool_file(self) -> str:
        return os.path.join(self.opt['path']['training_states'], f'pool_{self.opt["rank"]}.pth')

    def feed_data(self, data: Mapping[str, Any]) -> None:
        if 'lq' in data:  # pairs, or validation
            super().feed_data(data)
            if self.is_train and 'gt' in data:
                self.gt_usm: Tensor = self.degradation.usm_sharpener(self.gt)
        else:
            self.see_broken(data.get('broken', ()))
            lq, self.gt, self.gt_usm = self.degradation(data)
            self.lq = lq.contiguous(memory_format=self.memory_format)

    def target(self, loss: Literal['l1', 'percep', 'gan']) -> Tensor:
        return self.gt_usm if self.opt[f'{loss}_gt_usm'] else self.gt

    def generator_losses(self) -> OrderedDict[str, Tensor]:
        losses = super().generator_losses()
        if self.with_gan and self.cri_ldl:
            with torch.no_grad(), self.autocast():
                average = self.net_g_ema(self.lq).float()
            weight = get_refined_artifact_map(self.gt, self.output, average, 7)
            losses['l_g_ldl'] = self.cri_ldl(weight * self.output, weight * self.gt)
        return losses


class KDRealESRGANModel(KDGANModel, SecondOrder):
    """KDGANModel, whose low resolution is made as `SecondOrder` says; teacher and student see the same."""


class PruneRealESRGANModel(PruneGANModel, SecondOrder):
    """PruneGANModel, whose low resolution is made as `SecondOrder` says; the GAN loss is the standard one."""

    relativistic_by_default = False
