"""Runs methods over sets of images and measures results, size and speed, into what a JSON file can hold."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from basicsr_kd.evaluation.checks import CheckedSets, check_measurable, read_pair
from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.evaluation.images import write_image
from basicsr_kd.evaluation.methods import Method, Network
from basicsr_kd.evaluation.protocol import describe
from basicsr_kd.evaluation.scorer import MethodScores, Scorer
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.metrics.errors import MetricError
from basicsr_kd.metrics.precision import full_fp32
from basicsr_kd.metrics.speed import Speed, device_info, measure_speed

FORMAT = 'basicsr-kd evaluation 1'


def evaluate(methods: Sequence[Method], checked: CheckedSets, scorer: Scorer, *, lr_size: int = 64,
             formats: Sequence[str] = (), save_images: Path | None = None, progress: bool = False) -> dict[str, Any]:
    """Evaluate methods on sets.

    Args:
        methods: What to compare, with names that differ.
        checked: The sets; with LR for all but finished images.
        scorer: What to measure, and where.
        lr_size: Side of the LR image that cost and speed of networks are stated for.
        formats: Number formats in which networks are timed, none: no timing.
        save_images: Folder for the results, as <method>/<set>/<image>.png.
        progress: Whether to show a bar.

    Returns:
        What a JSON file can hold, the PSNR of equal images being 'inf': `format`, `protocol`, `device`, `sets`, metrics
        `left_out` and files `skipped` with the reason, `warnings`, and `methods`, each with its `network` options,
        `complexity`, `speed` by format, and `scores` by set: `images` by metric and image, their `mean`, `fid`, `kid`.
        `about` is empty, for the reader's own tags.

    Raises:
        EvaluationError: Images or sets are too small, a network is for another scale or fails, or two methods would
            save into one folder.
        MetricError: A result cannot be compared with its ground truth.
        OSError: An image cannot be saved.
    """
    check_measurable(checked, scorer.metrics, scorer.protocol.border)
    folders = _folders(methods, save_images) if save_images else {}
    networks = {method.name: method for method in methods if isinstance(method, Network)}
    for network in networks.values():
        if network.scale != checked.scale:
            raise EvaluationError(f'{network.file} enlarges {network.scale} times, and the ground truth is '
                                  f'{checked.scale} times as large as LR. Expected networks and sets of one scale.')
    protocol = scorer.protocol
    warnings: list[str] = []
    scores: dict[str, dict[str, Any]] = {method.name: {} for method in methods}
    total = sum(len(one.pairs) for one in checked.sets) * len(methods)
    with full_fp32(), tqdm(total=total, desc='evaluating', unit=' images', disable=not progress) as bar:
        for one in checked.sets:
            truths: dict[str | int, dict[str, Tensor]] = {}
            gathered = {method.name: MethodScores(scorer, truths) for method in methods}
            for pair in one.pairs:
                lr, hr = read_pair(pair, checked.scale)
                for method in methods:
                    bar.set_postfix_str(f'{method.name} on {one.name}', refresh=False)
                    result = method.run(pair, lr)
                    try:
                        gathered[method.name].add(pair.name, result, hr)
                    except MetricError as error:
                        raise MetricError(f'{pair.hr}, {method.name}: {error}') from error
                    if folders:
                        write_image(folders[method.name] / one.name / f'{pair.name}.png', result)
                    bar.update()
            for name, found in gathered.items():
                scores[name][one.name] = found.results()
            warnings += [f'{one.name}: {text}' for text in _of_methods(
                {name: found.warnings() for name, found in gathered.items()})]
    costs = _costs(networks, lr_size, formats, scorer.device, warnings, progress)
    return _without_infinity({
        'format': FORMAT,
        'protocol': {'scale': checked.scale, 'border': protocol.border, 'channel': protocol.channel,
                     'lpips_net': protocol.lpips_net if 'lpips' in scorer.metrics else None,
                     'text': describe(protocol, scorer.metrics, checked.scale, checked.cropped)},
        'device': device_info(scorer.device),
        'sets': [{'name': one.name, 'images': [pair.name for pair in one.pairs], 'hr': str(one.hr),
                  'lr': one.lr and str(one.lr)} for one in checked.sets],
        'left_out': scorer.left_out, 'skipped': dict(checked.skipped), 'warnings': warnings,
        'methods': [{'name': method.name, 'kind': method.kind, 'file': method.file and str(method.file),
                     'network': method.options if isinstance(method, Network) else None, 'about': {},
                     **costs.get(method.name, {'complexity': None, 'speed': {}}), 'scores': scores[method.name]}
                    for method in methods]})


def _costs(networks: dict[str, Network], lr_size: int, formats: Sequence[str], device: str | torch.device,
           warnings: list[str], progress: bool) -> dict[str, dict[str, Any]]:
    """`complexity` and `speed` of each network; where they cannot be had, a warning, since the scores hold without."""
    speeds: dict[str, dict[str, Speed]] = {}
    if networks and formats:
        try:
            speeds, failures = measure_speed({name: network.net for name, network in networks.items()},
                                             (lr_size, lr_size), formats, device, progress=progress)
            warnings += [f'{name}: it cannot be timed in {kind} at {lr_size}x{lr_size}: {reason}'
                         for (name, kind), reason in failures.items()]
        except Exception as error:  # no memory for the image; whatever a device raises
            warnings.append(f'Nothing can be timed at {lr_size}x{lr_size}: {error}')
    costs: dict[str, dict[str, Any]] = {}
    for name, network in networks.items():
        counted = None
        try:
            counted = {**dataclasses.asdict(complexity(network.net, (lr_size, lr_size))),
                       'file_bytes': network.file.stat().st_size, 'counter': 'mmengine'}
        except Exception as error:  # whatever tracing makes of the network's own code
            warnings.append(f'{name}: its operations cannot be counted: {error}')
        costs[name] = {'complexity': counted, 'speed': {kind: dataclasses.asdict(speed)
                                                        for kind, speed in speeds.get(name, {}).items()}}
    return costs


def _folders(methods: Sequence[Method], root: Path) -> dict[str, Path]:
    """Where the images of each method go."""
    folders: dict[str, Path] = {}
    for method in methods:
        folder = root / method.name.replace('/', '_')
        for other, its in folders.items():
            if its == folder:
                raise EvaluationError(f'The images of {other} and {method.name} would both be saved in {folder}. '
                                      'Expected names that differ in more than a / and a _: rename a file or folder.')
        folders[method.name] = folder
    return folders


def _of_methods(warnings: Mapping[str, Sequence[str]]) -> list[str]:
    """Warnings once each, with the methods before those that are not of all."""
    methods: dict[str, list[str]] = {}
    for name, texts in warnings.items():
        for text in texts:
            methods.setdefault(text, []).append(name)
    return [text if len(names) == len(warnings) else f'{", ".join(names)}: {text}' for text, names in methods.items()]


def _without_infinity(value: Any) -> Any:
    """The same, with lists for tuples and with infinity as the word 'inf', since JSON knows none."""
    if isinstance(value, dict):
        return {key: _without_infinity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_infinity(item) for item in value]
    return 'inf' if value == math.inf else value
