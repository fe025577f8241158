"""Reads evaluations and puts their methods side by side."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from basicsr_kd.errors import OptionsError, ReportError
from basicsr_kd.evaluation.schema import (
    FORMAT,
    About,
    Evaluation,
    MeasuredMethod,
    MeasuredProtocol,
    MeasuredSet,
)
from basicsr_kd.options.convert import convert
from basicsr_kd.report.comparable import check_images, check_sets, common_protocol, drop_other_sizes, merge
from basicsr_kd.utils.measured import Device
from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import closest


@dataclass(frozen=True)
class Timing:
    """Where and on what all seconds were measured."""

    device: Device
    lr_size: tuple[int, int]

    def __str__(self) -> str:
        threads = f'{self.device.threads} thread{"s" if self.device.threads != 1 else ""}'
        return (f'{self.device.name}, {threads}, PyTorch {self.device.torch}, one LR image of '
                f'{self.lr_size[1]}x{self.lr_size[0]}')


@dataclass(frozen=True)
class Runs:
    """The methods of comparable evaluations, that is with one protocol and the same images."""

    protocol: MeasuredProtocol
    timing: Timing | None
    """None where nothing was timed."""
    sets: tuple[MeasuredSet, ...]
    methods: tuple[MeasuredMethod, ...]
    """The methods; here each seed is a method of its own."""
    notes: tuple[str, ...]
    """What a reader must know about the figures, one or two sentences each."""

    @property
    def clips(self) -> bool:
        """Whether the sets are of clips."""
        return any(images.clips for images in self.sets)

    @property
    def photos(self) -> bool:
        """Whether the sets have no ground truth."""
        return not any(images.hr for images in self.sets)


def read_runs(paths: Sequence[Path], about: Path | None = None) -> Runs:
    """Read evaluations.

    A method may be in several files (bicubic is in most) as long as the figures that the files share are the same;
    each file may have metrics of its own. Seconds from another device do not compare, nor do seconds, MACs and
    activations of another LR size: the first method's stay, the others are dropped with a note.

    Args:
        paths: Files of `basicsr-kd evaluate --json`, at least one.
        about: A YAML file with tags by method name (`About`), which replace those in the evaluations.

    Raises:
        ReportError: A file is no evaluation or has another format version; protocols, sets or images differ; one
            method has different figures; tags are invalid, or are for a method that is not there.
    """
    files = {path: _read(path) for path in paths}
    protocol = common_protocol(files)
    check_sets(files)
    sets = next(iter(files.values())).sets
    tags = _read_tags(about, [method.name for found in files.values() for method in found.methods]) if about else {}
    notes = [note for path, found in files.items() for note in _notes(path, found)]
    methods: dict[tuple[str, int | None], tuple[Path, MeasuredMethod]] = {}
    timing = None
    for path, found in files.items():
        for method in found.methods:
            method = _tagged(method, tags.get(method.name, {}))
            check_images(path, method, sets)
            for timed in [Timing(found.device, speed.lr_size) for speed in method.speed.values()]:
                timing = timing or timed
                if timed != timing:
                    notes.append(f'The seconds of {method.name} ({path}) are left out: {timed} does not compare with '
                                 f'{timing}.')
                    method = msgspec.structs.replace(method, speed={})
                    break
            key = (method.name, method.about.seed)
            if key in methods:
                first, known = methods[key]
                methods[key] = (first, merge(first, known, path, method))
            else:
                methods[key] = (path, method)
    kept, more = drop_other_sizes(list(methods.values()))
    return Runs(protocol, timing, tuple(sets), tuple(method for _, method in kept),
                tuple(dict.fromkeys([*notes, *more])))


def _read(path: Path) -> Evaluation:
    expected = 'Expected a file that `basicsr-kd evaluate --json FILE` wrote.'
    try:
        content: Any = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ReportError(f'{path} cannot be read: {error.strerror}. {expected}') from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(f'{path} is no JSON: {error}. {expected}') from None
    found = content.get('format') if isinstance(content, dict) else None
    if not isinstance(found, str) or not found.startswith(FORMAT.rpartition(' ')[0]):
        raise ReportError(f'{path} is no evaluation. {expected}')
    if found != FORMAT:
        raise ReportError(f'{path} has the format {found!r}, and this version of basicsr_kd reads {FORMAT!r}. Evaluate '
                          'again with this version, or install the one that wrote the file.')
    try:
        evaluation = msgspec.convert(content, Evaluation)
    except msgspec.ValidationError as error:
        raise ReportError(f'{path} is an evaluation with a fault: {error}. {expected}') from None
    if not evaluation.methods or not evaluation.sets:
        raise ReportError(f'{path} is an evaluation of nothing: it has no methods or no sets. {expected}')
    return evaluation


def _read_tags(path: Path, names: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    expected = 'Expected method names with tags, e.g. `kd_s16: {role: student, features: 16, pruned: 0.3}`.'
    try:
        content = yaml.safe_load(path.read_text('utf-8'))
    except OSError as error:
        raise ReportError(f'--about: {path} cannot be read: {error.strerror}. {expected}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ReportError(f'--about: {path} is no YAML: {error}. {expected}') from None
    if not isinstance(content, dict) or not all(isinstance(tags, dict) for tags in content.values()):
        raise ReportError(f'--about: {path} does not give methods tags. {expected}')
    for name, tags in content.items():
        if name not in names:
            raise ReportError(f'--about: {path} has tags for {name!r}, of which there is no evaluation; '
                              f'{closest(str(name), set(names))}')
        try:
            convert(tags, About, str(name), {str(name): About})
        except OptionsError as error:
            raise ReportError(f'--about: {path}: {error}') from None
    return content


def _tagged(method: MeasuredMethod, tags: Mapping[str, Any]) -> MeasuredMethod:
    """Tag a method: given tags come before its own, and these before what its kind and its network's options tell."""
    told: dict[str, Any] = {'role': 'bicubic'} if method.kind == 'bicubic' else {}
    network = method.network or {}
    features, blocks = network.get('num_feat'), network.get('base', network).get('nb')  # base: where FNet is narrower
    told |= {'features': features} if isinstance(features, int) and features > 0 else {}
    told |= {'blocks': blocks} if isinstance(blocks, int) and blocks >= 0 else {}
    told |= {name: value for name, value in msgspec.structs.asdict(method.about).items() if value is not None}
    return msgspec.structs.replace(method, about=About(**{**told, **tags}))


def _notes(path: Path, evaluation: Evaluation) -> list[str]:
    metrics = {why: [METRICS[metric].title if metric in METRICS else metric
                     for metric, its in evaluation.left_out.items() if its == why]
               for why in evaluation.left_out.values()}
    return [*(f'Without {" and ".join(names)} ({path}): {why}' for why, names in metrics.items()),
            *(f'Without an image ({path}): {file} {why}' for file, why in evaluation.skipped.items()),
            *evaluation.warnings]
