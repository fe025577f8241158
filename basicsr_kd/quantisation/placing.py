"""Places quantisers: only the inputs of convolutions are rounded; sums of residual blocks stay in floating point.

A network's graph is recorded by torch.fx. Features that go through a concatenation or a nearest-neighbour upsampling
are rounded before it, only once, however many convolutions read them.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from basicsr_kd.deploy.export.graph import recording
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.quantisation.quantiser import Quantiser

_ACTIVATIONS = (nn.LeakyReLU, nn.ReLU, nn.PReLU)
_SLOPED = {F.leaky_relu, F.relu, torch.relu}


class RecordingError(BasicSRKDError):
    """A network's graph depends on its input, or holds what torch.fx does not know."""


@dataclass
class Source:
    """Features that convolutions read.

    Args:
        quantiser: What rounds them.
        maker: The convolution that makes them, if nothing else reads them: a factor of a channel can then go through
            its activation, which is positively homogeneous, into its weights; None if there is no such convolution.
        image: Whether they are the network's input.
    """
    quantiser: Quantiser
    maker: nn.Conv2d | None
    image: bool


@dataclass
class Group:
    """Sources that share one quantisation step, since they are linked by convolutions that read several side by side.

    Args:
        sources: The sources in the order in which the network makes them.
        readers: The convolutions by path, with the sources that each reads, in the order of its input channels.
    """
    sources: list[Source] = field(default_factory=list)
    readers: dict[str, list[Source]] = field(default_factory=dict)


@dataclass
class Placed:
    """A network with quantisers before its convolutions.

    Args:
        net: The network; its output is unchanged until its quantisers are set.
        groups: The groups of all quantisers.
        left: Convolutions that stay in floating point, with the reason.
    """
    net: fx.GraphModule
    groups: list[Group]
    left: dict[str, str]

    @property
    def readers(self) -> list[str]:
        """Paths of the convolutions that compute in 8 bits, in the order in which they run."""
        order = [str(node.target) for node in self.net.graph.nodes if node.op == 'call_module']
        wanted = {path for group in self.groups for path in group.readers}
        return [path for path in order if path in wanted]


def place(net: nn.Module, keep: Mapping[str, str]) -> Placed:
    """Put quantisers into a network.

    Args:
        net: The network in evaluation mode; its convolutions are shared with the result.
        keep: Convolutions that stay in floating point, with the reason, by path.

    Raises:
        RecordingError: `torch.fx` cannot record the network.
    """
    constants = [(module, key, value) for module in net.modules() for key, value in vars(module).items()
                 if isinstance(value, Tensor)]
    try:
        with recording():
            graph = fx.Tracer().trace(net)
    except Exception as error:  # fx's TraceError, or whatever the network's own code raises on symbols
        reason = f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'
        raise RecordingError(f'torch.fx cannot record {type(net).__name__} ({reason})') from error
    for module, key, value in constants:  # EDSR sets its mean again in each pass, here to a symbol
        setattr(module, key, value)
    return _Placing(fx.GraphModule(net, graph), keep).run()


class _Placing:
    """Goes through a graph and puts a quantiser before each convolution."""

    def __init__(self, net: fx.GraphModule, keep: Mapping[str, str]) -> None:
        self.net, self.keep = net, keep
        self.modules = dict(net.named_modules())
        self.sources: dict[fx.Node, Source] = {}
        self.rounded: dict[fx.Node, fx.Node] = {}
        self.left: dict[str, str] = {}

    def run(self) -> Placed:
        reads: dict[str, list[fx.Node]] = {}
        convs = [node for node in self.net.graph.nodes if isinstance(self._module(node), nn.Conv2d)]
        for node in convs:
            path = str(node.target)
            reason = self._reason(node, convs)
            if reason:
                self.left[path] = reason
                continue
            read = _first(node)
            reads[path] = list(self._leaves(read))
            node.replace_input_with(read, self._round(read))
        self.net.graph.eliminate_dead_code()
        self.net.recompile()
        for leaf, source in self.sources.items():
            source.maker = self._maker(leaf)
        return Placed(self.net, self._groups(reads), self.left)

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.modules.get(str(node.target)) if node.op == 'call_module' else None

    def _reason(self, node: fx.Node, convs: list[fx.Node]) -> str | None:
        """Why a convolution stays in floating point; None: it is rounded."""
        conv = self.modules[str(node.target)]
        assert isinstance(conv, nn.Conv2d)
        if str(node.target) in self.keep:
            return self.keep[str(node.target)]
        if conv.groups > 1:
            return 'grouped'
        if sum(other.target == node.target for other in convs) > 1:
            return 'runs more than once'
        return 'other padding than zeros' if conv.padding_mode != 'zeros' else None

    def _parts(self, node: fx.Node) -> list[fx.Node] | None:
        """The inputs whose values an operation passes on unchanged; None: it makes new values."""
        if node.target in (torch.cat, torch.concat) and 1 in (*node.args[1:], *node.kwargs.values()):
            return list(node.args[0])  # type: ignore[arg-type]
        nearest = node.target is F.interpolate and node.kwargs.get('mode', 'nearest') == 'nearest'
        return [_first(node)] if nearest else None

    def _leaves(self, node: fx.Node) -> Iterable[fx.Node]:
        parts = self._parts(node)
        if parts is None:
            yield node
        for part in parts or ():
            yield from self._leaves(part)

    def _round(self, node: fx.Node) -> fx.Node:
        """The node with the rounded values of this node; it is made only once."""
        if node not in self.rounded:
            parts = self._parts(node)
            graph = self.net.graph
            if parts is None:
                name = f'quantiser{len(self.sources)}'
                self.sources[node] = Source(Quantiser(), None, node.op == 'placeholder')
                self.net.add_submodule(name, self.sources[node].quantiser)
                with graph.inserting_after(node):
                    self.rounded[node] = graph.call_module(name, (node,))
            else:
                new = {part: self._round(part) for part in parts}
                with graph.inserting_after(node):
                    self.rounded[node] = graph.node_copy(node, lambda old: new.get(old, old))
        return self.rounded[node]

    def _maker(self, leaf: fx.Node) -> nn.Conv2d | None:
        """The convolution whose output, after an activation, only one quantiser reads."""
        module = self._module(leaf)
        sloped = isinstance(module, _ACTIVATIONS) or leaf.target in _SLOPED
        if not sloped or len(leaf.users) > 1:
            return None
        conv = self._module(_first(leaf))
        return conv if isinstance(conv, nn.Conv2d) and len(_first(leaf).users) == 1 else None

    def _groups(self, reads: dict[str, list[fx.Node]]) -> list[Group]:
        groups: list[tuple[set[fx.Node], list[str]]] = []
        for path, leaves in reads.items():
            touched = [group for group in groups if group[0] & set(leaves)]
            groups = [group for group in groups if group not in touched]
            groups.append((set(leaves).union(*(group[0] for group in touched)),
                           [*(other for group in touched for other in group[1]), path]))
        return [Group([source for leaf, source in self.sources.items() if leaf in leaves],
                      {path: [self.sources[leaf] for leaf in reads[path]] for path in paths})
                for leaves, paths in groups]


def _first(node: fx.Node) -> fx.Node:
    """The features that an operation is applied to: its first input."""
    found, = node.all_input_nodes[:1]
    return found
