"""What is measured and how, and the sentences about it that every figure needs."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from basicsr_kd.data.tecogan_degradation import SIGMA
from basicsr_kd.metrics.clip_protocol import PROTOCOLS
from basicsr_kd.utils.metric_names import CLIP_METRICS, IMAGE_METRICS, METRICS
from basicsr_kd.utils.text import some


@dataclass(frozen=True)
class Protocol:
    """What is measured of results, and how."""

    metrics: Sequence[str]
    """Names from `IMAGE_METRICS` (for clips: `CLIP_METRICS`) and `SET_METRICS`."""
    border: int
    """Pixels left out on each side; FID and KID use the whole image. For clips 0: see `clips`."""
    channel: Literal['y', 'rgb'] = 'y'
    """What PSNR and SSIM are measured on; for clips Y."""
    lpips_net: str = 'alex'
    lpips_weights: Path | None = None
    """File of the backbone's weights; None: from PyTorch's cache, else downloaded."""
    inception_weights: Path | None = None
    clips: Literal['official', 'training'] | None = None
    """Which part of clips is scored: a key of `metrics.clip_protocol.PROTOCOLS`; None: images."""
    frame_rate: float | None = None
    """Frames a second of clips, for JOD."""


def describe(protocol: Protocol, metrics: Collection[str], scale: int | None, cropped: Sequence[str],
             teacher: str | None = None) -> str:
    """The protocol in words, for under a table.

    Args:
        protocol: What was asked for.
        metrics: The metrics that were measured.
        scale: How many times larger results are than their input; None where that is not known.
        cropped: Images whose ground truth was cut.
        teacher: The network whose results stand for ground truth.
    """
    parts = [f'x{scale}'] if scale else []
    if teacher:
        parts.append(f'likeness: compared with what {teacher} makes of the same image in fp32')
    of_images = [name for name in IMAGE_METRICS if name in metrics]
    for direction in dict.fromkeys(METRICS[name].direction for name in of_images):
        names = [name for name in of_images if METRICS[name].direction == direction]
        parts.append(f'{_named(names, protocol)}: {direction}')
    parts.append('8-bit images')
    if of_images:
        parts.append(f'{protocol.border} border pixels left out, mean over the images of a set')
        parts += [f'of {METRICS[name].title} the {METRICS[name].over_images}' for name in of_images
                  if METRICS[name].over_images != 'mean']
    parts += _of_sets(metrics, 'images')
    if cropped:
        parts.append(f'ground truth cut to {scale} times the size of LR: {len(cropped)} ({some(cropped)})')
    return '; '.join(parts) + '.'


def describe_clips(protocol: Protocol, metrics: Collection[str], scale: int | None, made: bool, bicubic: bool) -> str:
    """The protocol of clips in words, like `describe`.

    Args:
        protocol: What was asked for.
        metrics: The metrics that were measured.
        scale: How many times larger results are than their input; None where that is not known.
        made: Whether LR was made from the ground truth.
        bicubic: Whether bicubic enlargement is among the methods.
    """
    parts = [f'x{scale}'] if scale else []
    if any(name in CLIP_METRICS for name in metrics):
        parts.append(PROTOCOLS[protocol.clips or 'official'].describe(metrics, protocol.frame_rate)
                     .removesuffix('.'))
    parts += ['8-bit frames', *_of_sets(metrics, 'frames')]
    if made:
        parts.append(f'LR made of the ground truth: Gaussian blur of sigma {SIGMA}, its every {scale}th pixel from the '
                     'first on, rounded to 8 bit')
    if bicubic:
        parts.append("bicubic: TensorFlow's, a = -0.75, aligned at the top left")
    return '; '.join(parts) + '.'


def _named(names: Sequence[str], protocol: Protocol) -> str:
    """Metrics of images, each with the channel that it is measured on."""
    details = {name: METRICS[name].unit for name in names} | {'lpips': protocol.lpips_net}
    titles = {name: METRICS[name].title + (f' ({details[name]})' if details[name] else '') for name in names}
    on_channel = ' and '.join(titles[name] for name in names if not METRICS[name].on)
    channel = 'Y of YCbCr' if protocol.channel == 'y' else 'RGB'
    return ' and '.join([*([f'{on_channel} on {channel}'] if on_channel else []),
                         *(f'{titles[name]} on {METRICS[name].on}' for name in names if METRICS[name].on)])


def _of_sets(metrics: Collection[str], images: str) -> list[str]:
    found = []
    if 'fid' in metrics:
        found.append(f'FID over whole {images}: it depends on how many there are, and ranks nothing')
    if 'kid' in metrics:
        found.append(f'KID over patches with a 95 % interval over {images}; floor: two halves of the ground truth')
    return found
