"""KDGANModel: feature distillation of a slim student from a frozen, possibly pruned teacher, with its discriminator."""
from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.data.run_inputs import training_patch
from basicsr_kd.distillation.distiller import Distiller
from basicsr_kd.errors import CheckpointError
from basicsr_kd.losses.terms import build_terms
from basicsr_kd.models.training.acceleration import autocast, half_precision
from basicsr_kd.models.training.gan_trainer import GANTrainer
from basicsr_kd.models.training.network_files import run_file
from basicsr_kd.models.training.teacher import TaughtBefore, build_teacher, inherited_student
from basicsr_kd.options.distill import AdaptedOptions, DistillOptions, ScheduleOptions, distill_terms
from basicsr_kd.options.realesrgan import gt_size
from basicsr_kd.runs.distributed import on_master_first


class KDGANModel(GANTrainer):
    """L = L_GAN + λ_recon·L_recon + λ_distill·L_distill (J. Broadcast Engineering 29(6), 2024).

    The student is `network_g`. The teacher has its own section, `teacher:`; it is frozen, in evaluation mode, runs
    without gradient and outside the optimizer, and only in the iterations that distil (`distill_every`,
    `distill_schedule`). The adapters are learned with the student, as a parameter group of `optim_g`, and kept in the
    `.state` files. The discriminator starts as the teacher's (`path.pretrain_network_d`).

    Networks that are pruned or inherit are first written to files: `models/teacher.pth` (a pruned teacher) and
    `models/teacher_d.pth` (the discriminator whose features are distilled), which a resumed run loads, and
    `models/net_g_init.pth` (a student that inherits from the teacher). Without `teacher:` it is plain training.

    With `teacher: cache: outputs` the teacher runs once over the stored images, before training, and a batch brings
    its outputs: `teacher` (n, 3, scale·h, scale·w).

    Raises:
        CheckpointError: A network's file cannot be read.
        LayerError, TapError: A layer of `distill_opt` does not fit the networks.
        PruningError: The teacher cannot be pruned that way or that far.
        TrainingError: A term of the loss is no longer finite.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        inherits = opt['is_train'] and (opt.get('student') or {}).get('init') == 'teacher'
        if inherits and not opt['path'].get('resume_state'):
            start = run_file(opt, 'net_g_init.pth')
            on_master_first(lambda: write_checkpoint(start, inherited_student(opt).state_dict()))
            opt['path'].update(pretrain_network_g=start, param_key_g='params')
        self.distiller: Distiller | None = None
        self.term_names: list[str] = []
        self.distill_factor = 0.0
        super().__init__(opt)

    def init_training_settings(self) -> None:
        section = distill_terms(self.opt['train'].get('distill_opt'))
        if section:
            self.distill_schedule = msgspec.convert(self.opt['train']['distill_schedule'], ScheduleOptions)
            self.net_teacher = self.prepare(build_teacher(self.opt))
            self.teacher_amp = half_precision(self.opt['teacher']['amp'], self.device, 'teacher.amp')
            get_root_logger().info(f'Teacher {type(self.net_teacher).__name__}, frozen, with parameters: '
                                   f'{sum(p.numel() for p in self.net_teacher.parameters()):,d}')
            cached = bool(self.opt['teacher']['cache'])
            if cached:
                self.net_teacher = TaughtBefore(self.net_teacher)
                self.net_teacher.make_outputs(self.opt, self.device, self.teacher_amp)
            terms = build_terms(section, self.build_teacher_discriminator, gt_size(self.opt))
            for term in terms:
                term.loss.to(self.device)
            self.distiller = Distiller(
                self.get_bare_model(self.net_g), self.net_teacher, terms,
                training_patch(self.opt, self.device),
                border=self.opt['scale'] * self.opt['teacher']['cache_border'] if cached else 0)
            for term, pairs in zip(terms, self.distiller.pairs, strict=True):
                get_root_logger().info(f'Loss [{type(term.loss).__name__}] is created. {_what_it_compares(pairs)}')
            if self.distiller.has_adapters:
                self.distiller.adapters = self.model_to_device(self.distiller.adapters)
            if not cached:
                self.compile(self.net_teacher)
            self.term_names = _log_names(section)
        super().init_training_settings()

    def build_teacher_discriminator(self) -> nn.Module:
        """The discriminator D' as it was before this run trained it; frozen, and kept in a file for a resumed run.

        Raises:
            CheckpointError: A resumed run has lost that file.
        """
        kept, path = run_file(self.opt, 'teacher_d.pth'), self.opt['path']
        if not path.get('resume_state'):
            pretrained = (path['pretrain_network_d'], path.get('param_key_d'))
            on_master_first(lambda: write_checkpoint(kept, read_state_dict(*pretrained)))
        elif not os.path.isfile(kept):  # when resuming, path.pretrain_network_d is already this run's
            raise CheckpointError(f"{kept} is missing: the teacher's discriminator as this run started with it. Put a "
                                  'copy of the file that path.pretrain_network_d names there')
        net_d = build_network(self.opt['network_d'])
        self.load_network(net_d, kept, path.get('strict_load_d', True))
        return self.prepare(net_d).requires_grad_(False).eval()

    def generator_parameters(self) -> list[dict[str, Any]]:
        groups = super().generator_parameters()
        if self.distiller:
            for index, term in enumerate(distill_terms(self.opt['train']['distill_opt'])):
                if isinstance(term, AdaptedOptions):
                    group: dict[str, Any] = {'params': self.distiller.adapter_parameters(index)}
                    if term.adapter_lr is not None:
                        group['lr'] = term.adapter_lr
                    groups.append(group)
        return groups

    def feed_data(self, data: Mapping[str, Any]) -> None:
        super().feed_data(data)
        self.taught = data['teacher'].to(self.device) if 'teacher' in data else None

    def run_generator(self, current_iter: int, train_g: bool) -> Tensor:
        train = self.opt['train']
        due = self.distiller and train_g and current_iter % train['distill_every'] == 0
        self.distill_factor = self.distill_schedule.factor(current_iter, int(train['total_iter'])) if due else 0.0
        if not (self.distiller and self.distill_factor):
            return super().run_generator(current_iter, train_g)
        if isinstance(self.net_teacher, TaughtBefore):
            self.net_teacher.outputs = self.taught
        with torch.no_grad(), autocast(self.device, self.teacher_amp), self.distiller.teacher:
            self.net_teacher(self.lq)
        with self.distiller.student:
            return super().run_generator(current_iter, train_g)

    def generator_losses(self) -> OrderedDict[str, Tensor]:
        losses = super().generator_losses()
        if self.distiller and self.distill_factor:
            with self.autocast():
                terms = self.distiller.loss_terms()
            losses.update((name, self.distill_factor * term)
                          for name, term in zip(self.term_names, terms, strict=True))
        return losses

    def log_only(self, log: Mapping[str, Tensor]) -> dict[str, Tensor]:
        terms = [log[name] for name in self.term_names if name in log]  # none in an iteration that does not distil
        return {'l_g_distill': torch.stack(terms).sum()} if terms else {}

    def further_state(self) -> dict[str, Any]:
        state = super().further_state()
        if self.distiller:
            state['adapters'] = self.get_bare_model(self.distiller.adapters).state_dict()
            state['adapters_to_fit'] = list(self.distiller.to_fit)
        return state

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a `.state` file: adapters, optimizers and schedulers.

        Raises:
            CheckpointError: The state was saved with other adapters, or without any.
        """
        if self.distiller:
            try:
                self.get_bare_model(self.distiller.adapters).load_state_dict(resume_state.get('adapters', {}))
            except RuntimeError as error:
                raise CheckpointError('The state to resume was saved with other layers in train.distill_opt: '
                                      f'{error}') from None
            left = resume_state.get('adapters_to_fit', [])
            self.distiller.to_fit = [name for name in self.distiller.to_fit if name in left]
        super().resume_training(resume_state)


def _what_it_compares(pairs: list[tuple[str, str]]) -> str:
    if pairs == [('', '')]:
        return 'It compares the outputs.'
    ends = [f'{student} with {teacher}' for student, teacher in (pairs[0], pairs[-1])]
    layers = '1 layer' if len(pairs) == 1 else f'{len(pairs)} layers'
    return f'It compares student and teacher at {layers}: {" … ".join(dict.fromkeys(ends))}.'


def _log_names(terms: list[DistillOptions]) -> list[str]:
    """`l_g_distill_<type>` for each term, numbered if a type is used twice."""
    types = [term.loss['type'] for term in terms]
    return [
        f'l_g_distill_{kind}' + (f'_{types[:index].count(kind) + 1}' if types.count(kind) > 1 else '')
        for index, kind in enumerate(types)
    ]
