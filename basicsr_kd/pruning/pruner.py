"""Pruning a network to a budget."""
from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.blocks import removal_effects
from basicsr_kd.pruning.channels.importance import MAGNITUDES, weight_effects
from basicsr_kd.pruning.job import Job, priced_job, required, working_copy
from basicsr_kd.pruning.latency.place import find_place
from basicsr_kd.pruning.latency.stopwatch import Latency
from basicsr_kd.pruning.latency.units import find_units
from basicsr_kd.pruning.rebuild import rebuild
from basicsr_kd.pruning.reconstruction.descent import descend
from basicsr_kd.pruning.reconstruction.reconstruct import reconstruct as refit
from basicsr_kd.pruning.report import PruneReport
from basicsr_kd.pruning.unstructured import zero_weights
from basicsr_kd.utils.prune_request import Request


def prune(net: nn.Module,
          *,
          ratio: float | None = None,
          of: str = 'params',
          layout: str = 'growth',
          allocation: str = 'global',
          importance: str | None = None,
          round_to: int = 16,
          keep: int | None = None,
          select: str = 'least',
          target: str | None = None,
          device: str | None = None,
          runtime: str | None = None,
          dtype: str | None = None,
          size: int | None = None,
          reconstruct: bool = False,
          minutes: float = 0,
          calibration: Tensor | None = None,
          judge: Tensor | None = None,
          whole: Sequence[Tensor] | None = None,
          example: Tensor | None = None,
          progress: bool = False) -> PruneReport:
    """Make a smaller network out of the most important parts of a trained one.

    The result computes what the original computes with the dropped channels (weights, blocks) set to zero, except with
    `reconstruct`; if channels are removed, this is checked on a small input. The original is not changed, nor is
    torch's random state; gradients need not be enabled.

    Args:
        net: An RRDBNet, MSRResNet, EDSR, RCAN, SRVGGNetCompact or another network of convolutions, with its weights.
        ratio: The share of parameters, MACs or time to take away, 0 <= ratio < 1.
        of: What the ratio counts, 'params', 'macs' or 'latency': time, measured here; for layout growth. Blocks are
            measured in every combination of their widths, which takes minutes once and is kept in
            `~/.cache/basicsr_kd`.
        layout: What may be removed. 'growth': an RRDBNet's growth channels, down to 0; in other networks all channels
            outside the residual stream. 'width': the residual stream, equal everywhere. 'balanced': both. 'blocks':
            whole residual blocks. 'unstructured': single weights become zero, which makes nothing faster.
        allocation: 'global' lets every layer keep its own width, 'uniform' gives all the same.
        importance: From calibration images: 'obs' (layout growth: how far the output moves without a channel when the
            layers that read it are refitted) or 'taylor' (the same without a refit). Without images: 'l1', 'l2'
            (magnitude of the filters that write a channel), 'lamp', 'fpgm' or 'random'. Default: taylor with
            calibration images, else l2.
        round_to: Widths are multiples of this number. 16 suits CPUs and GPUs; others save parameters but hardly time.
        keep: For layout blocks, instead of `ratio`: how many blocks stay.
        select: For layout blocks: 'least' removes the blocks that change the output on the calibration images least
            when they alone are left out, 'last' removes the last blocks.
        target: Module path of the part to prune; the ratio then counts this part alone.
        device: For latency: 'cpu' or 'cuda'; default: 'cpu'.
        runtime: For latency: 'torch', 'openvino' or 'onnxruntime'; default: openvino if it is installed, else torch.
        dtype: For latency: 'fp32', 'bf16' or 'fp16'; default: the fastest that the runtime has here.
        size: For latency: side of the input, in pixels; default: 128.
        reconstruct: Whether to refit, by least squares on the calibration images, every layer behind the first that
            lost inputs.
        minutes: How long everything may take, wall time: gradient steps on the calibration images use the time that is
            left when the rest is done; 0: none.
        calibration: Images as the network takes them, `(n, c, h, w)`, RGB in [0, 1]; `needs_calibration` says when they
            are needed, `read_calibration_for` reads them. For FRNet they are clips, `(n, t, c, h, w)`: it treats an
            image as one step in a clip where nothing moves.
        judge: Further images, of the same shape, to which nothing is fitted: the result is compared with the original
            on them, and gradient steps that make it worse there are undone.
        whole: The images that `calibration` was cut from, `(1, c, h, w)` each, from which gradient steps take their
            crops (`read_whole`); default: `calibration` itself.
        example: An input, `(1, c, h, w)`; default: 8 x 8 pixels with the channels of the first convolution.
        progress: Whether to show progress bars.

    Returns:
        The pruned network (all its parameters require gradients), the cut, what was kept, and the counts before and
        after.

    Raises:
        PruningError: An option is none of the above; the network cannot be pruned in this way, or has no weights or
            broken ones; calibration images are missing; or the budget cannot be reached.
        MissingExtraError: The runtime is not installed.
    """
    start = time.perf_counter()
    importance = importance or ('l2' if calibration is None else 'taylor')
    request = Request(ratio=ratio, of=of, layout=layout, allocation=allocation, importance=importance,
                      round_to=round_to, keep=keep, select=select, target=target, device=device,
                      runtime=runtime, dtype=dtype, size=size, reconstruct=reconstruct, minutes=minutes)
    why = request.why_images
    if why and calibration is None:
        raise PruningError(f'prune: {why} needs calibration images. Expected calibration: a folder of images as the '
                           'network takes them.')
    if minutes and calibration is not None and calibration.dim() == 5:
        raise PruningError('prune: minutes is for gradient steps on single images, and this network takes clips. '
                           'Expected minutes 0.')
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        original = working_copy(net)
        job = Job(original, request, example, MAGNITUDES[importance]() if importance in MAGNITUDES else None)
        job.must_be_reachable()
        images = calibration if why else None
        if layout == 'unstructured':
            effects = job.run(lambda: weight_effects(original, required(images), progress), images) if why else {}
            cut = zero_weights(original, job.part, of=of, budget=required(job.budget), allocation=allocation,
                               importance=importance, effects=effects)
            return job.finish(cut, rebuild(original, cut.apply(original.state_dict())), net.training, judge=judge)
        kept: dict[str, list[int]] | None = None
        latency: Latency | None = None
        if layout == 'blocks':
            changes = job.run(lambda: removal_effects(original, job.blocks, required(images), progress),
                              images) if select == 'least' else {}
            cut, network = job.remove_blocks(changes)
        else:
            timed = job.time_budget()
            job = priced_job(job, images, progress)  # only now: it takes long, and a budget out of reach should not
            widths = None
            if timed:
                widths, latency = job.run(lambda: timed.choose(job.removable.free, progress))
            cut, network, kept = job.cut_channels(widths)
        notes = []
        if reconstruct:
            refitted = job.run(lambda: refit(original, network, cut, required(images), progress), images)
            notes.append(f'refitted {refitted.layers} layers: mean squared error of the output on calibration images '
                         f'{refitted.error_plain:.3g} -> {refitted.error_refitted:.3g}')
            if refitted.short:
                notes.append(f'{refitted.short} layers were not refitted: these {len(required(images))} calibration '
                             f'images are too few for what they read. Expected {refitted.needed} of this size to fit '
                             'to, or larger ones.')
        if minutes:
            left = 60 * minutes - (time.perf_counter() - start)
            notes.append(_take_steps(job, network, required(images), judge, whole, left, progress))
        return job.finish(cut, network, net.training, kept, notes, judge, latency)


def _take_steps(job: Job, network: nn.Module, images: Tensor, judge: Tensor | None, whole: Sequence[Tensor] | None,
                seconds: float, progress: bool) -> str:
    """Bring a pruned network nearer to the original by gradient steps while time is left; returns a text on them."""
    if seconds <= 0:
        return 'no gradient steps: the minutes were over'
    judge = images if judge is None else judge
    found = job.run(lambda: descend(job.net, network, images, judge, seconds, progress, whole), images)
    if not found.steps:
        return 'no gradient steps: the minutes were nearly over, or the steps made it worse and were undone'
    return (f'{found.steps} gradient steps: squared error of the output, geometric mean over the images to judge by, '
            f'{found.error_before:.3g} -> {found.error_after:.3g}')


def check_prune(net: nn.Module, request: Request, example: Tensor | None = None) -> None:
    """Check, from shapes alone, all that `prune` would refuse; `net` may be on the meta device.

    Raises:
        PruningError: As in `prune`.
    """
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        copied = copy.deepcopy(net).float().eval().requires_grad_(True)
        job = Job(copied, request, example, None)
        job.must_be_reachable()
        if request.of == 'latency':
            find_place(request)
            find_units(job.net, job.removable.free, request.round_to, job.removable.least)
