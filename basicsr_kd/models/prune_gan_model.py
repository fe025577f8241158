"""PruneGANModel: prune a trained generator, then fine-tune what is left."""
from __future__ import annotations

from typing import Any

from basicsr_kd.archs.from_file import build_from_file, like_file
from basicsr_kd.models.gan_trainer import GANTrainer
from basicsr_kd.models.network_files import on_master_first, prune_to_file, run_file
from basicsr_kd.options import prune_steps


class PruneGANModel(GANTrainer):
    """ESRGAN's training of a generator that is pruned before the first iteration.

    Rank 0 prunes `path.pretrain_network_g` as the section `prune:` says and writes `models/net_g_pruned.pth`, from
    which generator and EMA are then built and loaded on every rank. When a run is resumed nothing is pruned again: the
    widths come from the checkpoint that is resumed. Without a `prune:` section it only trains.

    Raises:
        CheckpointError: The trained network cannot be read.
        PruningError: It cannot be pruned that way or that far.
    """

    relativistic_by_default = True

    def __init__(self, opt: dict[str, Any]) -> None:
        steps = prune_steps(opt.get('prune')) if opt['is_train'] else []
        path = opt['path']
        if steps and path.get('resume_state'):
            opt['network_g'] = like_file(path['pretrain_network_g'])
        elif steps:
            pruned = run_file(opt, 'net_g_pruned.pth')
            on_master_first(lambda: prune_to_file(
                build_from_file(path['pretrain_network_g'], path.get('param_key_g'), opt['network_g']), steps, pruned))
            opt['network_g'] = like_file(pruned)
            path.update(pretrain_network_g=pruned, param_key_g='params')
        super().__init__(opt)
