"""Gradient steps on calibration images, towards the original's output, for as long as there is time.

The inputs of a layer are so correlated (neighbouring pixels, channels of one dense block) that plain Adam on the
weights spends minutes without any gain. So the steps are taken where each layer's inputs are white, as in K-FAC
(Martens and Grosse, ICML 2015): with moments A = L L', Adam moves V in W = V L^-1. A step then changes a layer's output
by a known part, however much its weights change.
"""
from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from basicsr_kd.pruning.reconstruction.least_squares import can_refit
from basicsr_kd.pruning.reconstruction.moments import moments, reading
from basicsr_kd.pruning.reconstruction.reconstruct import LOOKED_AT
from basicsr_kd.pruning.reconstruction.residuals import trace_convs
from basicsr_kd.pruning.reconstruction.shared_inputs import watch_inputs
from basicsr_kd.utils.fine_detail import DetailKeeper
from basicsr_kd.utils.modes import evaluating, fast_formats
from basicsr_kd.utils.progress import Progress

RATE = 1.5e-5
"""How much a layer's output changes in a step along one whitened input, as a share of its root mean square.

On RealESRGAN_x4plus pruned by 0.3, 80 steps with 4e-5 got further away from the original on photos held out, and 80
steps with 1e-5 came nearer; pruned by 0.5 both came nearer.
"""
DAMPING = 1e-3
"""Added to the moments, as a share of their mean diagonal."""
DETAIL = 0.85
"""The least strength of the output's fine detail, as a share of the original's.

On RealESRGAN_x4plus pruned to half its time, making the target's detail stronger gave 0.2 more of the original's
texture (an energy) for 0.3 dB; a term for the strength of detail in the loss gave 0.13 more for 0.35 dB.
"""
_EXACT = 1e-6
"""Squared error that counts as none: 60 dB."""
BATCH, SIZE = 4, 48
"""Number and side of the crops in a step."""


@dataclass(frozen=True)
class Descent:
    """The result of gradient steps.

    Args:
        steps: The number of steps; 0 if they made the output worse and were undone.
        error_before: Mean squared difference of the outputs before, the geometric mean over the images to judge by.
        error_after: The same afterwards; never more than `error_before`.
    """
    steps: int
    error_before: float
    error_after: float


def descend(original: nn.Module, pruned: nn.Module, images: Tensor, judge: Tensor, seconds: float,
            progress: bool = False, whole: Sequence[Tensor] | None = None) -> Descent:
    """Change the weights of a pruned network's convolutions so that its output comes near the original's.

    A step takes random crops of the images, turned, mirrored, resized and recoloured: the original gives the target for
    any input, so few images are enough. Learning rates fall to 0 with the time. It runs in bf16 on CPUs that are fast
    in it.

    Args:
        original: The network before pruning, float32 on the CPU.
        pruned: The network after pruning; its weights change in place.
        images: Inputs of the network, `(n, c, h, w)`, RGB in [0, 1].
        judge: Further images, which the refit before has not seen either: if the output gets worse on them, the steps
            are undone.
        seconds: Wall time for everything; nothing is done if it is too short for ten steps.
        progress: Whether to show a progress bar.
        whole: The images that `images` were cut from, `(1, c, h, w)` each, of any sizes: the steps see all of their
            area. None: `images` themselves.

    Returns:
        Steps and errors.
    """
    start = time.perf_counter()
    half = 'bf16' in fast_formats('cpu')
    with evaluating(original), evaluating(pruned):
        before = copy.deepcopy(pruned.state_dict())
        layers = _whitened(pruned, images[::-(-len(images) // LOOKED_AT)]) if seconds > 0 else []
        for net in (original, pruned):
            net.to(memory_format=torch.channels_last)
        errors = [_error(original, pruned, judge)]
        left = seconds - (time.perf_counter() - start)
        steps = _steps(original, pruned, layers, whole or images.split(1), left, half, progress)
        errors.append(_error(original, pruned, judge) if steps else errors[0])
        if not errors[1] <= errors[0]:  # also if it is NaN
            pruned.load_state_dict(before)
            steps, errors[1] = 0, errors[0]
        for net in (original, pruned):
            net.to(memory_format=torch.contiguous_format)
    return Descent(steps, errors[0], errors[1])


class _Whitened:
    """A convolution, with V of its weights W = V L^-1, and the bias at the mean of its inputs.

    Args:
        conv: The convolution.
        inverse: L^-1, `(n, n)`, of its inputs in the order (channel, kernel position), perhaps with more rows behind.
        mean: Mean of its inputs, `(n)`.
        size: Root mean square of the output of its weights.
    """

    def __init__(self, conv: nn.Conv2d, factor: Tensor, inverse: Tensor, mean: Tensor) -> None:
        count = conv.weight[0].numel()
        self.conv, self.inverse, self.mean = conv, inverse[:count, :count], mean[:count]
        self.weight = conv.weight.detach().flatten(1).clone()
        self.bias = None if conv.bias is None else conv.bias.detach().clone()
        self.size = (self.weight @ factor[:count, :count]).square().sum(1).mean().sqrt().item()
        self.moved = torch.zeros_like(self.weight)
        self.raised = torch.zeros(len(self.weight))

    def read_gradients(self) -> None:
        """Turn the weights' gradients into those of V and of the bias at the mean."""
        assert self.conv.weight.grad is not None
        gradient = self.conv.weight.grad.flatten(1)
        if self.conv.bias is not None:
            self.raised.grad = self.conv.bias.grad
            gradient = gradient - torch.outer(self.conv.bias.grad, self.mean)  # type: ignore[arg-type]
        self.moved.grad = gradient @ self.inverse.T

    def write_weights(self) -> None:
        """Turn V into the weights."""
        change = self.moved @ self.inverse
        self.conv.weight.copy_((self.weight + change).view_as(self.conv.weight))
        if self.conv.bias is not None and self.bias is not None:
            self.conv.bias.copy_(self.bias + self.raised - change @ self.mean)


@torch.no_grad()
def _whitened(net: nn.Module, images: Tensor) -> list[_Whitened]:
    """The plain convolutions that run once in a pass and read enough positions."""
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and module.groups == 1]
    names = [conv.name for conv in trace_convs(net, names, images[:1]) if conv.calls == 1]
    found: list[_Whitened] = []

    def use(convs: dict[str, nn.Conv2d], inputs: Tensor) -> None:
        *_, last = convs.values()
        seen = moments(last, reading(last, inputs).padded)
        if not can_refit(last.weight, seen.count):
            return
        mean, factor = seen.by_channel(last.in_channels, DAMPING)
        inverse = torch.linalg.solve_triangular(factor, torch.eye(len(factor), dtype=factor.dtype), upper=False)
        shared = factor.float(), inverse.float(), mean.float()
        found.extend(_Whitened(conv, *shared) for conv in convs.values())

    watch_inputs(net, names, lambda: net(images), use)
    return found


def _steps(original: nn.Module, pruned: nn.Module, layers: list[_Whitened], images: Sequence[Tensor], seconds: float,
           half: bool, progress: bool) -> int:
    """Take steps for some seconds; returns their number, 0 if there is no time for ten."""
    generator = torch.Generator().manual_seed(0)
    groups = [{'params': [layer.moved, layer.raised], 'size': layer.size} for layer in layers]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99)) if layers else None
    keeper = DetailKeeper(DETAIL)
    start = time.perf_counter()
    steps, passed = 0, 0.0
    with Progress('gradient steps, seconds', round(max(seconds, 0)), progress,
                  bar_format='{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} {postfix}') as bar:
        while optimizer and passed < seconds and not (steps == 1 and 10 * passed > seconds):
            for group in optimizer.param_groups:
                group['lr'] = RATE * group['size'] * min(1, (steps + 1) / 10) * (1 + math.cos(
                    math.pi * passed / seconds)) / 2
            crops = torch.cat([_crop(images, generator) for _ in range(BATCH)])
            crops = crops.contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=half):
                wanted = original(crops).float()
            with torch.enable_grad():
                with torch.autocast('cpu', torch.bfloat16, enabled=half):
                    made = pruned(crops).float()
                loss = (_gaps(made, keeper.target(made, wanted)) + _EXACT).log().mean()
            pruned.zero_grad()
            loss.backward()
            with torch.no_grad():
                for layer in layers:
                    layer.read_gradients()
                optimizer.step()
                for layer in layers:
                    layer.write_weights()
            steps += 1
            bar.update(time.perf_counter() - start - passed)
            bar.set_postfix_str(f'step {steps}', refresh=False)
            passed = time.perf_counter() - start
    pruned.zero_grad()
    return steps


def _crop(images: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """A piece of an image, changed at random: `(1, c, s, s)`."""
    def draw(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    def start(size: int) -> int:
        return int(torch.randint(size - taken + 1, (), generator=generator))

    image = images[int(torch.randint(len(images), (), generator=generator))]
    smallest = min(image.shape[2:])
    side = taken = min(SIZE, smallest) // 4 * 4  # for networks with a pixel-unshuffle
    if draw(0, 1) < 0.6:
        taken = round(side / draw(max(0.6, side / smallest), 1.4))
    top, left = start(image.shape[2]), start(image.shape[3])
    piece = image[:, :, top:top + taken, left:left + taken]
    if taken != side:
        piece = interpolate(piece, size=(side, side), mode='bicubic', antialias=True).clamp(0, 1)
    for dim in (2, 3):
        piece = piece.flip(dim) if draw(0, 1) < 0.5 else piece
    piece = piece.transpose(2, 3) if draw(0, 1) < 0.5 else piece
    if draw(0, 1) < 0.5:
        piece = piece[:, torch.randperm(piece.shape[1], generator=generator)]
    return piece ** draw(0.7, 1.4) * draw(0.7, 1) if draw(0, 1) < 0.5 else piece


def _gaps(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference of each image `(n)`; the loss is its logarithm.

    That is in decibels: in the plain squared error degraded images alone would count, whose error is ten times that of
    clean images, and clean images would get worse.
    """
    return (made - wanted).square().mean((1, 2, 3))


@torch.no_grad()
def _error(original: nn.Module, pruned: nn.Module, images: Tensor) -> float:
    logarithms = [_gaps(pruned(image), original(image)).clamp(min=1e-12).log() for image in images.split(1)]
    return torch.cat(logarithms).mean().exp().item()
