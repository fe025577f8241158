"""PruneGANModel: prune a trained generator, then fine-tune what is left."""
from __future__ import annotations

import copy
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import nn

from basicsr_kd.archs.build import build, build_for_shapes, differences, for_shapes
from basicsr_kd.archs.from_file import build_from_file, like_file
from basicsr_kd.archs.probe import input_channels
from basicsr_kd.archs.sidecar import write_sidecar
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.models.training.gan_trainer import GANTrainer
from basicsr_kd.models.training.gradual import Schedule, Zeros, swap_parameters
from basicsr_kd.models.training.network_files import prune_to_file, run_file
from basicsr_kd.options.prune import PruneOptions, prune_steps
from basicsr_kd.runs.distributed import on_master_first


class PruneGANModel(GANTrainer):
    """ESRGAN's training of a generator that is pruned before the first iteration, or in stages.

    Rank 0 prunes `path.pretrain_network_g` as the section `prune:` says and writes `models/net_g_pruned.pth`, from
    which generator and EMA are then built and loaded on every rank. When a run is resumed nothing is pruned again: the
    widths come from the checkpoint that is resumed. Without a `prune:` section it only trains.

    With `prune.steps` above 1 this is the first stage. Before each further stage, rank 0 prunes the generator as it is
    at that time; EMA and the optimizer's state keep the same channels. The `.state` files record the stages done. With
    layout `unstructured`, weights that are zero stay zero.

    Raises:
        CheckpointError: The trained network cannot be read.
        PruningError: The network cannot be pruned in that way or that far.
    """

    relativistic_by_default = True
    net_g: nn.Module
    net_g_ema: nn.Module

    def __init__(self, opt: dict[str, Any]) -> None:
        steps = prune_steps(opt.get('prune')) if opt['is_train'] else []
        path = opt['path']
        self.original = opt['network_g']
        self.schedule: Schedule | None = None
        self.zeros: Zeros | None = None
        if steps and steps[0].steps > 1:
            self.schedule = Schedule(steps[0], _for_counting(self.original))
        if opt['is_train'] and path.get('resume_state'):
            if steps or _was_pruned(opt):
                opt['network_g'] = like_file(path['pretrain_network_g'], self.original)
        elif steps:
            pruned = run_file(opt, 'net_g_pruned.pth')
            density = on_master_first(lambda: self._prune_trained(opt, steps, pruned))
            if self.schedule:
                self.schedule.density = density
                self.schedule.done(1)
            opt['network_g'] = like_file(pruned, self.original)
            path.update(pretrain_network_g=pruned, param_key_g='params')
        super().__init__(opt)

    def _prune_trained(self, opt: dict[str, Any], steps: list[PruneOptions], pruned: str) -> float:
        """Write the pruned network, and return the density of the trained one, which stages need."""
        path = opt['path']
        net = build_from_file(path['pretrain_network_g'], path.get('param_key_g'), self.original)
        if self.schedule:
            self.schedule.density = self.schedule.density_of(net)
            steps = [self._stage(net, 1)]
        prune_to_file(net, steps, pruned, self.original, opt)
        return self.schedule.density if self.schedule else 1.0

    def _stage(self, net: nn.Module, stage: int) -> PruneOptions:
        assert self.schedule is not None
        get_root_logger().info(f'Pruning, stage {stage} of {self.schedule.step.steps}.')
        return self.schedule.request(net, stage)

    def setup_optimizers(self) -> None:
        super().setup_optimizers()
        if any(step.layout == 'unstructured' for step in prune_steps(self.opt.get('prune'))):
            self.zeros = Zeros(self.get_bare_model(self.net_g))
            self.optimizer_g.register_step_post_hook(lambda *_: self.zeros.restore())

    def save_network(self, net: Any, net_label: str, current_iter: int, param_key: Any = 'params') -> None:
        super().save_network(net, net_label, current_iter, param_key)
        pruned = self.opt.get('prune') or self.opt['network_g'] != self.original
        if net_label == 'net_g' and self.opt['rank'] == 0 and pruned:
            path = self.checkpoint_path(net_label, current_iter)
            write_sidecar(path, like_file(path, self.original))

    def optimize_parameters(self, current_iter: int) -> None:
        if self.schedule and (stage := self.schedule.due(current_iter)):
            self._prune_further(stage)
            self.schedule.done(stage)
        super().optimize_parameters(current_iter)

    def _prune_further(self, stage: int) -> None:
        """Go to the next stage: build networks of the new shapes, and put them into the same optimizer."""
        old = self.get_bare_model(self.net_g)
        step = self._stage(old, stage)
        pruned = run_file(self.opt, 'net_g_pruned.pth')
        (cut,) = on_master_first(lambda: prune_to_file(old, [step], pruned, self.original, self.opt))
        self.opt['network_g'] = like_file(pruned, self.original)
        new = build_from_file(pruned, network=self.opt['network_g'])
        if self.ema_decay > 0:
            average = copy.deepcopy(new)
            if not step.reconstruct:  # refitting repairs the layers, and their old average has none of it
                average.load_state_dict(cut.apply(self.net_g_ema.state_dict()))
            self.net_g_ema = average.to(self.device).to(memory_format=self.memory_format).eval()
        self.net_g = self.model_to_device(new.train())
        self.compile(self.net_g)
        swap_parameters(self.optimizer_g, old, new, cut)
        if self.zeros:
            self.zeros = Zeros(new)

    def further_state(self) -> dict[str, Any]:
        state = super().further_state()
        if self.schedule:
            state['stages'] = {'share': self.schedule.share, 'density': self.schedule.density}
        return state

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a `.state` file: optimizers and schedulers, and the stages of pruning that are done.

        Raises:
            CheckpointError: The state is that of a run with other networks or losses.
        """
        if self.schedule and 'stages' in resume_state:
            self.schedule.share = resume_state['stages']['share']
            self.schedule.density = resume_state['stages']['density']
        super().resume_training(resume_state)


def _for_counting(network: dict[str, Any]) -> nn.Module:
    """A network that can be run: on the meta device, or on the CPU if it looks at values."""

    def work(device: str) -> nn.Module:
        net = build(network)
        net(torch.zeros(1, input_channels(net), 16, 16))
        return net

    return for_shapes(work)


def _was_pruned(opt: dict[str, Any]) -> bool:
    """Whether the generator that a run resumes from has other shapes than `network_g`, as `prune:` leaves it."""
    path = opt['path']
    if 'network_g' in (path.get('ignore_resume_networks') or ()):
        return False
    return bool(differences(build_for_shapes(opt['network_g']), read_state_dict(path['pretrain_network_g'])))
