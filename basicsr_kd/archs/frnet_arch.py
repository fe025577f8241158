"""The generator of FRVSR and TecoGAN."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from basicsr_kd.archs.fnet import LEAST_SIDE, FNet
from basicsr_kd.archs.srnet import SRNet, space_to_depth
from basicsr_kd.archs.upsample import upsampler
from basicsr_kd.archs.warp import backward_warp


class FRNet(nn.Module):
    """The frame-recurrent network of FNet and SRNet.

    FNet finds the flow to the frame before; SRNet makes the new frame from the low-resolution frame and the last
    output, warped by that flow.

    Sajjadi et al., "Frame-Recurrent Video Super-Resolution", CVPR 2018; Chu et al., "Learning Temporal Coherence via
    Self-Supervision for GAN-based Video Generation" (TecoGAN), SIGGRAPH 2020. Keys and numbers are those of
    TecoGAN-PyTorch's checkpoints (with `kernels` twice, since SRNet has `upsample_func` too). 2,589,093 parameters with
    10 blocks of 64 features, for colour and scale 4; 1,745,506 of them in FNet.

    Frames are RGB in [0, 1]; outputs are not clamped.

    Args:
        in_nc: Channels of the input.
        out_nc: Channels of the output, the same number.
        nf: Channels of SRNet's residual stream.
        nb: SRNet's residual blocks.
        degradation: 'BD' or 'BI': see `basicsr_kd.archs.upsample.upsampler`.
        scale: 4 or 2.

    Raises:
        ValueError: A number or the degradation is impossible.
    """

    frames_in_sequence = True  # modules run once for each frame: `basicsr_kd.distillation.taps`

    def __init__(self, in_nc: int = 3, out_nc: int = 3, nf: int = 64, nb: int = 10, degradation: str = 'BD',
                 scale: int = 4) -> None:
        for option, value in (('in_nc', in_nc), ('nf', nf), ('nb', nb)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'FRNet: {option} is {value!r}. Expected a whole number of at least 1.')
        if out_nc != in_nc:
            raise ValueError(f'FRNet: out_nc is {out_nc!r}. Expected {in_nc}, as in_nc: the output is an input of the '
                             'next step.')
        super().__init__()
        self.in_nc = in_nc
        self.scale = scale
        self.upsample_func = upsampler(degradation, scale)
        self.fnet = FNet(in_nc)
        self.srnet = SRNet(in_nc, out_nc, nf, nb, self.upsample_func, scale)

    def forward(self, lr: Tensor, with_flow: bool = False) -> Tensor | dict[str, Tensor]:
        """Enlarge clips from their first frame on, before which there are zeros.

        An image is treated as one step in a clip where nothing moves: it is also the frame before, and its enlargement
        is the last output. So code that examines networks of images (costs, pruning, speed) sees one frame's cost.

        Args:
            lr: Clips (n, t, in_nc, h, w), or images (n, in_nc, h, w); h and w at least 8.
            with_flow: Whether to return what `forward_sequence` returns; for gradients in DistributedDataParallel the
                call must go through here.

        Returns:
            (n, t, out_nc, scale·h, scale·w); for images (n, out_nc, scale·h, scale·w).

        Raises:
            ValueError: Frames are too small; or as in `forward_sequence`.
        """
        if with_flow:
            return self.forward_sequence(lr)
        if lr.dim() == 4:
            return self.step(lr, lr, self.upsample_func(lr))
        return self._run(lr)['hr']

    def forward_sequence(self, lr: Tensor) -> dict[str, Tensor]:
        """Enlarge clips, and return also what the losses need.

        Args:
            lr: (n, t, in_nc, h, w), t at least 2, h and w multiples of 8, since FNet's flow has no others.

        Returns:
            `hr`: (n, t, out_nc, scale·h, scale·w).
            `lr_flow`: (n, t - 1, 2, h, w), from each frame but the first to the one before, in LR pixels.
            `hr_flow`: (n, t - 1, 2, scale·h, scale·w), the same enlarged, in HR pixels.
            `lr_curr`, `lr_prev`: (n, t - 1, in_nc, h, w): `backward_warp` by `lr_flow` makes the first from the second.

        Raises:
            ValueError: The clips have another shape.
        """
        if lr.dim() != 5 or lr.shape[1] < 2:
            raise ValueError(f'FRNet: found an input of shape {tuple(lr.shape)}. Expected clips (n, t, c, h, w) of at '
                             'least 2 frames.')
        height, width = lr.shape[3:]
        if height % LEAST_SIDE or width % LEAST_SIDE:
            raise ValueError(f'FRNet: found low-resolution frames of {height}x{width} pixels. Expected sides that are '
                             f'multiples of {LEAST_SIDE} in training: make gt_size a multiple of '
                             f'{LEAST_SIDE * self.scale}.')
        return self._run(lr)

    def step(self, lr_curr: Tensor, lr_prev: Tensor, hr_prev: Tensor) -> Tensor:
        """Make one frame of a stream; memory does not grow with its length.

        Args:
            lr_curr: (n, in_nc, h, w), h and w at least 8.
            lr_prev: The frame before, the same shape; zeros before the first.
            hr_prev: The output for `lr_prev`, (n, out_nc, scale·h, scale·w); zeros before the first.

        Returns:
            (n, out_nc, scale·h, scale·w).

        Raises:
            ValueError: Frames are too small.
        """
        return self._frame(lr_curr, hr_prev, self._enlarged_flow(self.fnet(lr_curr, lr_prev)))

    def _run(self, lr: Tensor) -> dict[str, Tensor]:
        count, length = lr.shape[:2]
        lr_prev, lr_curr = lr[:, :-1], lr[:, 1:]
        lr_flow = self.fnet(lr_curr.flatten(0, 1), lr_prev.flatten(0, 1))  # all at once, which is faster
        hr_flow = self._enlarged_flow(lr_flow).unflatten(0, (count, length - 1))
        nothing = lr.new_zeros(count, self.scale**2 * self.in_nc, *lr.shape[3:])
        frames = [self.srnet(lr[:, 0], nothing)]
        for index in range(1, length):
            frames.append(self._frame(lr[:, index], frames[-1], hr_flow[:, index - 1]))
        return {'hr': torch.stack(frames, dim=1), 'lr_flow': lr_flow.unflatten(0, (count, length - 1)),
                'hr_flow': hr_flow, 'lr_curr': lr_curr, 'lr_prev': lr_prev}

    def _enlarged_flow(self, lr_flow: Tensor) -> Tensor:
        return self.scale * self.upsample_func(lr_flow)

    def _frame(self, lr_curr: Tensor, hr_prev: Tensor, hr_flow: Tensor) -> Tensor:
        return self.srnet(lr_curr, space_to_depth(backward_warp(hr_prev, hr_flow), self.scale))
