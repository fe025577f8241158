"""Tries ways of pruning: all of them without a refit, the nearest ones refitted and measured."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from basicsr_kd.archs.from_file import network_section
from basicsr_kd.errors import PruningError
from basicsr_kd.metrics.likeness import likeness
from basicsr_kd.pruning.blocks import removal_effects
from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.channels.importance import ChannelEffects
from basicsr_kd.pruning.channels.surgeon import surgeon_prices
from basicsr_kd.pruning.cost import measure, total_cost
from basicsr_kd.pruning.cut import Cut
from basicsr_kd.pruning.job import Job, required, working_copy
from basicsr_kd.pruning.latency.budget import NEAR, between
from basicsr_kd.pruning.latency.place import Place
from basicsr_kd.pruning.latency.stopwatch import Stopwatch
from basicsr_kd.pruning.planning.candidates import Budget, Candidate
from basicsr_kd.pruning.reconstruction.reconstruct import LOOKED_AT, reconstruct
from basicsr_kd.utils.prune_request import Request

_TRIALS = 4
"""Trials of a ratio of MACs until it gives the time that is wanted."""
_Made = tuple[Cut, nn.Module, Request]
"""The cut, the network that is left, and the request for `prune`."""
_DEFAULT = Request(ratio=0, importance='taylor')  # the command's default if there are images


@dataclass(frozen=True)
class Trial:
    """A candidate, pruned but not refitted.

    Args:
        candidate: The way of pruning.
        steps: The requests for `prune`, one step after the other.
        cut: The cut from the original.
        network: The network that is left.
        error: Mean squared difference of the outputs.
    """
    candidate: Candidate
    steps: list[Request]
    cut: Cut
    network: nn.Module
    error: float


@dataclass(frozen=True)
class Found:
    """A candidate, refitted and measured.

    Args:
        name: The candidate's name.
        steps: The requests for `prune`, one step after the other: only options that are not their defaults.
        params: Share of the parameters that is left.
        macs: Share of the multiply-accumulates that is left.
        time: Share of the time that is left.
        spread: Distance between the quartiles of that time, as a share.
        scores: Likeness on the images to judge by: 'psnr', and 'jod' and 'texture' if they can be had.
        seconds: Time that pruning and refitting took.
        plain: Whether other programs can build the network.
    """
    name: str
    steps: list[dict[str, Any]]
    params: float
    macs: float
    time: float
    spread: float
    scores: dict[str, float]
    seconds: float
    plain: bool


class Planner:
    """Prunes one network in several ways; what the ways have in common is computed once.

    Args:
        net: The network.
        options: The network's `network_g`.
        budget: The budget to meet.
        images: Inputs of the network, `(n, c, h, w)`, RGB in [0, 1], to choose channels and refit layers by.
        judge: Other images, to which nothing is fitted.
        place: Where time is measured.
        progress: Whether to show progress bars.
        round_to: Widths are multiples of this number.
        plain: Whether to leave out networks that only this package builds: those of unequal widths.
    """

    def __init__(self, net: nn.Module, options: dict[str, Any], budget: Budget, images: Tensor, judge: Tensor,
                 place: Place, progress: bool, round_to: int = 16, plain: bool = False) -> None:
        self.net, self.options, self.plain = working_copy(net), options, plain
        self.budget, self.images, self.judge, self.place, self.progress = budget, images, judge, place, progress
        self.round_to = round_to
        self.costs = measure(self.net, images.shape[1])
        self.looked_at = images[::-(-len(images) // LOOKED_AT)]
        with torch.no_grad():
            self.outputs = [self.net(image) for image in self.looked_at.split(1)]

    def try_out(self, candidate: Candidate) -> Trial:
        """Prune by a candidate, without a refit.

        Raises:
            PruningError: The network cannot be pruned in the candidate's way, or not that far.
        """
        cut, network, steps = Cut(), self.net, []
        if candidate.depth < 1:
            count = len(self.blocks_job.blocks)
            steps.append(replace(_DEFAULT, ratio=None, layout='blocks', keep=max(round(candidate.depth * count), 1)))
            cut, network = self._job(self.net, steps[0]).remove_blocks(self.block_effects)
            network = working_copy(network)
        if candidate.layout == 'blocks':
            (then, network, request), share = self._of_share(self._blocks, self.net)
        else:
            (then, network, request), share = self._channels(candidate, network)
        cut = _both(cut, then, self.net)
        if self.plain and not self._is_plain(network):
            raise PruningError('its widths are unequal, which only this package builds')
        if share > (1 + NEAR) * self.budget.share:
            raise PruningError(f'its steps leave {100 * share:.0f} % of {self.budget.of}, more than the budget')
        return Trial(candidate, [*steps, request], cut, network, self._error(network))

    def measure(self, trial: Trial) -> Found:
        """Refit the network that a candidate leaves, and measure it."""
        start = time.perf_counter()
        reconstruct(self.net, trial.network, trial.cut, self.images, self.progress)
        seconds = time.perf_counter() - start
        timed = self.stopwatch.compare(trial.network)
        after = measure(trial.network, self.images.shape[1])
        near = likeness(self.net, trial.network, self.judge)
        if near is None:
            raise PruningError('plan: the network does not enlarge by a whole number, or the images are too small to '
                               'judge by. Expected larger ones.')
        left = {of: total_cost(after, of) / total_cost(self.costs, of) for of in ('params', 'macs')}
        steps = [{key: value for key, value in asdict(step).items()
                  if value is not None and (key == 'ratio' or value != getattr(_DEFAULT, key))} for step in trial.steps]
        return Found(name=trial.candidate.name, steps=steps, params=left['params'], macs=left['macs'], time=timed.share,
                     spread=timed.spread, scores=near.network, seconds=seconds, plain=self._is_plain(trial.network))

    @cached_property
    def stopwatch(self) -> Stopwatch:
        """The stopwatch that times networks side by side with the original."""
        return Stopwatch(self.net, self.images.shape[1], self.place)

    @cached_property
    def blocks_job(self) -> Job:
        """The job that knows the network's blocks."""
        return self._job(self.net, Request(layout='blocks', ratio=0.5))

    @cached_property
    def block_effects(self) -> dict[str, float]:
        """How far the output moves without each block."""
        return removal_effects(self.net, self.blocks_job.blocks, self.images, self.progress)

    @cached_property
    def channel_effects(self) -> ChannelEffects:
        """Importance `taylor`, for all layouts."""
        return ChannelEffects(self.net, self.images, self.progress)

    @cached_property
    def prices(self) -> list[ChannelGroup]:
        """Importance `obs` of the channels of layout `growth`."""
        job = self._job(self.net, Request(ratio=0.5, round_to=self.round_to))
        return surgeon_prices(self.net, job.removable.free, self.images, self.progress)

    def _job(self, net: nn.Module, request: Request, importance: ChannelEffects | None = None) -> Job:
        return Job(net, request, self.images[:1, :, :8, :8], importance)

    def _blocks(self, ratio: float) -> _Made:
        of = 'params' if self.budget.of == 'params' else 'macs'
        request = replace(_DEFAULT, ratio=ratio, of=of, layout='blocks')
        job = self._job(self.net, request)
        job.must_be_reachable()
        return *job.remove_blocks(self.block_effects), request

    def _channels(self, candidate: Candidate, net: nn.Module) -> tuple[_Made, float]:
        """The network that a candidate leaves, and its share of the original in the budget's unit."""
        effects = self.channel_effects if net is self.net else ChannelEffects(net, self.images, self.progress)

        def job_of(ratio: float, of: str) -> Job:
            place = {} if of != 'latency' else {key: getattr(self.place, key) for key in ('device', 'runtime', 'dtype',
                                                                                           'size')}
            request = Request(ratio=ratio, of=of, layout=candidate.layout, allocation=candidate.allocation,
                              importance=candidate.importance, round_to=self.round_to, **place)
            job = self._job(net, request, effects)
            job.must_be_reachable()
            if candidate.importance == 'obs':
                job.removable = replace(job.removable, free=self.prices)
            return job

        def make(ratio: float, of: str) -> _Made:
            job = job_of(ratio, of)
            return *job.cut_channels()[:2], job.request

        if self.budget.of != 'latency' or (candidate.layout, candidate.allocation) != ('growth', 'global'):
            of = 'params' if self.budget.of == 'params' else 'macs'
            return self._of_share(lambda ratio: make(ratio, of), net)
        whole = 1.0 if net is self.net else self.stopwatch.compare(net).share
        _must_leave_room(self.budget.share / whole)
        job = job_of(1 - self.budget.share / whole, 'latency')
        widths, latency = required(job.time_budget()).choose(job.removable.free, self.progress)
        return (*job.cut_channels(widths)[:2], job.request), whole * latency.share

    def _of_share(self, make: Callable[[float], _Made], net: nn.Module) -> tuple[_Made, float]:
        """The pruning of a network, perhaps smaller than the original already, that meets the budget; and its share."""
        if self.budget.of != 'latency':
            before = total_cost(self.costs, self.budget.of)
            share = self.budget.share * before / self._cost(net)
            _must_leave_room(share)
            made = make(1 - share)
            return made, self._cost(made[1]) / before
        whole = 1.0 if net is self.net else self.stopwatch.compare(net).share
        _must_leave_room(self.budget.share / whole)
        known: dict[float, float] = {0.0: 0.0, whole: 1.0}  # share of the time to share of the MACs
        found: list[tuple[_Made, float]] = []
        for _ in range(_TRIALS):
            left = between(known, self.budget.share)
            made = make(1 - left)
            share = self.stopwatch.compare(made[1]).share
            found.append((made, share))
            if abs(share - self.budget.share) <= NEAR * self.budget.share or left in list(known.values()):
                break
            known[share] = left
        return min(found, key=lambda trial: abs(trial[1] - self.budget.share))

    def _cost(self, net: nn.Module) -> int:
        return total_cost(measure(net, self.images.shape[1]), self.budget.of)

    def _is_plain(self, network: nn.Module) -> bool:
        """Whether other programs can build the network if they are told its numbers."""
        return network_section(network.state_dict(), '', self.options)['type'] not in ('PrunedNet', 'PrunedRRDBNet')

    @torch.no_grad()
    def _error(self, network: nn.Module) -> float:
        network.eval()
        return sum(mse_loss(network(image), output).item() for image, output in
                   zip(self.looked_at.split(1), self.outputs, strict=True)) / len(self.outputs)


def _must_leave_room(share: float) -> None:
    if share >= 1:
        raise PruningError('plan: so few blocks are within the budget already')


def _both(first: Cut, second: Cut, net: nn.Module) -> Cut:
    """Two cuts, one after the other, as one; the second must not remove modules."""
    names: Mapping[str, str | None] = {name: first.new_name(name) for name in net.state_dict()}
    dropped = {name: second.dropped[new] for name, new in names.items() if new in second.dropped}
    return Cut(dropped={**first.dropped, **dropped}, renamed={**first.renamed, **second.renamed})
