"""Networks written to files before BasicSR builds any: it builds `network_g` twice and loads both from a file."""
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from basicsr.utils import get_root_logger
from torch import nn

from basicsr_kd.archs.from_file import write_network_file
from basicsr_kd.data.run_inputs import calibration_images, whole_images
from basicsr_kd.metrics.likeness import kept_out
from basicsr_kd.options.prune import PruneOptions
from basicsr_kd.pruning import Cut, prune


def prune_to_file(net: nn.Module, steps: Sequence[PruneOptions], target: str, network: dict[str, Any],
                  opt: dict[str, Any]) -> list[Cut]:
    """Prune a network by each step in turn, report the result in the log, and write it to `target`.

    Args:
        net: The network, on any device; it is not changed.
        steps: The steps.
        target: The file to write; a `.yml` with the pruned network's options is put beside it.
        network: BasicSR's options of the network before any pruning.
        opt: The run's options, which name the calibration images.

    Returns:
        What each step did to the tensors.

    Raises:
        PruningError: The network cannot be pruned in that way or that far, or calibration images cannot be read.
    """
    cuts = []
    for step in steps:
        looks = step.request().why_images
        get_root_logger().info(f'Pruning {type(net).__name__}' +
                               ('. Looking at the calibration images takes minutes on a CPU.' if looks else '.'))
        images = calibration_images(net, step.calibration, opt) if looks else None
        images, judged = (None, None) if images is None else kept_out(images)
        whole = whole_images(net, step.calibration, opt) if looks and step.request().minutes else None
        report = prune(net, **step.arguments(), calibration=images, judge=judged, whole=whole and kept_out(whole)[0],
                       progress=True)
        get_root_logger().info(report.table())
        if report.likeness is not None:
            get_root_logger().info(report.likeness.words(kept_out=judged is not images))
        cuts.append(report.cut)
        net = report.network
    write_network_file(target, net.state_dict(), network)
    return cuts


def run_file(opt: dict[str, Any], name: str) -> str:
    """The path of a file that belongs to this run, beside its checkpoints."""
    return os.path.join(opt['path']['models'], name)
