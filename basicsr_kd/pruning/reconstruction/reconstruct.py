"""Reconstruction: after channels are gone, the layers that read them are refitted on images, without any training.

Channel pruning of He, Zhang and Sun (ICCV 2017): layer by layer in the order in which they run, least squares on what
the layers before give. At the end of a residual branch the target is the original's sum of branch and skip, so a branch
also makes up for what the branches before it lost.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from basicsr_kd.pruning.cut import Cut, stays
from basicsr_kd.pruning.reconstruction.least_squares import can_refit, draw_positions, refit, sample
from basicsr_kd.pruning.reconstruction.residuals import trace_convs
from basicsr_kd.utils.modes import evaluating

_Run = Callable[[Any, Tensor], Tensor]
POSITIONS = (10_000, 30_000)
"""On how many positions, over all images, a layer is fitted: at least and at most."""
WORK = 4e12
"""Multiply-adds for sums of products, between those bounds: about a minute and a half on one core."""


@dataclass(frozen=True)
class Reconstruction:
    """What a reconstruction did.

    Args:
        error_plain: mean squared difference of the outputs of pruned and original network on the images, before.
        error_refitted: the same afterwards; never more than ``error_plain``.
        layers: convolutions that were refitted; 0 where that made the output worse and was undone.
    """
    error_plain: float
    error_refitted: float
    layers: int


@dataclass(frozen=True)
class _Layer:
    """A convolution to refit.

    Args:
        name: its module path in the original.
        new_name: its module path in the pruned network.
        kept: its output channels that stay.
        skips: as in ConvRun.
        new_skips: the same in the pruned network.
        positions: where its output is looked at, ``(n, p)``.
        target: what it should give there, ``(n, p, number of kept)``; while the pruned network runs, the inputs of the
            skips are taken off.
    """
    name: str
    new_name: str
    kept: Tensor
    skips: list[tuple[str, float]]
    new_skips: list[tuple[str, float]]
    positions: Tensor
    target: Tensor


@torch.no_grad()
def reconstruct(original: nn.Module, pruned: nn.Module, cut: Cut, images: Tensor,
                progress: bool = False) -> Reconstruction:
    """Refit every convolution that lost inputs, so that the pruned network gives what the original gave.

    Where blocks are gone, every convolution, since all read something else: a block that stays then makes up for those
    that went before it. Left as they are: grouped convolutions, those that run more than once in a pass, and those
    whose feature maps are too small to say enough (attention on pooled features).

    Args:
        original: the network before pruning, float32 on the CPU; not changed.
        pruned: the network after it; its weights change in place.
        cut: what was cut.
        images: inputs of the network, ``(n, c, h, w)``. All n run at once through ``pruned``: memory grows with them.
            Of clips ``(n, t, c, h, w)`` the last frames are looked at, with what the original made of those before.
        progress: show a progress bar.

    Returns:
        The errors before and after. Where refitting does not help, the weights are as they were.
    """
    run: _Run = nn.Module.__call__
    with _fast_evaluation(original), _fast_evaluation(pruned):
        if images.dim() == 5:
            images, run = last_steps(original, images), run_step
        images = images.contiguous(memory_format=torch.channels_last)
        layers = _layers(original, pruned, cut, images, run)
        with tqdm(total=len(images) + len(layers), desc='reconstruct', disable=not progress) as bar:
            outputs, errors = [], []
            for index, image in enumerate(images.split(1)):
                with _recording(original, layers, index):
                    outputs.append(run(original, image))
                errors.append(_error(run(pruned, image), outputs[-1]))
                bar.update()
            before = {name: tensor.clone() for name, tensor in pruned.state_dict().items()}
            refitted: list[str] = []
            with _refitting(pruned, layers, refitted, bar):
                error = _error(run(pruned, images), torch.cat(outputs))
        plain = sum(errors) / len(errors)
        if error <= plain:  # also false where it is no number
            return Reconstruction(plain, error, len(refitted))
        pruned.load_state_dict(before)
        return Reconstruction(plain, plain, 0)


def _layers(original: nn.Module, pruned: nn.Module, cut: Cut, images: Tensor, run: _Run) -> list[_Layer]:
    """The convolutions to refit, in the order in which they run."""
    left = {name for name, _ in pruned.named_modules() if name}
    shallower = None in cut.renamed.values()
    names = [name for name, module in original.named_modules() if isinstance(module, nn.Conv2d) and module.groups == 1
             and (shallower or 1 in cut.dropped.get(f'{name}.weight', {})) and _new_path(cut, name) in left]
    convs = [conv for conv in trace_convs(original, names, images[:1], run) if conv.calls == 1]
    weights = [pruned.get_parameter(f'{_new_path(cut, conv.name)}.weight') for conv in convs]
    work = sum(weight[0].numel() ** 2 for weight in weights)
    total = min(max(int(WORK / max(work, 1)), POSITIONS[0]), POSITIONS[1])
    generator = torch.Generator().manual_seed(0)
    layers = []
    for conv, weight in zip(convs, weights, strict=True):
        positions = draw_positions(len(images), conv.size, total, generator)
        if can_refit(weight, positions):
            before = original.get_parameter(f'{conv.name}.weight')
            kept = torch.tensor(stays(len(before), cut.dropped.get(f'{conv.name}.weight', {}).get(0, [])))
            target = torch.zeros(*positions.shape, len(kept))
            new_skips = [(_new_path(cut, path), scale) for path, scale in conv.skips]
            layers.append(_Layer(conv.name, _new_path(cut, conv.name), kept, conv.skips, new_skips, positions, target))
    return layers


def _new_path(cut: Cut, path: str) -> str:
    """What a module is called in the pruned network; empty where it is gone."""
    return (cut.new_name(f'{path}.') or '').removesuffix('.')


@contextmanager
def _recording(original: nn.Module, layers: Sequence[_Layer], index: int) -> Iterator[None]:
    """While the original runs on one image: collect every layer's target for it."""
    def record(layer: _Layer, scale: float, features: Tensor) -> None:
        layer.target[index] += sample(features, layer.positions[index:index + 1])[0, :, layer.kept] / scale

    with ExitStack() as stack:
        for layer in layers:
            conv = original.get_submodule(layer.name)
            stack.callback(conv.register_forward_hook(
                lambda module, args, output, layer=layer: record(layer, 1.0, output)).remove)
            for path, scale in layer.skips:
                stack.callback(original.get_submodule(path).register_forward_pre_hook(
                    lambda module, args, layer=layer, scale=scale: record(layer, scale, args[0])).remove)
        yield


@contextmanager
def _refitting(pruned: nn.Module, layers: Sequence[_Layer], refitted: list[str], bar: tqdm) -> Iterator[None]:
    """While the pruned network runs on all images: refit each layer on the inputs it is about to see."""
    def take_off(layer: _Layer, scale: float, features: Tensor) -> None:
        layer.target.sub_(sample(features, layer.positions), alpha=1 / scale)

    def fit(layer: _Layer, conv: nn.Conv2d, inputs: Tensor) -> None:
        if refit(conv, inputs, layer.positions, layer.target):
            refitted.append(layer.new_name)
        bar.update()

    with ExitStack() as stack:
        for layer in layers:
            conv = pruned.get_submodule(layer.new_name)
            stack.callback(conv.register_forward_pre_hook(
                lambda module, args, layer=layer: fit(layer, module, args[0])).remove)
            for path, scale in layer.new_skips:
                stack.callback(pruned.get_submodule(path).register_forward_pre_hook(
                    lambda module, args, layer=layer, scale=scale: take_off(layer, scale, args[0])).remove)
        yield


@contextmanager
def _fast_evaluation(net: nn.Module) -> Iterator[None]:
    """Evaluation mode and the memory format that convolutions on CPUs are fastest in; both put back."""
    net.to(memory_format=torch.channels_last)
    try:
        with evaluating(net):
            yield
    finally:
        net.to(memory_format=torch.contiguous_format)


def _error(output: Tensor, wanted: Tensor) -> float:
    return torch.nn.functional.mse_loss(output, wanted).item()


@torch.no_grad()
def last_steps(net: Any, clips: Tensor) -> Tensor:
    """What a network gets for the last frame of each clip: that frame, the one before, and what it made of that.

    Args:
        net: A network with `step`, `in_nc` and `scale`, as FRNet, in evaluation mode; each clip runs through it alone.
        clips: (n, t, in_nc, h, w) in [0, 1], t at least 2.

    Returns:
        (n, (2 + scale²)·in_nc, h, w), for `run_step`.
    """
    made = torch.cat([net(clip[:, :-1])[:, -1] for clip in clips.split(1)])
    return torch.cat((clips[:, -1], clips[:, -2], F.pixel_unshuffle(made, net.scale)), dim=1)


def run_step(net: Any, steps: Tensor) -> Tensor:
    """The frames (n, in_nc, scale·h, scale·w) that a network makes of steps, which it or another one was in."""
    frame, before, made = steps.split((net.in_nc, net.in_nc, net.scale**2 * net.in_nc), dim=1)
    return net.step(frame, before, F.pixel_shuffle(made, net.scale))
