"""The YAML section `prune:` of a run, and `prune:` of a teacher. Imports neither torch nor BasicSR."""
from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import msgspec

from basicsr_kd.errors import OptionsError, PruneOptionError
from basicsr_kd.options.convert import Section
from basicsr_kd.utils.prune_request import Allocation, Device, Dtype, Importance, Layout, Of, Request, Runtime, Select


class CalibrationOptions(Section):
    """The images that some ways of pruning look at: low-resolution ones, the network's inputs; for an FRNet clips.

    The network of TecoGANModel sees clips of ground truth, of which low resolution is made as in training; with
    degradation BI, clips of low resolution.
    """
    # default: dataroot_lq of the training set; dataroot_gt where low resolution is made in training, as it is there
    dataroot: str | None = None
    num: Annotated[int, msgspec.Meta(ge=1)] = 16  # how many
    size: Annotated[int, msgspec.Meta(ge=8)] = 96  # side of the square cut out of the middle of each


class PruneOptions(Section):
    """One pruning step. What most keys mean says `basicsr_kd.pruning.prune`; which values go together, `Request`.

    With `steps` above 1 the ratio (or `keep`) is reached in that many stages while the network is fine-tuned: the first
    before iteration 1, each further one `every` iterations later.
    """
    ratio: float | None = None  # share to take away, from 0 to less than 1
    keep: int | None = None  # instead, for layout blocks: how many blocks stay
    of: Of = 'params'  # what the share counts; latency is time measured here
    layout: Layout = 'growth'  # what goes
    allocation: Allocation = 'global'  # each layer has a width of its own, or all the same
    importance: Importance = 'taylor'  # what stays; taylor and obs look at calibration images
    round_to: Literal[32, 16, 8, 4, 1] = 16  # widths are multiples of it
    select: Select = 'least'  # for layout blocks: which go
    target: str | None = None  # prune this part of the network alone
    device: Device | None = None  # of latency: where time is measured
    runtime: Runtime | None = None  # of latency: the program; default: openvino if it is installed
    dtype: Dtype | None = None  # of latency: number format; default: the fastest here
    size: Annotated[int, msgspec.Meta(ge=1)] | None = None  # of latency: side of the image; default: 128
    reconstruct: bool = False  # whether layers are refitted on calibration images
    # how long all of it may take, with gradient steps on calibration images
    minutes: Annotated[float, msgspec.Meta(ge=0)] = 0
    calibration: CalibrationOptions = msgspec.field(default_factory=CalibrationOptions)  # the images
    steps: Annotated[int, msgspec.Meta(ge=1)] = 1  # stages in which the share is reached while training
    every: Annotated[int, msgspec.Meta(ge=1)] | None = None  # iterations from stage to stage

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `prune` and `Request`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Request)}

    def request(self) -> Request:
        """What the pruning is asked for; a PruneOptionError where the keys do not go together."""
        return Request(**self.arguments())


def prune_steps(section: Any) -> list[PruneOptions]:
    """A validated `prune:` section, mapping or list, as the list of its steps; none for a missing section."""
    if section is None:
        return []
    return msgspec.convert(section if isinstance(section, list) else [section], list[PruneOptions])


def check_steps(section: Any, key: str, total_iter: int | None) -> None:
    """What no single key can tell: which go together.

    Args:
        section: A converted `prune:` section.
        key: Its name in the options file.
        total_iter: The run's iterations; None where the section is that of a teacher, which is pruned at once.

    Raises:
        OptionsError: Two keys that exclude each other, or one that needs another.
    """
    steps = prune_steps(section)
    for index, step in enumerate(steps):
        where = f'{key}[{index}]' if isinstance(section, list) else key
        try:
            step.request()
        except PruneOptionError as error:
            raise OptionsError(f'{where}.{error.option} {error.reason}') from None
        if step.steps > 1 and total_iter is None:
            raise OptionsError(f'{where}.steps: found {step.steps}; a teacher does not train, so it is pruned at once. '
                               'Prune it in stages in a run of its own, with model_type: PruneGANModel')
        if step.steps > 1 and len(steps) > 1:
            raise OptionsError(f'{where}.steps: found {step.steps} in a list of {len(steps)}; pruning in stages while '
                               f'training takes a single {key} section')
        _check_stages(step, where, total_iter)


def _check_stages(step: PruneOptions, where: str, total_iter: int | None) -> None:
    if step.steps > 1 and step.of == 'latency':
        raise OptionsError(f'{where}.steps: {step.steps} stages share out parameters, MACs or blocks, and of latency '
                           'measures time once; expected steps 1, or of params or macs')
    if step.steps == 1 and step.every is not None:
        raise OptionsError(f'{where}.every: found {step.every}, the iterations between stages; it needs steps: the '
                           'number of stages, 2 or more')
    if step.steps > 1 and step.every is None:
        raise OptionsError(f'{where}.every is missing: the iterations from one of the {step.steps} stages (steps) to '
                           'the next')
    if total_iter is not None and step.every is not None and (step.steps - 1) * step.every >= total_iter:
        raise OptionsError(f'{where}: the last of {step.steps} stages comes after iteration '
                           f'{(step.steps - 1) * step.every:,} (every {step.every:,}), but train.total_iter is '
                           f'{total_iter:,}; expected (steps - 1) * every to be less')
