"""One pruning: a network and a request, the channels it may remove, their costs, and the result."""
from __future__ import annotations

import copy
import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from basicsr_kd.archs.probe import input_channels
from basicsr_kd.errors import BasicSRKDError, PruningError
from basicsr_kd.metrics.likeness import likeness
from basicsr_kd.pruning.blocks import Block, blocks_cut, choose_blocks, find_blocks, without_blocks
from basicsr_kd.pruning.channels.budget import choose_widths, least_cost
from basicsr_kd.pruning.channels.global_search import PROMISED
from basicsr_kd.pruning.channels.groups import channels_cut, find_groups, no_values
from basicsr_kd.pruning.channels.importance import ChannelEffects
from basicsr_kd.pruning.channels.layouts import Removable, find_removable
from basicsr_kd.pruning.channels.surgeon import surgeon_prices
from basicsr_kd.pruning.cost import Account, costs_of, measure, total_cost
from basicsr_kd.pruning.cut import Cut
from basicsr_kd.pruning.latency.budget import NEAR, TimeBudget
from basicsr_kd.pruning.latency.stopwatch import Latency
from basicsr_kd.pruning.rebuild import must_agree, rebuild
from basicsr_kd.pruning.report import PruneReport, compare_stages
from basicsr_kd.pruning.unstructured import nonzero_cost, weights_cost
from basicsr_kd.utils.prune_request import Request

_T = TypeVar('_T')


class Job:
    """A network and a request: the channels or blocks it may remove, their costs, and the result."""

    def __init__(self, net: nn.Module, request: Request, example: Tensor | None,
                 importance: Callable[[Any], Tensor | None] | None) -> None:
        must_have_target(net, request)
        self.net, self.request = net, request
        if example is None:
            example = torch.zeros(1, input_channels(net), 8, 8)
        self.example = example
        self.costs = self.run(lambda: measure(net, example.shape[1]))
        target = request.target
        self.part = costs_of(self.costs, target)
        self.removable = Removable([], [], 0, {})
        self.blocks: list[Block] = []
        device = next(net.parameters()).device
        if request.layout == 'blocks':
            self.blocks = self.run(lambda: find_blocks(net, self.costs, request.of, target, example.to(device)))
        elif request.layout != 'unstructured':
            groups = self.run(lambda: find_groups(net, example.to(device), importance or no_values))
            self.removable = find_removable(net, groups, self.costs, request.layout, target, request.of)
        self.counts = 'params' if request.of == 'latency' else request.of
        self.full = (nonzero_cost(net, self.part, self.counts) if request.layout == 'unstructured' else
                     total_cost(self.part, self.counts))
        if not self.full:
            raise PruningError(f'{type(net).__name__} has no {request.of} that can be counted in its layers. Expected '
                               'a network of nn.Conv2d, nn.ConvTranspose2d and nn.Linear.')
        counted = request.ratio is not None and request.of != 'latency'
        self.budget = (1 - required(request.ratio)) * self.full if counted else None

    def run(self, work: Callable[[], _T], images: Tensor | None = None) -> _T:
        """Do work that runs the network; an error of its own code becomes a PruningError with the input's shape."""
        try:
            return work()
        except BasicSRKDError:
            raise
        except Exception as error:
            reason = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
            if images is not None:
                raise PruningError(f'{type(self.net).__name__} cannot run on the calibration images, of shape '
                                   f'{tuple(images.shape)}: {reason}. Expected images as it takes them; another size '
                                   'may help.') from error
            raise PruningError(f'{type(self.net).__name__} cannot be traced with an input of shape '
                               f'{tuple(self.example.shape)}: {reason}. Expected a network of convolutions that takes '
                               'one image and gives one (from Python: example=).') from error

    def must_be_reachable(self) -> None:
        """Raise a PruningError that names the range if the budget is beyond what the layout can take."""
        request, full = self.request, self.full
        if request.layout == 'blocks':
            least = full - sum(block.cost for block in choose_blocks(self.blocks, total=full, budget=0, keep=None))
            fewest = len({block.chain for block in self.blocks})
            if request.keep is not None and not fewest <= request.keep <= len(self.blocks):
                raise PruningError(f'prune: keep is {request.keep}, and there are {len(self.blocks)} blocks. Expected '
                                   f'{fewest} to {len(self.blocks)}.')
        elif request.layout == 'unstructured':
            least = max(full - weights_cost(self.part, request.of), 0)
        else:
            least = least_cost(self.removable, Account(self.part, self.counts), request.round_to)
        if self.budget is not None and self.budget < least:
            most = math.floor(1000 * (1 - least / full)) / 1000
            part = f' of {request.target}' if request.target else ''
            steps = f' with round_to {request.round_to}' if self.removable.stream or self.removable.free else ''
            raise PruningError(f'prune: ratio {request.ratio} would leave {round(self.budget):,} of {full:,} '
                               f'{request.of}{part}, but layout {request.layout}{steps} reaches from '
                               f'{full:,} down to {least:,}. Expected a ratio from 0 to {most}.')

    def remove_blocks(self, effects: dict[str, float]) -> tuple[Cut, nn.Module]:
        """Remove blocks: those of least effect, or the last ones if no effects are known."""
        order = sorted(self.blocks, key=lambda block: effects[block.path]) if effects else self.blocks[::-1]
        gone = choose_blocks(order, total=self.full, budget=self.budget, keep=self.request.keep)
        cut = blocks_cut(self.blocks, gone)
        network = without_blocks(self.net, gone)
        network.load_state_dict(cut.apply(self.net.state_dict()))  # proves that the cut's new names are right
        return cut, network

    def time_budget(self) -> TimeBudget | None:
        """The search for widths by measured time, if the request has a budget of time."""
        if self.request.of != 'latency':
            return None
        return self.run(lambda: TimeBudget(self.net, self.removable, self.request, self.example,
                                           lambda widths: self.build(self.kept(widths))[1]))

    def kept(self, widths: Mapping[str, int]) -> dict[str, list[int]]:
        """The channels that each group keeps."""
        return {group.root: group.kept(widths[group.root]) for group in (*self.removable.stream, *self.removable.free)}

    def build(self, kept: Mapping[str, list[int]]) -> tuple[Cut, nn.Module]:
        """The cut that leaves each group the channels in `kept`, and the network that is left."""
        cut = channels_cut([*self.removable.stream, *self.removable.free], kept)
        return cut, rebuild(self.net, cut.apply(self.net.state_dict()))

    def cut_channels(self, widths: Mapping[str, int] | None = None) -> tuple[Cut, nn.Module, dict[str, list[int]]]:
        """Remove channels: the cut, the network that is left, and the output channels that each convolution keeps.

        Args:
            widths: The width of each group by its root; None: widths by the budget of parameters or MACs.
        """
        groups = [*self.removable.stream, *self.removable.free]
        if widths is None:
            widths = choose_widths(self.removable, Account(self.part, self.request.of), budget=required(self.budget),
                                   allocation=self.request.allocation, round_to=self.request.round_to)
        kept = self.kept(widths)
        cut, network = self.build(kept)
        self.run(lambda: must_agree(self.net, network, groups, kept, self.example))
        return cut, network, {path: sorted(index[channel] for channel in kept[group.root])
                              for group in groups for path, index in group.producers.items()}

    def finish(self, cut: Cut, network: nn.Module, training: bool, kept: dict[str, list[int]] | None = None,
               notes: list[str] | None = None, judge: Tensor | None = None,
               latency: Latency | None = None) -> PruneReport:
        """Count and measure the network that is left, and make the report."""
        request, notes = self.request, list(notes or ())
        after = measure(network, self.example.shape[1])
        left = costs_of(after, request.target)
        reached: float = (nonzero_cost(network, left, self.counts) if request.layout == 'unstructured' else
                          total_cost(left, self.counts))
        budget = self.budget
        if latency is not None:
            reached, budget = latency.after[1], (1 - required(request.ratio)) * latency.before[1]
            if abs(reached - budget) > NEAR * budget:
                notes.append(f'Asked for were {100 * (1 - required(request.ratio)):.1f} % of the time; of what was '
                             f'measured, {100 * latency.share:.1f} % is the nearest.')
        if self.budget is not None and abs(reached - self.budget) > PROMISED * self.budget:
            notes.append(f'The budget was {round(self.budget):,} {request.of}; the steps of this layout came no nearer '
                         f'than {reached:,}.')
            if self.removable.free and request.allocation == 'global' and request.round_to > 1:
                notes[-1] += ' A smaller round_to does.'
        if gone := [path for path, new in cut.renamed.items() if new is None]:
            notes.append(f'removed: {", ".join(gone)}')
        if request.layout == 'unstructured':
            notes.append('Zeros save no time and no memory in ordinary programs; the other layouts do.')
        params = total_cost(after, 'params')
        return PruneReport(
            network=network.train(training).requires_grad_(True), cut=cut, kept=kept or {},
            params_before=total_cost(self.costs, 'params'), params_after=params,
            macs_before=total_cost(self.costs, 'macs'), macs_after=total_cost(after, 'macs'),
            nonzero_after=nonzero_cost(network, after, 'params') if request.layout == 'unstructured' else params,
            budget=budget, reached=reached, latency=latency, request=request.words(),
            stages=compare_stages(self.net, network, cut), skipped=self.removable.skipped, notes=notes,
            likeness=None if judge is None else self.run(lambda: likeness(self.net, network, judge), judge))


def priced_job(job: Job, images: Tensor | None, progress: bool) -> Job:
    """A job whose channels have the importance that its request names, if that importance needs images."""
    importance = job.request.importance
    if importance == 'taylor':
        criterion = job.run(lambda: ChannelEffects(job.net, required(images), progress), images)
        return Job(job.net, job.request, job.example, criterion)
    if importance == 'obs':
        free = job.run(lambda: surgeon_prices(job.net, job.removable.free, required(images), progress), images)
        job.removable = dataclasses.replace(job.removable, free=free)
    return job


def must_have_target(net: nn.Module, request: Request) -> None:
    """Raise a PruningError if the request is for a part that the network does not have."""
    paths = [name for name, _ in net.named_modules() if name]
    if request.target is not None and request.target not in paths:
        close = difflib.get_close_matches(str(request.target), paths, n=1, cutoff=0.4)
        raise PruningError(f'prune: target {request.target!r} is no module of {type(net).__name__}' +
                           (f'; did you mean {close[0]!r}?' if close else '.'))


def required(value: _T | None) -> _T:
    """Return a value that an earlier check has found not to be None."""
    assert value is not None
    return value


def working_copy(net: nn.Module) -> nn.Module:
    """The network with its values as float32 on the CPU, in eval mode, its parameters requiring gradients."""
    state = net.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        raise PruningError(f'{type(net).__name__} is on the meta device and has no weights. Load its checkpoint first.')
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise PruningError(f'{type(net).__name__} has values that are not finite (NaN or infinity), first in '
                           f'{broken[0]}. Use an earlier checkpoint: this one has diverged.')
    try:
        copied = copy.deepcopy(net).cpu().float().eval()
    except RuntimeError as error:  # computed tensors, such as those of torch.nn.utils.weight_norm
        raise PruningError(f'{type(net).__name__} cannot be copied: {error}. Remove weight_norm and the like '
                           'first.') from error
    return copied.to(memory_format=torch.contiguous_format).requires_grad_(True)
