"""Which number formats are fast on this machine."""
from __future__ import annotations

from typing import Any

from basicsr.utils import get_root_logger

from basicsr_kd.metrics.precision import cpu_has_bf16


def has_bf16(opt: dict[str, Any]) -> bool:
    """Whether bf16 is fast here; a CPU without the instructions for it would be many times slower than in fp32."""
    if opt['num_gpu'] != 0 or cpu_has_bf16():
        return True
    get_root_logger().warning('train.amp: PyTorch has no fast bf16 on this CPU (it wants AVX-512); training in fp32.')
    return False
