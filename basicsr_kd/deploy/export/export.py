"""Writes a checkpoint as a file for a runtime, and tries it there."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from basicsr_kd.deploy.export.formats import FORMATS, place
from basicsr_kd.deploy.export.graph import graph_of
from basicsr_kd.deploy.export.verify import Trial, try_out
from basicsr_kd.deploy.export.writers import Job, held, runners, write
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.errors import ExportError
from basicsr_kd.utils.extras import load

if TYPE_CHECKING:
    from basicsr_kd.deploy.export.compare import Way


class ToleranceError(ExportError):
    """A file was written, but does not give what PyTorch gives; `trials` has the figures."""

    def __init__(self, text: str, trials: Sequence[Trial]) -> None:
        super().__init__(text)
        self.trials = trials


@dataclass(frozen=True)
class Plan:
    """An opened network, and where its file goes."""

    job: Job
    network: TorchNetwork
    folder: Path
    inside: Path
    """The file's path in the folder."""

    @property
    def files(self) -> list[Path]:
        """The files that are written, as far as names are known before; comfyui may get a folder of code, too."""
        path = self.folder / self.inside
        return [path, *(path.with_suffix(suffix) for suffix in FORMATS[self.job.kind].beside)]


def plan(job: Job, out: Path) -> Plan:
    """Open the network and name the file; nothing is written.

    Raises:
        ExportError: The name does not fit the network or the format.
        CheckpointError, InferError: The file holds no network of RGB images.
    """
    network = TorchNetwork(job.weights.stem, job.weights, param_key=job.param_key)
    must_take_colours(network)
    return Plan(job, network, *place(job.kind, out, job.weights.stem, network.scale, job.precision))


def must_take_colours(network: TorchNetwork) -> None:
    """Raise an ExportError for a network of luma, since other programs would give it colours."""
    if network.channels != 3:
        raise ExportError(f'{network.file} takes images of one channel. Expected a network of three: what other '
                          'programs give a network is RGB. `basicsr-kd infer` and `evaluate` run it in PyTorch.')


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        trials: How the network does in each runtime and precision.
        files: The files that were written.
        ways: For 8 bits: this way and others.
        notes: Sentences for people.
    """

    trials: list[Trial]
    files: list[Path]
    ways: list[Way]
    notes: list[str]


def export(plan: Plan, images: Sequence[np.ndarray], say: Callable[[str], None] = lambda text: None,
           timed: bool = True, compared: bool = False) -> Exported:
    """Write a network and try it; files get their names only once it works.

    Args:
        plan: What to write, and where.
        images: Real images, (h, w, 3) BGR uint8, at least one.
        say: Is told what comes next.
        timed: Whether the network is timed, too.
        compared: Whether 8 bits are compared with other ways to 8 bits, which takes longer than all the rest.

    Raises:
        ExportError: The format cannot hold the network.
        ToleranceError: The network does not give there what it gives in PyTorch.
        MissingExtraError: A package is missing.
        OSError: A file cannot be written.
    """
    job, network = plan.job, plan.network
    graph = graph_of(network.net, network.scale, network.multiple)
    given = [graph.of_image(image) for image in images]
    rounded = graph
    notes: list[str] = []
    if job.calibration is not None:
        from basicsr_kd.deploy.export.int8 import to_eight_bits  # imports all of pruning, which is slow
        for package in ('onnx', {'onnx': 'onnxruntime'}.get(job.kind, job.kind)):
            load(package, f'--format {job.kind}')  # now, before minutes of rounding
        rounded, notes, by_nncf = to_eight_bits(graph, job.calibration, say)
        job = replace(job, by_nncf=by_nncf)
    with _folder_near(plan.folder) as folder:
        say(f'writing {plan.inside.name}')
        draft = folder / plan.inside
        draft.parent.mkdir(parents=True, exist_ok=True)
        files = write(job, rounded, draft, plan.folder / plan.inside)
        trials = []
        for runner in runners(job, draft):
            say(f'trying it in {runner.name}, {runner.precision}')
            trials.append(try_out(job.kind, runner, files, graph, held(job.kind, graph), given, timed))
        failures = [f'in {trial.runtime}, {trial.precision}: {trial.failure}' for trial in trials if trial.failure]
        if failures:
            raise ToleranceError(f'{plan.inside.name} does not do what {job.weights.name} does: {"; ".join(failures)}. '
                                 'Nothing was left behind.', trials)
        ways: list[Way] = []
        if compared and job.calibration is not None:
            from basicsr_kd.deploy.export.compare import compare  # slow, too
            ways = compare(job, graph, files, given, say)
        final = [plan.folder / file.relative_to(folder) for file in files]
        for file, path in zip(reversed(files), reversed(final), strict=True):  # the file that users name comes last
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, path)
    return Exported(trials, final, ways, notes)


@contextmanager
def _folder_near(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as another folder, which may not exist yet."""
    near = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    with tempfile.TemporaryDirectory(prefix='.export.', dir=near) as temporary:
        yield Path(temporary)
