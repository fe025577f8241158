"""The sensitivity scan: what each stage of a network costs in quality when it alone is pruned."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.blocks import left_out
from basicsr_kd.pruning.channels.importance import MAGNITUDES, weight_effects
from basicsr_kd.pruning.job import Job, priced_job, working_copy
from basicsr_kd.pruning.trials import Trial, block_trials, channel_trials, weight_trials, zeroed
from basicsr_kd.utils.measured import StageCost
from basicsr_kd.utils.progress import Progress
from basicsr_kd.utils.prune_request import Request

SCANNED = ('growth', 'blocks', 'unstructured')
"""The layouts that can prune one stage alone; `width` and `balanced` change the stream everywhere."""


def scan(net: nn.Module,
         images: Tensor,
         *,
         ratio: float = 0.3,
         of: str = 'params',
         layout: str = 'growth',
         allocation: str = 'global',
         importance: str = 'taylor',
         round_to: int = 16,
         progress: bool = False) -> list[StageCost]:
    """Prune each stage of a network alone, by the same ratio, and measure how far the output moves.

    Args:
        net: As for `basicsr_kd.pruning.prune`; it is not changed.
        images: `(n, c, h, w)` or clips `(n, t, c, h, w)`, RGB in [0, 1], as the network takes them; importance `taylor`
            looks at them as well.
        ratio: The share to take away from each stage; layout `blocks` removes each block whole.
        of, allocation, importance, round_to: As for `prune`.
        layout: One of `SCANNED`.
        progress: Whether to show progress bars.

    Returns:
        One entry for each stage, in the network's order. PSNR has peak 1 and is from the mean squared difference over
        all images, channels and pixels; values outside of [0, 1] are not clipped.

    Raises:
        PruningError: As in `prune`; or another layout, or no stage that can be pruned.
    """
    if layout not in SCANNED:
        raise PruningError(f'scan: layout {layout} changes the residual stream in all stages at once, so there is no '
                           f'scan of it. Expected one of: {", ".join(SCANNED)}.')
    if of == 'latency':
        raise PruningError('scan: of latency needs the time of the whole network. Expected of params or macs.')
    request = Request(ratio=ratio, of=of, layout=layout, allocation=allocation, importance=importance,
                      round_to=round_to)
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        original = working_copy(net)
        magnitude = MAGNITUDES.get(importance)
        job = Job(original, request, None, magnitude() if magnitude and layout == 'growth' else None)
        if layout == 'growth':
            _must_find(channel_trials(job), request)  # before a long look at the images
            job = priced_job(job, images, progress)
            trials = channel_trials(job)
        elif layout == 'blocks':
            trials = block_trials(job)
        else:
            trials = weight_trials(job, weight_effects(original, images, progress) if importance == 'taylor' else {})
            _must_find(trials, request)
        errors = _errors(original, images, trials, progress)
    return [StageCost(trial.stage, trial.before, trial.after,
                      None if trial.reason else _psnr(errors[trial.stage]), trial.reason) for trial in trials]


def _must_find(trials: Sequence[Trial], request: Request) -> None:
    """Raise a PruningError unless some stage can be pruned."""
    if all(trial.reason for trial in trials):
        why = '; '.join(dict.fromkeys(trial.reason for trial in trials))
        raise PruningError(f'scan: no stage can be pruned alone by ratio {request.ratio} of {request.of} ({why}). '
                           'Expected another ratio, layout or round_to.')


def _errors(net: nn.Module, images: Tensor, trials: Sequence[Trial], progress: bool) -> dict[str, float]:
    """The mean squared difference of the output that each stage causes."""
    changes = {trial.stage: trial.masks for trial in trials if not trial.reason}
    errors = dict.fromkeys(changes, 0.0)
    net = net.to(memory_format=torch.channels_last)  # 1.3 to 1.7 times as fast
    with torch.no_grad(), Progress('scan', len(images) * (len(errors) + 1), progress) as bar:
        for image in images.split(1):
            whole = net(image)
            bar.update()
            for stage, masks in changes.items():
                with left_out(net, [stage]) if masks is None else zeroed(net, masks):
                    errors[stage] += (net(image) - whole).square().mean().item() / len(images)
                bar.update()
    return errors


def _psnr(error: float) -> float:
    return -10 * math.log10(error) if error else math.inf
