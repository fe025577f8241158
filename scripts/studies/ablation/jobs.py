"""The work of an ablation: options for every arm, and what happens to one run from its options to its figures."""
import hashlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from common.overrides import filled, with_iterations
from torch import nn
from tqdm import tqdm

from basicsr_kd.archs.build import build
from basicsr_kd.archs.from_file import build_from_file, read_architecture
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from studies.ablation.evaluate import Evaluator
from studies.ablation.flops import equal_cost_iterations
from studies.ablation.plan import ROOT, Run, Study, arm_options
from studies.ablation.run import Trainings, checkpoints, remove_run_folders, run_folder, write_run_options

HELD_OUT = 'held_out'
TEACHER = 'the teacher itself'
REFERENCES = ('bicubic', TEACHER)


def places(study: Study, output: Path, data: Path) -> dict[str, str]:
    """What the placeholders {data}, {work} and {teacher} in the options stand for."""
    folders = {'data': data, 'work': output, 'teacher': ROOT / study.teacher}
    return {name: str(path.resolve()) for name, path in folders.items()}


def study_options(study: Study, iterations: int | None, where: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """BasicSR's options of all arms, placeholders not filled in.

    Args:
        iterations: of every arm that is not given as many as cost what another arm's do.
        where: see `places`.

    Raises:
        AblationError, CheckpointError: networks whose cost is to be counted cannot be built.
    """
    options = {name: arm_options(study, name, iterations) for name in study.arms}
    for name, arm in study.arms.items():
        if arm.more_iterations_like:
            like = filled(options[arm.more_iterations_like], where)
            count = equal_cost_iterations(filled(options[name], where), like)
            options[name] = with_iterations(options[name], count, study.curve_points)
    return options


def run_prefix(output: Path) -> str:
    """How the names begin that BasicSR knows an output folder's runs by; another folder's begin otherwise."""
    return f'ablation_{hashlib.sha256(str(output.resolve()).encode()).hexdigest()[:8]}_'


def write_untrained(study: Study, path: Path) -> None:
    """A network of the teacher's architecture with the weights it would start from, for {work}/untrained.pth."""
    if not path.exists():
        file = str(ROOT / study.teacher)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            write_checkpoint(path, build(read_architecture(read_state_dict(file), file)).state_dict())


class Jobs:
    """Carries out runs, in any thread.

    Args:
        output: the ablation's folder; every run gets one in `output`/runs.
        where: see `places`.
    """

    def __init__(self, study: Study, evaluator: Evaluator, trainings: Trainings, output: Path,
                 where: Mapping[str, str]) -> None:
        self.trainings = trainings
        self._teacher = str(ROOT / study.teacher)
        self._evaluator = evaluator
        self._output = output.resolve()
        self._where = where
        self._prefix = run_prefix(output)
        remove_run_folders(self._prefix)

    def missing(self, row: Mapping[str, Any] | None) -> list[str]:
        """The sets that something is not measured on yet."""
        measured = row['sets'] if row else {}
        return [name for name in self._evaluator.sets if name not in measured]

    def reference(self, title: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
        """Measure bicubic enlargement or the teacher on the sets that are missing in `row`."""
        net = build_from_file(self._teacher) if title == TEACHER else None
        return self._measured(row or {'sets': {}}, net)

    def run(self, run: Run, row: Mapping[str, Any] | None, bar: tqdm) -> dict[str, Any]:
        """Train, unless `row` says what came of it, and measure on the sets that are missing.

        Args:
            bar: goes forward by the run's iterations, also where it fails.

        Raises:
            RunError: the training failed.
            StoppedError: the whole ablation is being ended.
        """
        folder = self._output / 'runs' / run.key
        if row is None:
            row = self._train(run, folder, bar)
        return self._measured(row, build_from_file(str(folder / 'net_g.pth')))

    def _train(self, run: Run, folder: Path, bar: tqdm) -> dict[str, Any]:
        name = self._prefix + run.key
        reached = 0

        def progress(iteration: int) -> None:
            nonlocal reached
            bar.update(iteration - reached)
            reached = iteration

        write_run_options(folder / 'options.yml', filled(run.options, self._where), name)
        start = time.perf_counter()
        try:
            self.trainings.train(folder / 'options.yml', folder / 'train.log', progress)
            seconds = time.perf_counter() - start
            files = checkpoints(name, run.iterations)
            curve = [(at, self._evaluator.psnr_y(build_from_file(str(file)), HELD_OUT)) for at, file in files.items()]
            shutil.copyfile(files[run.iterations], folder / 'net_g.pth')
        finally:
            progress(run.iterations)
            shutil.rmtree(run_folder(name), ignore_errors=True)
        net = build_from_file(str(folder / 'net_g.pth'))
        return {'arm': run.arm, 'seed': run.seed, 'digest': run.digest, 'iterations': run.iterations,
                'parameters': sum(p.numel() for p in net.parameters()), 'seconds': seconds, 'curve': curve, 'sets': {}}

    def _measured(self, row: Mapping[str, Any], net: nn.Module | None) -> dict[str, Any]:
        """A row with the sets that were missing."""
        return {**row, 'sets': row['sets'] | {name: self._evaluator.scores(net, name) for name in self.missing(row)}}
