"""The input of TecoGAN's discriminator: three frames, the same three warped onto the middle one, and their inputs."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr_kd.archs.warp import backward_warp

CENTRE = 0.75
"""The share of each side of the warped frames that is kept: near the border a warp would need pixels outside."""


def mirrored(clip: Tensor) -> Tensor:
    """A clip (n, t, c, h, w) forth and back: frames 0 … t − 1, t − 2 … 0, as the ping-pong loss needs it."""
    return torch.cat([clip, clip.flip(1)[:, 1:]], dim=1)


def triplet_flow(backward: Tensor, forward: Tensor) -> Tensor:
    """The flows from the middle of each triplet of frames to its three frames; no gradient goes through them.

    Args:
        backward: From the middle to the first frame, (n, t / 3, 2, h, w).
        forward: From the middle to the last frame, likewise.

    Returns:
        (n, t / 3, 3, 2, h, w); the flow from the middle to itself is zero.
    """
    return torch.stack([backward, torch.zeros_like(backward), forward], dim=2).detach()


def mirrored_flow(flow: Tensor) -> Tensor:
    """`triplet_flow` of a mirrored clip: its second half gives the forward flow.

    Args:
        flow: From each frame to the one before, (n, t − 1, 2, h, w), in a clip of t = 2·u − 1 frames from `mirrored`.
    """
    frames = (flow.shape[1] + 1) // 3 * 3
    return triplet_flow(flow[:, 0:frames:3], flow.flip(1)[:, 1:frames:3])


def teco_triplets(frames: Tensor, upsampled: Tensor, flow: Tensor) -> Tensor:
    """The discriminator's input: each triplet of frames as it is, warped onto its middle, and its enlarged inputs.

    Frames are taken three at a time, 0 1 2, 3 4 5, …; frames left over at the end are dropped. The border of the warped
    frames is zero (`CENTRE`). Channels of one colour stand together, rrr ggg bbb, as in TecoGAN's code.

    Args:
        frames: A clip (n, t, c, h, w), RGB in [0, 1]: the generator's output, or ground truth.
        upsampled: The clip's low-resolution frames, enlarged to the same shape.
        flow: From `triplet_flow`, (n, t // 3, 3, 2, h, w), in pixels of `frames`.

    Returns:
        (n·(t // 3), 9·c, h, w): 3·c channels of the frames, 3·c of the warped frames, 3·c of the enlarged ones.
    """
    count = flow.shape[1]
    frames, upsampled = (clip[:, :3 * count].unflatten(1, (count, 3)) for clip in (frames, upsampled))
    warped = backward_warp(frames.flatten(0, 2), flow.flatten(0, 2)).view_as(frames)
    parts = torch.stack([frames, _centre(warped), upsampled], dim=2)  # (n, triplet, part, frame, c, h, w)
    return parts.transpose(3, 4).flatten(2, 4).flatten(0, 1)


def _centre(images: Tensor) -> Tensor:
    """Images (…, h, w) with zeros around their centre."""
    top, left = ((side - int(CENTRE * side)) // 2 for side in images.shape[-2:])
    height, width = (int(CENTRE * side) for side in images.shape[-2:])
    inside = images[..., top:top + height, left:left + width]
    return F.pad(inside, (left, images.shape[-1] - left - width, top, images.shape[-2] - top - height))
