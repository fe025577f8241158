"""What is measured and how; the sentences that every figure needs beside it."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from basicsr_kd.metrics.image_scores import METRICS

IMAGE_METRICS = METRICS
SET_METRICS = ('fid', 'kid')
"""Side of KID's patches."""
_MOST_NAMES = 3  # that a sentence lists


@dataclass(frozen=True)
class Protocol:
    """What is measured of results, and how."""

    metrics: Sequence[str]
    """Of `IMAGE_METRICS` and `SET_METRICS`."""
    border: int
    """Pixels left out on each side; FID and KID see all of them."""
    channel: Literal['y', 'rgb'] = 'y'
    """What PSNR and SSIM are on."""
    lpips_net: str = 'alex'
    lpips_weights: Path | None = None
    """File of the backbone; None: PyTorch's cache, else it is downloaded."""
    inception_weights: Path | None = None


def describe(protocol: Protocol, metrics: Collection[str], scale: int | None, cropped: Sequence[str]) -> str:
    """The protocol in words, for under a table.

    Args:
        protocol: What was asked for.
        metrics: Those that were measured.
        scale: How many times results are larger than what they were made of; None where that is not known.
        cropped: Images whose ground truth was cut.
    """
    channel = 'Y of YCbCr' if protocol.channel == 'y' else 'RGB'
    higher = ' and '.join(words for name, words in (('psnr', 'PSNR (dB)'), ('ssim', 'SSIM')) if name in metrics)
    lower = ' and '.join(words for name, words in (('lpips', f'LPIPS ({protocol.lpips_net}) on RGB'),
                                                   ('niqe', 'NIQE on Y')) if name in metrics)
    parts = [f'x{scale}'] if scale else []
    if higher:
        parts.append(f'{higher} on {channel}: higher is better')
    if lower:
        parts.append(f'{lower}: lower is better')
    parts.append('8-bit images')
    if higher or lower:
        parts.append(f'{protocol.border} border pixels left out, mean over the images of a set')
    if 'fid' in metrics:
        parts.append('FID over whole images: it depends on how many there are, and ranks nothing')
    if 'kid' in metrics:
        parts.append('KID over patches with a 95 % interval over images; floor: two halves of the ground truth')
    if cropped:
        parts.append(f'ground truth cut to {scale} times the size of LR: {len(cropped)} ({some(cropped)})')
    return '; '.join(parts) + '.'


def some(names: Sequence[str]) -> str:
    """The first names, for a sentence."""
    return ', '.join(names[:_MOST_NAMES]) + (' …' if names[_MOST_NAMES:] else '')
