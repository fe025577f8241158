"""How a network runs: evaluation mode, and the number formats of this machine."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

HALF = {'fp16': torch.float16, 'bf16': torch.bfloat16}
"""Number formats of half the bits; the format that GPUs are best in is first."""


def cpu_has_bf16() -> bool:
    """Whether PyTorch has fast bf16 convolutions on this CPU."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def cpu_has_fp16() -> bool:
    """Whether PyTorch has fp16 convolutions on this CPU."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_fp16_supported()


def fast_formats(device: str | torch.device) -> list[str]:
    """The formats worth timing on a device: fp32, and bf16 and fp16 if it computes in them (fp16: only GPUs)."""
    if torch.device(device).type == 'cuda':
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ['fp32', 'bf16', 'fp16'] if bf16 else ['fp32', 'fp16']
    return ['fp32', 'bf16'] if torch.device(device).type == 'cpu' and cpu_has_bf16() else ['fp32']


@contextmanager
def full_fp32() -> Iterator[None]:
    """A context in which NVIDIA GPUs compute fp32 in full fp32, so that quality is that of a CPU.

    By default PyTorch rounds the factors of convolutions to TF32 on them, with 10 bits of mantissa instead of 23.
    Afterwards the settings are restored.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


@contextmanager
def without_tuning() -> Iterator[None]:
    """A context in which cuDNN takes the convolutions that it thinks fast, without trying all for each image size.

    BasicSR's runners ask for these trials (`torch.backends.cudnn.benchmark`), which pay only if sizes stay the same.
    """
    tuned = torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.backends.cudnn.benchmark = tuned


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """A context in which a network is in evaluation mode.

    Afterwards, also after an exception, every module is in the mode that it was in. `net.train(flag)` would give all
    modules the same mode, also those that are kept in evaluation mode on purpose.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
