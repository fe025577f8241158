"""Reconstruction: after channels are removed, the layers that read them are refitted on images, without training.

Channel pruning of He, Zhang and Sun (ICCV 2017): layer by layer in the order in which they run, by least squares on the
outputs of the layers before. At the end of a residual branch the target is the original's sum of branch and skip, so a
branch also makes up for what the branches before it lost.
"""
from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from basicsr_kd.pruning.cut import Cut, stays
from basicsr_kd.pruning.reconstruction.in_step import InStep
from basicsr_kd.pruning.reconstruction.least_squares import POSITIONS_A_WEIGHT, can_refit, refit
from basicsr_kd.pruning.reconstruction.residuals import trace_convs
from basicsr_kd.pruning.reconstruction.shared_inputs import Enough
from basicsr_kd.utils.modes import evaluating
from basicsr_kd.utils.progress import Progress

_Run = Callable[[Any, Tensor], Tensor]
LOOKED_AT = 4
"""Most images on which the errors before and after are compared; the layers are fitted on all images."""


@dataclass(frozen=True)
class Reconstruction:
    """The result of a reconstruction.

    Args:
        error_plain: Mean squared difference of the outputs of pruned and original network on the images, before.
        error_refitted: The same afterwards; never more than `error_plain`.
        layers: Number of convolutions that were refitted; 0 if that made the output worse and was undone.
        short: Number of convolutions that were not refitted, since the images have too few positions for their kernels.
        needed: How many images of this size would be enough for all.
    """
    error_plain: float
    error_refitted: float
    layers: int
    short: int = 0
    needed: int = 0


@dataclass(frozen=True)
class _Layer:
    """A convolution to refit.

    Args:
        name: Its module path in the original.
        new_name: Its module path in the pruned network.
        kept: Its output channels that stay.
        step: It is fitted to every image (1), every second image (2), ...
        skips: As in `ConvRun`.
        new_skips: The same in the pruned network.
    """
    name: str
    new_name: str
    kept: Tensor
    step: int
    skips: list[tuple[str, float]]
    new_skips: list[tuple[str, float]]


@torch.no_grad()
def reconstruct(original: nn.Module, pruned: nn.Module, cut: Cut, images: Tensor,
                progress: bool = False) -> Reconstruction:
    """Refit every convolution behind the first cut, so that the pruned network's output comes near the original's.

    These are all convolutions with feature maps of the size of those that were cut, also if they lost nothing
    themselves: their inputs have changed. If blocks are removed, it is every convolution. Not refitted are grouped
    convolutions, those that run more than once in a pass, and those with too small feature maps (attention on pooled
    features).

    Args:
        original: The network before pruning, float32 on the CPU; not changed.
        pruned: The network after pruning; its weights change in place.
        cut: The cut that was made.
        images: Inputs of the network, `(n, c, h, w)`. All n images are used for layers on the smallest feature maps.
            Behind an upsampling fewer are used, so that no more memory is needed, but at least four. For clips
            `(n, t, c, h, w)` the network is refitted on the last frame, given the original's outputs of the frames
            before.
        progress: Whether to show a progress bar.

    Returns:
        The errors before and after. If refitting does not help, the weights are as they were.
    """
    with _fast_evaluation(original), _fast_evaluation(pruned):
        images, run = as_read(original, images)
        images = images.contiguous(memory_format=torch.channels_last)
        layers, short, needed = _layers(original, pruned, cut, images, run)
        looked_at = images[::-(-len(images) // LOOKED_AT)]
        with Progress('refit', len(layers) + 2 * len(looked_at), progress) as bar:
            outputs, plain = [], 0.0
            for image in looked_at.split(1):
                outputs.append(run(original, image))
                plain += mse_loss(run(pruned, image), outputs[-1]).item() / len(looked_at)
                bar.update()
            before = {name: tensor.clone() for name, tensor in pruned.state_dict().items()}
            refitted = 0
            for step, same in itertools.groupby(layers, key=lambda layer: layer.step):
                refitted += _refit_all(original, pruned, list(same), images[::step], run, bar)
            error = 0.0
            for image, output in zip(looked_at.split(1), outputs, strict=True):
                error += mse_loss(run(pruned, image), output).item() / len(looked_at)
                bar.update()
        if error <= plain:  # also false if it is NaN
            return Reconstruction(plain, error, refitted, short, needed)
        pruned.load_state_dict(before)
        return Reconstruction(plain, plain, 0, short, needed)


def _layers(original: nn.Module, pruned: nn.Module, cut: Cut, images: Tensor,
            run: _Run) -> tuple[list[_Layer], int, int]:
    """The convolutions to refit, in running order; how many have too few positions; how many images would be enough."""
    left = {name for name, _ in pruned.named_modules() if name}
    names = [name for name, module in original.named_modules()
             if isinstance(module, nn.Conv2d) and module.groups == 1 and _new_path(cut, name) in left]
    runs = trace_convs(original, names, images[:1], run)
    if None not in cut.renamed.values():
        touched = [index for index, conv in enumerate(runs) if f'{conv.name}.weight' in cut.dropped]
        sizes = {runs[index].size for index in touched}
        first = min((index for index in touched if 1 in cut.dropped[f'{runs[index].name}.weight']), default=len(runs))
        runs = [conv for conv in runs[first:] if conv.size in sizes]
    layers, short, needed = [], 0, 0
    smallest = min((math.prod(conv.size) for conv in runs if math.prod(conv.size) > 1), default=1)
    for conv in runs:
        weight, positions = pruned.get_parameter(f'{_new_path(cut, conv.name)}.weight'), math.prod(conv.size)
        if conv.calls > 1 or positions == 1:  # one position: attention on pooled features
            continue
        step = max(min(positions // smallest, len(images) // LOOKED_AT), 1)
        if not can_refit(weight, len(images[::step]) * positions):
            short += 1
            needed = max(needed, step * math.ceil(POSITIONS_A_WEIGHT * weight[0].numel() / positions))
        else:
            before = original.get_parameter(f'{conv.name}.weight')
            kept = torch.tensor(stays(len(before), cut.dropped.get(f'{conv.name}.weight', {}).get(0, [])))
            layers.append(_Layer(conv.name, _new_path(cut, conv.name), kept, step, conv.skips,
                                 [(_new_path(cut, path), scale) for path, scale in conv.skips]))
    return layers, short, needed


def _new_path(cut: Cut, path: str) -> str:
    """The path of a module in the pruned network; empty if it is removed."""
    return (cut.new_name(f'{path}.') or '').removesuffix('.')


def _refit_all(original: nn.Module, pruned: nn.Module, layers: Sequence[_Layer], images: Tensor, run: _Run,
               bar: Progress) -> int:
    """Refit layer after layer, each on its inputs in the pruned network, refitted up to it; returns their number."""
    refitted = 0

    def fit(layer: _Layer, conv: nn.Conv2d, inputs: Tensor, entered: _Entered) -> None:
        nonlocal refitted
        wanted = targets.next()
        for path, scale in layer.new_skips:
            wanted = wanted.sub(entered.take(path), alpha=1 / scale)
        refitted += refit(conv, inputs, wanted)
        bar.update()
        if layer is layers[-1]:
            raise Enough

    if not layers:
        return 0
    targets: InStep[Tensor] = InStep(lambda give: _give_targets(original, layers, images, run, give))
    try:
        with ExitStack() as stack:
            entered = _Entered(stack, pruned, [path for layer in layers for path, _ in layer.new_skips])
            for layer in layers:
                stack.callback(pruned.get_submodule(layer.new_name).register_forward_pre_hook(
                    lambda module, args, layer=layer: fit(layer, module, args[0], entered)).remove)
            run(pruned, images)
    except Enough:
        pass
    finally:
        targets.close()
    return refitted


def _give_targets(original: nn.Module, layers: Sequence[_Layer], images: Tensor, run: _Run,
                  give: Callable[[Tensor], None]) -> None:
    """Run the original and give each layer's target: its output, plus the sums of residual branches that it ends."""
    def hand_on(layer: _Layer, output: Tensor) -> None:
        wanted = output[:, layer.kept]
        for path, scale in layer.skips:
            wanted = wanted.add(entered.take(path)[:, layer.kept], alpha=1 / scale)
        give(wanted)

    with ExitStack() as stack:
        entered = _Entered(stack, original, [path for layer in layers for path, _ in layer.skips])
        for layer in layers:
            stack.callback(original.get_submodule(layer.name).register_forward_hook(
                lambda module, args, output, layer=layer: hand_on(layer, output)).remove)
        run(original, images)


class _Entered:
    """The inputs of some modules, each kept until it is read for the last time: all of them would be gigabytes.

    Args:
        stack: Removes the hooks.
        net: The network.
        paths: Of the modules, each as often as it will be read.
    """

    def __init__(self, stack: ExitStack, net: nn.Module, paths: Sequence[str]) -> None:
        self._left = Counter(paths)
        self._inputs: dict[str, Tensor] = {}
        for path in self._left:
            stack.callback(net.get_submodule(path).register_forward_pre_hook(
                lambda module, args, path=path: self._inputs.__setitem__(path, args[0])).remove)

    def take(self, path: str) -> Tensor:
        """The input of a module."""
        self._left[path] -= 1
        return self._inputs[path] if self._left[path] else self._inputs.pop(path)


@contextmanager
def _fast_evaluation(net: nn.Module) -> Iterator[None]:
    """A context with evaluation mode and the memory format in which convolutions are fastest on CPUs."""
    net.to(memory_format=torch.channels_last)
    try:
        with evaluating(net):
            yield
    finally:
        net.to(memory_format=torch.contiguous_format)


def as_read(net: nn.Module, images: Tensor) -> tuple[Tensor, _Run]:
    """The input for all images or clips at once, and how to run it: for clips, only the step to their last frame."""
    return (last_steps(net, images), run_step) if images.dim() == 5 else (images, nn.Module.__call__)


@torch.no_grad()
def last_steps(net: Any, clips: Tensor) -> Tensor:
    """A network's inputs for the last frame of each clip: that frame, the one before, and its output for that one.

    Args:
        net: A network with `step`, `in_nc` and `scale`, like FRNet, in evaluation mode; it runs clips one by one.
        clips: (n, t, in_nc, h, w) in [0, 1], t at least 2.

    Returns:
        (n, (2 + scale²)·in_nc, h, w), for `run_step`.
    """
    made = torch.cat([net(clip[:, :-1])[:, -1] for clip in clips.split(1)])
    return torch.cat((clips[:, -1], clips[:, -2], F.pixel_unshuffle(made, net.scale)), dim=1)


def run_step(net: Any, steps: Tensor) -> Tensor:
    """The frames (n, in_nc, scale·h, scale·w) that a network makes of steps from `last_steps`, of it or another one."""
    frame, before, made = steps.split((net.in_nc, net.in_nc, net.scale**2 * net.in_nc), dim=1)
    return net.step(frame, before, F.pixel_shuffle(made, net.scale))
