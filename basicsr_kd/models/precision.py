"""The number formats of training: which can be had on this machine, and what autocast takes."""
from __future__ import annotations

import torch
from basicsr.utils import get_root_logger

from basicsr_kd.metrics.precision import fast_formats

_HALF = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def half_precision(amp: str, device: torch.device, key: str) -> torch.dtype | None:
    """The format that `amp` (fp32, bf16 or fp16) names; None for fp32.

    A device without the instructions for bf16 would be many times slower in it than in fp32: there it is fp32 as well.

    Args:
        amp: The format.
        device: Where to run.
        key: The option that names it, for the log.
    """
    if amp == 'bf16' and 'bf16' not in fast_formats(device):
        where = 'this GPU' if device.type == 'cuda' else 'this CPU (it wants AVX-512)'
        get_root_logger().warning(f'{key}: PyTorch has no fast bf16 on {where}; it is fp32.')
        return None
    return _HALF.get(amp)


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """A context in this format; None: fp32, also inside of another such context."""
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
