"""The student: a narrow RRDBNet."""
from __future__ import annotations

from basicsr.archs.rrdbnet_arch import RRDBNet

from basicsr_kd.archs.rrdbnet_numbers import check_rrdbnet


class SlimRRDBNet(RRDBNet):
    """An RRDBNet with fewer features.

    It is the student of "Pruning + distillation of ESRGAN" (J. Broadcast Engineering 29(6), 2024).

    It adds nothing to BasicSR's RRDBNet but defaults and clear errors: keys and numbers are the same, so its
    checkpoint opens wherever an RRDBNet does, without this plugin. With 16 / 32 / 48 features it has 6,538,115 /
    9,588,355 / 12,974,979 parameters.

    Input `(n, num_in_ch, h, w)`, RGB in [0, 1]; output `(n, num_out_ch, scale * h, scale * w)`.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output.
        scale: 4, 2 or 1; 2 and 1 start with a pixel-unshuffle.
        num_feat: Channels of the residual stream.
        num_block: Residual-in-residual dense blocks.
        num_grow_ch: Growth channels of every dense block.

    Raises:
        ValueError: A width or the scale is impossible.
    """

    def __init__(self,
                 num_in_ch: int = 3,
                 num_out_ch: int = 3,
                 scale: int = 4,
                 num_feat: int = 32,
                 num_block: int = 23,
                 num_grow_ch: int = 32) -> None:
        check_rrdbnet('SlimRRDBNet', scale, num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat,
                      num_block=num_block, num_grow_ch=num_grow_ch)
        super().__init__(num_in_ch, num_out_ch, scale, num_feat, num_block, num_grow_ch)
