"""Drive a model of ours as BasicSR's train.py does, without its files and logs."""
from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

import torch
from basicsr.models import build_model

from basicsr_kd import options, preflight
from basicsr_kd.runs.resume import load_resume_state


def start(opt: dict[str, Any]) -> Any:
    """Validate, check, resume if asked, and build the model; `opt` itself stays as it was."""
    opt = copy.deepcopy(opt)
    for folder in ('models', 'training_states'):
        os.makedirs(opt['path'][folder], exist_ok=True)
    options.validate(opt, opt['is_train'])
    preflight.check(opt)
    state = load_resume_state(opt) if opt['is_train'] else None
    model = build_model(opt)
    if state:
        model.resume_training(state)
    return model


def batch(seed: int) -> dict[str, torch.Tensor]:
    """The same batch for the same seed: lq (2, 3, 32, 32), gt (2, 3, 128, 128), RGB in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return {'lq': torch.rand(2, 3, 32, 32, generator=generator), 'gt': torch.rand(2, 3, 128, 128, generator=generator)}


def train(model: Any, first: int, last: int) -> None:
    """Iterations `first` … `last`, each on its own batch."""
    for iteration in range(first, last + 1):
        model.update_learning_rate(iteration)
        model.feed_data(batch(iteration))
        model.optimize_parameters(iteration)


def start_and_save(opt: dict[str, Any], iterations: int, train: Callable[[Any, int, int], None] = train) -> Any:
    """A model that trained so long, by default on images, and was saved then."""
    model = start(opt)
    train(model, 1, iterations)
    model.save(0, iterations)
    return model


def train_on_and_resume(model: Any, opt: dict[str, Any], first: int, last: int,
                        train: Callable[[Any, int, int], None] = train) -> Any:
    """Train a saved model on; returns one that resumed from what it had saved and trained just as long."""
    train(model, first, last)
    again = start({**opt, 'auto_resume': True})
    train(again, first, last)
    return again


def train_share(opt: dict[str, Any], rank: int, world_size: int) -> Any:
    """Four iterations on this process's share of each batch."""
    model = start({**opt, 'dist': world_size > 1, 'rank': rank, 'world_size': world_size})
    for iteration in range(1, 5):
        model.update_learning_rate(iteration)
        model.feed_data({name: images[rank::world_size] for name, images in batch(iteration).items()})
        model.optimize_parameters(iteration)
    return model


def weights(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def first_logs(opt: dict[str, Any], *changes: dict[str, Any], steps: Callable[[Any, int, int], None]) -> list[Any]:
    """The log after one iteration from the same start, for each of some changes to `train:`."""
    logs = []
    for change in changes:
        changed = copy.deepcopy(opt)
        changed['train'].update(change)
        torch.manual_seed(3)
        model = start(changed)
        steps(model, 1, 1)
        logs.append(model.get_current_log())
    return logs
