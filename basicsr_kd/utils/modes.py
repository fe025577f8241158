"""How a network runs: evaluation mode, and the number formats of this machine."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

HALF = {'fp16': torch.float16, 'bf16': torch.bfloat16}
"""Number formats of half the bits, the one that GPUs are best in first."""


def cpu_has_bf16() -> bool:
    """Whether PyTorch has fast bf16 convolutions on this CPU."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def cpu_has_fp16() -> bool:
    """Whether PyTorch has fp16 convolutions on this CPU."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_fp16_supported()


def fast_formats(device: str | torch.device) -> list[str]:
    """The formats worth timing on a device: fp32, and bf16 and fp16 where it computes in them (fp16: GPUs alone)."""
    if torch.device(device).type == 'cuda':
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ['fp32', 'bf16', 'fp16'] if bf16 else ['fp32', 'fp16']
    return ['fp32', 'bf16'] if torch.device(device).type == 'cpu' and cpu_has_bf16() else ['fp32']


@contextmanager
def full_fp32() -> Iterator[None]:
    """Has NVIDIA GPUs compute fp32 in fp32, so that quality is that of a CPU; the settings are restored afterwards.

    By default PyTorch rounds the factors of convolutions to TF32 there, which has 10 bits of mantissa in place of 23.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


@contextmanager
def without_tuning() -> Iterator[None]:
    """Has cuDNN take the convolutions that it thinks fast, in place of trying them all for each new size of image.

    BasicSR's runners ask for the trials (`torch.backends.cudnn.benchmark`), which pay where sizes stay.
    """
    tuned = torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.backends.cudnn.benchmark = tuned


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """While a network is only looked at: evaluation mode.

    Afterwards every module of it is in the mode that it was in, which `net.train(flag)` would give to all alike, those
    too that are kept in evaluation mode on purpose. So it is where an exception ends it.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
