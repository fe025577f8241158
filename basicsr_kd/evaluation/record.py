"""Puts the figures of an evaluation together, in the same way for images and clips."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from basicsr_kd.deploy.network import TorchNetwork, TrainedNetwork
from basicsr_kd.errors import EvaluationError
from basicsr_kd.evaluation.costs import Costs
from basicsr_kd.evaluation.methods import Method, Network
from basicsr_kd.evaluation.schema import Evaluation, MeasuredMethod, MeasuredProtocol, MeasuredSet, SetFigures
from basicsr_kd.evaluation.scorer import ClipMethodScores, MethodScores, Scorer
from basicsr_kd.metrics.speed import device_info


def record(methods: Sequence[Method], scorer: Scorer, *, scale: int | None, text: str, sets: Sequence[MeasuredSet],
           scores: Mapping[str, dict[str, SetFigures]], costs: Costs, warnings: Sequence[str],
           skipped: Mapping[str, str], teacher: Network | None) -> Evaluation:
    """Put figures together with the conditions under which they were measured.

    Args:
        methods: What was compared.
        scorer: What was measured, and where.
        scale: How many times larger than LR the results are; None without LR.
        text: The protocol in words.
        sets: The sets that were measured on.
        scores: The scores by method and set.
        costs: The costs of networks.
        warnings: What a reader has to know.
        skipped: Files that are left out, and why.
        teacher: The network whose results stand for ground truth, if any.
    """
    protocol = scorer.protocol
    rows = []
    for method in methods:
        complexity, speed = costs.get(method.name, (None, {}))
        trained = method.trained if isinstance(method, Network) else None
        rows.append(MeasuredMethod(
            name=method.name, kind=method.kind, file=str(method.file) if method.file else None,
            network=trained.options if isinstance(trained, TorchNetwork) else None, runtime=_runtime(trained),
            complexity=complexity, speed=speed, scores=scores[method.name]))
    return Evaluation(
        protocol=MeasuredProtocol(scale=scale, border=protocol.border, channel=protocol.channel, text=text,
                                  lpips_net=protocol.lpips_net if scorer.lpips else None, clips=protocol.clips,
                                  frame_rate=protocol.frame_rate,
                                  teacher=str(teacher.file) if teacher else None),
        device=device_info(scorer.device), sets=list(sets), left_out=scorer.left_out, skipped=dict(skipped),
        warnings=list(warnings), methods=rows)


def _runtime(trained: TrainedNetwork | None) -> str | None:
    if trained is None or isinstance(trained, TorchNetwork):
        return None
    return f'{trained.run_net.name}, {trained.run_net.precision}'


def networks_of(methods: Sequence[Method], scale: int | None) -> dict[str, Network]:
    """The networks among methods, by name.

    Raises:
        EvaluationError: A network is for another scale.
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
        EvaluationError: Two methods would go into one folder.
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
    """Put the scores and warnings that methods gathered on a set into `scores` and `warnings`.

    A warning that several methods share appears once; it begins with their names, unless all methods have it.
    """
    methods: dict[str, list[str]] = {}
    for name, found in gathered.items():
        scores[name][one] = found.results()
        for text in found.warnings():
            methods.setdefault(text, []).append(name)
    warnings += [f'{one}: {text}' if len(names) == len(gathered) else f'{one}: {", ".join(names)}: {text}'
                 for text, names in methods.items()]
