"""The layout `unstructured`: single weights become zero; the network keeps its shape and its speed."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from basicsr_kd.pruning.cost import TensorCost
from basicsr_kd.pruning.cut import Cut


def nonzero_cost(net: nn.Module, costs: dict[str, TensorCost], of: str) -> int:
    """Parameters (or MACs) of a network that are not zero; on the meta device all of them count."""
    parameters = dict(net.named_parameters())
    return sum(cost.cost(of) if parameters[name].is_meta else
               int(torch.count_nonzero(parameters[name])) * (cost.uses if of == 'macs' else 1)
               for name, cost in costs.items())


def weights_cost(costs: dict[str, TensorCost], of: str) -> int:
    """The cost of all that can become zero: the weights of convolutions and linear layers."""
    return sum(cost.cost(of) for cost in _weights(costs).values())


def zero_weights(net: nn.Module, costs: dict[str, TensorCost], *, of: str, budget: float, allocation: str,
                 importance: str, effects: Mapping[str, Tensor]) -> Cut:
    """Choose the weights that become zero, the least important first. Biases and other parameters stay.

    `global` compares all weights of the network, `uniform` takes the same share of each layer.

    Args:
        net: The network.
        costs: The parameters that may be changed and that the budget counts.
        of: 'params' or 'macs': with MACs each weight counts as often as it is used.
        budget: The cost of all that stays and is not zero.
        allocation: 'global' or 'uniform'.
        importance: 'l1' and 'l2' (the same here: magnitude), 'lamp', 'taylor' or 'random'.
        effects: For 'taylor': the result of `basicsr_kd.pruning.channels.importance.weight_effects`.
    """
    parameters = {name: parameter for name, parameter in net.named_parameters() if name in costs}
    weights = _weights(costs)
    scores = {name: (effects[name] if importance == 'taylor' else _scores(parameters[name], importance)).flatten()
              for name in weights}
    uses = {name: cost.uses if of == 'macs' else 1 for name, cost in weights.items()}
    excess = nonzero_cost(net, costs, of) - budget
    zeroed = {}
    if allocation == 'uniform':
        share = excess / sum(int(torch.count_nonzero(parameters[name])) * uses[name] for name in weights)
        for name, values in scores.items():
            already = int((parameters[name] == 0).sum())
            count = already + round(share * (values.numel() - already))
            zeroed[name] = _smallest(values, count).view_as(parameters[name])
        return Cut(zeroed=zeroed)
    values = torch.cat(list(scores.values()))
    price = torch.cat([torch.full((len(values),), float(uses[name]), dtype=torch.float64)
                       for name, values in scores.items()])
    price *= torch.cat([(parameters[name].flatten() != 0) for name in scores])  # weights at zero save nothing
    order = values.argsort(stable=True)
    saved = price[order].cumsum(0)
    count = int((saved < excess - 0.5).sum()) + 1 if excess >= 0.5 else 0
    gone = torch.zeros(len(values), dtype=torch.bool)
    gone[order[:count]] = True
    masks = gone.split([len(values) for values in scores.values()])
    return Cut(zeroed={name: mask.view_as(parameters[name]) for name, mask in zip(scores, masks, strict=True)})


def _weights(costs: dict[str, TensorCost]) -> dict[str, TensorCost]:
    return {name: cost for name, cost in costs.items() if len(cost.shape) > 1}


@torch.no_grad()
def _scores(parameter: Tensor, importance: str) -> Tensor:
    """The importance of each weight, at least 0; 0 for weights that are zero already."""
    magnitude = parameter.abs()
    if importance in ('l1', 'l2'):
        return magnitude
    if importance == 'random':
        return torch.rand_like(magnitude) * (magnitude != 0)
    squares = magnitude.flatten().double().square()  # lamp: its square over the sum of all at least as large
    order = squares.argsort()
    tails = squares[order].flip(0).cumsum(0).flip(0)
    result = torch.zeros_like(squares)
    result[order] = squares[order] / tails.clamp_min(1e-300)
    return result.view_as(parameter)


def _smallest(values: Tensor, count: int) -> Tensor:
    mask = torch.zeros(len(values), dtype=torch.bool)
    mask[values.argsort(stable=True)[:count]] = True
    return mask
