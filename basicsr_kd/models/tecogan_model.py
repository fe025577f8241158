"""TecoGANModel: video super-resolution, pruned and distilled."""
from __future__ import annotations

from basicsr_kd.models.kdgan_model import KDGANModel
from basicsr_kd.models.prune_gan_model import PruneGANModel
from basicsr_kd.models.video_gan import VideoGAN


class TecoGANModel(KDGANModel, PruneGANModel, VideoGAN):
    """FRVSR (without `gan_opt`) or TecoGAN, as `VideoGAN` trains them and `VideoValidation` tests them.

    With `prune:` the generator is pruned before the first iteration, or in stages (see `PruneGANModel`); with
    `teacher:` and `distill_opt` it learns from an FRNet (see `KDGANModel`), also both at once. Features of all frames
    of a clip are compared: student and teacher go through the clip side by side, each with its own frame before.
    """

    relativistic_by_default = False
