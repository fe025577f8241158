"""What an ablation consists of: the YAML file, its arms as complete options, and which of them changed since."""
import copy
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from common.overrides import override, with_iterations

from basicsr_kd.errors import BasicSRKDError

ROOT = Path(__file__).resolve().parents[3]
"""Where runs work: relative paths in the YAML and in the options are meant from here."""
_NAME = re.compile(r'[\w+.-]+')


class AblationError(BasicSRKDError):
    """The request cannot be carried out; the message says what to change."""


class Arm(msgspec.Struct, forbid_unknown_fields=True):
    """One way to train; what it does not say is as in `like`, or else as in the study's `set`."""

    set: dict[str, Any] = {}
    like: str | None = None
    more_iterations_like: str | None = None
    """Train for so many iterations that it costs as much as this arm, see `studies.ablation.flops`."""
    note: str = ''


class Study(msgspec.Struct, forbid_unknown_fields=True):
    """The YAML file of an ablation."""

    base: str
    teacher: str
    """The trained network that the placeholder {teacher} stands for, and a row of its own in the tables."""
    arms: dict[str, Arm]
    groups: dict[str, list[str]]
    """Tables and pictures, each with its arms, the first of which the others are compared with."""
    seeds: Annotated[list[int], msgspec.Meta(min_length=1)]
    set: dict[str, Any] = {}
    held_out: Annotated[int, msgspec.Meta(ge=1)] = 20
    """How many of the photos are held out."""
    sub_size: int = 160
    """Side of the training photos' sub-images in HR pixels."""
    curve_points: Annotated[int, msgspec.Meta(ge=1)] = 6


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: str
    seed: int
    options: dict[str, Any]
    """BasicSR's, placeholders not filled in."""

    @property
    def key(self) -> str:
        """Its name in results.json and of its folder."""
        return f'{self.arm}_s{self.seed}'

    @property
    def iterations(self) -> int:
        return int(self.options['train']['total_iter'])

    @property
    def digest(self) -> str:
        """Changes when an option does."""
        return hashlib.sha256(json.dumps(self.options, sort_keys=True).encode()).hexdigest()[:12]


def read_study(path: Path) -> Study:
    """Read and check the YAML file.

    Raises:
        AblationError: it is missing, says something unknown, or names an arm that it does not have.
    """
    try:
        study = msgspec.convert(yaml.safe_load(path.read_text()), Study)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise AblationError(f'{path}: {error}') from None
    for name, arm in study.arms.items():
        if not _NAME.fullmatch(name):
            raise AblationError(f'{path}: arm {name!r} names folders; expected letters, digits and any of _ + . -')
        for key in ('like', 'more_iterations_like'):
            _known(study, getattr(arm, key), f'{path}: arms.{name}.{key}')
        _line_of(study, name)
    for group, names in study.groups.items():
        for name in names:
            _known(study, name, f'{path}: groups.{group}')
    return study


def chosen_arms(study: Study, names: list[str] | None) -> list[str]:
    """Arms by their own names and by those of groups, in the file's order; all where none is named.

    Raises:
        AblationError: there is no such arm or group.
    """
    wanted: set[str] = set()
    for name in names or study.arms:
        if name not in study.groups:
            _known(study, name, '--arms')
        wanted.update(study.groups.get(name, [name]))
    return [name for name in study.arms if name in wanted]


def arm_options(study: Study, name: str, iterations: int | None) -> dict[str, Any]:
    """BasicSR's options of an arm: `base`, then `set`, then the arms it is like, then its own.

    Args:
        iterations: replaces `train.total_iter`.

    Raises:
        AblationError: `base` cannot be read.
    """
    base = ROOT / study.base
    try:
        options = yaml.safe_load(base.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise AblationError(f'base: {error}') from None
    for changes in (study.set, *(arm.set for arm in _line_of(study, name))):
        options = override(options, changes)
    return with_iterations(options, iterations or int(options['train']['total_iter']), study.curve_points)


def runs_of(study: Study, name: str, options: Mapping[str, Any], seeds: list[int] | None = None) -> list[Run]:
    """One run a seed."""
    return [Run(name, seed, {**copy.deepcopy(dict(options)), 'manual_seed': seed}) for seed in seeds or study.seeds]


def _line_of(study: Study, name: str) -> list[Arm]:
    """The arms that an arm is like, the first one first, itself last."""
    line: list[Arm] = []
    next_name = name
    while next_name:
        if study.arms[next_name] in line:
            raise AblationError(f'arms.{name} is like itself')
        line.insert(0, study.arms[next_name])
        next_name = study.arms[next_name].like or ''
    return line


def _known(study: Study, name: str | None, where: str) -> None:
    if name is not None and name not in study.arms:
        raise AblationError(f'{where}: there is no arm {name!r}; the arms are {", ".join(study.arms)}')
