"""Which number formats are fast on this machine."""
from __future__ import annotations

from typing import Any

import torch
from basicsr.utils import get_root_logger


def cpu_has_bf16() -> bool:
    """Whether PyTorch has fast bf16 convolutions on this CPU."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def has_bf16(opt: dict[str, Any]) -> bool:
    """Whether bf16 is fast here; a CPU without the instructions for it would be many times slower than in fp32."""
    if opt['num_gpu'] != 0 or cpu_has_bf16():
        return True
    get_root_logger().warning('train.amp: PyTorch has no fast bf16 on this CPU (it wants AVX-512); training in fp32.')
    return False
