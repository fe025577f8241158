"""Which number formats are fast on this machine; in the others a network would run many times slower than in fp32."""
from __future__ import annotations

import torch


def cpu_has_bf16() -> bool:
    """Whether PyTorch has fast bf16 convolutions on this CPU."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def fast_formats(device: str | torch.device) -> list[str]:
    """The formats worth timing on a device: fp32, and bf16 and fp16 where it computes in them (fp16: GPUs alone)."""
    if torch.device(device).type == 'cuda':
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ['fp32', 'bf16', 'fp16'] if bf16 else ['fp32', 'fp16']
    return ['fp32', 'bf16'] if torch.device(device).type == 'cpu' and cpu_has_bf16() else ['fp32']
