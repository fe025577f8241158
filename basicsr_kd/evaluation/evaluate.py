"""Runs methods over sets of images and measures results, size and speed, into what a JSON file can hold."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from basicsr_kd.evaluation.checks import CheckedSets, check_measurable
from basicsr_kd.evaluation.costs import network_costs
from basicsr_kd.evaluation.images import write_image
from basicsr_kd.evaluation.methods import Method
from basicsr_kd.evaluation.protocol import describe
from basicsr_kd.evaluation.record import folders_of, networks_of, record, results_of
from basicsr_kd.evaluation.scorer import MethodScores, Scorer
from basicsr_kd.evaluation.sets import read_pair
from basicsr_kd.metrics.errors import MetricError
from basicsr_kd.metrics.precision import full_fp32


def evaluate(methods: Sequence[Method], checked: CheckedSets, scorer: Scorer, *, lr_size: int = 64,
             formats: Sequence[str] = (), save_images: Path | None = None, progress: bool = False) -> dict[str, Any]:
    """Evaluate methods on sets.

    Args:
        methods: What to compare, with names that differ.
        checked: The sets; with LR for all but finished images, without ground truth for NIQE alone.
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
    folders = folders_of(methods, save_images) if save_images else {}
    networks = networks_of(methods, checked.scale)
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
                        raise MetricError(f'{pair.file}, {method.name}: {error}') from error
                    if folders:
                        write_image(folders[method.name] / one.name / f'{pair.name}.png', result)
                    bar.update()
            results_of(one.name, gathered, scores, warnings)
    costs = network_costs(networks, lr_size, formats, scorer.device, warnings, progress)
    return record(methods, scorer, scale=checked.scale, scores=scores, costs=costs, warnings=warnings,
                  text=describe(scorer.protocol, scorer.metrics, checked.scale, checked.cropped),
                  sets=[{'name': one.name, 'images': [pair.name for pair in one.pairs],
                         'hr': one.hr and str(one.hr), 'lr': one.lr and str(one.lr)} for one in checked.sets],
                  skipped=checked.skipped)
