"""Puts together what an evaluation leaves: the same for images and clips."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from msgspec.structs import replace

from basicsr_kd.checkpoint import checkpoint_bytes
from basicsr_kd.errors import EvaluationError
from basicsr_kd.evaluation.methods import Method, Network
from basicsr_kd.evaluation.schema import Evaluation, MeasuredMethod, MeasuredProtocol, MeasuredSet, SetFigures
from basicsr_kd.evaluation.scorer import ClipMethodScores, MethodScores, Scorer
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.metrics.speed import device_info, measure_speed
from basicsr_kd.utils.measured import Complexity, Speed

Costs = Mapping[str, tuple[Complexity | None, dict[str, Speed]]]
"""By method: size and work, None where they cannot be counted, and speed by number format."""


def record(methods: Sequence[Method], scorer: Scorer, *, scale: int | None, text: str, sets: Sequence[MeasuredSet],
           scores: Mapping[str, dict[str, SetFigures]], costs: Costs, warnings: Sequence[str],
           skipped: Mapping[str, str]) -> Evaluation:
    """Put figures together with what they hold for.

    Args:
        methods: What was compared.
        scorer: What was measured, and where.
        scale: How many times larger than LR results are; None without LR.
        text: The protocol in words.
        sets: What was measured on.
        scores: By method and set.
        costs: Of networks.
        warnings: What a reader has to know.
        skipped: Files and why they are left out.
    """
    protocol = scorer.protocol
    rows = []
    for method in methods:
        complexity, speed = costs.get(method.name, (None, {}))
        rows.append(MeasuredMethod(
            name=method.name, kind=method.kind, file=str(method.file) if method.file else None,
            network=method.options if isinstance(method, Network) else None, complexity=complexity, speed=speed,
            scores=scores[method.name]))
    return Evaluation(
        protocol=MeasuredProtocol(scale=scale, border=protocol.border, channel=protocol.channel, text=text,
                                  lpips_net=protocol.lpips_net if scorer.lpips else None, clips=protocol.clips),
        device=device_info(scorer.device), sets=list(sets), left_out=scorer.left_out, skipped=dict(skipped),
        warnings=list(warnings), methods=rows)


def networks_of(methods: Sequence[Method], scale: int | None) -> dict[str, Network]:
    """The networks among methods, by name.

    Raises:
        EvaluationError: One is for another scale.
    """
    networks = {method.name: method for method in methods if isinstance(method, Network)}
    for network in networks.values():
        if network.scale != scale:
            raise EvaluationError(f'{network.file} enlarges {network.scale} times, and the ground truth is {scale} '
                                  'times as large as LR. Expected networks and sets of one scale.')
    return networks


def folders_of(methods: Sequence[Method], root: Path) -> dict[str, Path]:
    """Where the images of each method go, by name.

    Raises:
        EvaluationError: Two would go into one folder.
    """
    folders: dict[str, Path] = {}
    for method in methods:
        folder = root / method.name.replace('/', '_')
        for other, its in folders.items():
            if its == folder:
                raise EvaluationError(f'The images of {other} and {method.name} would both be saved in {folder}. '
                                      'Expected names that differ in more than a / and a _: rename a file or folder.')
        folders[method.name] = folder
    return folders


def results_of(one: str, gathered: Mapping[str, MethodScores | ClipMethodScores],
               scores: Mapping[str, dict[str, SetFigures]], warnings: list[str]) -> None:
    """Put what was gathered on a set, by method, into `scores` under its name, and what a reader has to know, too.

    A warning stands there once, with the methods before it that it is of, if not of all.
    """
    methods: dict[str, list[str]] = {}
    for name, found in gathered.items():
        scores[name][one] = found.results()
        for text in found.warnings():
            methods.setdefault(text, []).append(name)
    warnings += [f'{one}: {text}' if len(names) == len(gathered) else f'{one}: {", ".join(names)}: {text}'
                 for text, names in methods.items()]


def network_costs(networks: Mapping[str, Network], lr_size: int, formats: Sequence[str], device: str | torch.device,
                  warnings: list[str], progress: bool = False) -> Costs:
    """Count and time networks; of one that goes from frame to frame, one step.

    Args:
        networks: By the name of their method.
        lr_size: Side of the LR image that costs are stated for.
        formats: Number formats in which they are timed, none: no timing.
        device: Where they are timed.
        warnings: What cannot be had is told here, and left out: the scores hold without.
        progress: Whether to show a bar.
    """
    speeds: dict[str, dict[str, Speed]] = {}
    if networks and formats:
        try:
            speeds, failures = measure_speed({name: network.net for name, network in networks.items()},
                                             (lr_size, lr_size), formats, device, progress=progress)
            warnings += [f'{name}: it cannot be timed in {kind} at {lr_size}x{lr_size}: {reason}'
                         for (name, kind), reason in failures.items()]
        except Exception as error:  # no memory for the image; whatever a device raises
            warnings.append(f'Nothing can be timed at {lr_size}x{lr_size}: {error}')
    costs: dict[str, tuple[Complexity | None, dict[str, Speed]]] = {}
    for name, network in networks.items():
        counted = None
        try:
            counted = replace(complexity(network.net, (lr_size, lr_size)), file_bytes=checkpoint_bytes(network.file))
        except Exception as error:  # whatever tracing makes of the network's own code
            warnings.append(f'{name}: its operations cannot be counted: {error}')
        costs[name] = counted, speeds.get(name, {})
    return costs
