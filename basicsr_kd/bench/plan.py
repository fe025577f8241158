"""Decides what is timed: which runtimes are installed, and which precisions they have."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from basicsr_kd.deploy.export.formats import KINDS
from basicsr_kd.deploy.network import TorchNetwork, TrainedNetwork
from basicsr_kd.deploy.runtimes import openvino_formats, runtime_of
from basicsr_kd.errors import MissingExtraError
from basicsr_kd.utils.extras import load
from basicsr_kd.utils.modes import fast_formats

RUNTIMES = ('torch-nchw', 'torch', *KINDS)
"""The first is PyTorch as people's scripts run it; it is always timed with 'torch'."""
_PACKAGES = {'onnxruntime': ('onnx', 'onnxruntime'), 'openvino': ('onnx', 'openvino'), 'ncnn': ('pnnx', 'ncnn')}


class Entry(NamedTuple):
    """A network in one way to run it."""

    network: str
    runtime: str
    """One of `RUNTIMES`."""
    precision: str
    threads: int


def installed(wanted: Sequence[str] | None, int8: bool) -> tuple[list[str], list[str]]:
    """The runtimes that can be timed.

    Args:
        wanted: 'torch' and names from `KINDS`; None: all that are installed.
        int8: Whether networks are to be written in 8 bits.

    Returns:
        The runtimes, and a sentence for each that is not installed.

    Raises:
        MissingExtraError: A wanted runtime is not installed.
    """
    found, left_out = [], []
    for runtime in wanted or ('torch', *KINDS):
        packages = _PACKAGES.get(runtime, ())
        try:
            for package in (*packages, 'nncf') if int8 and runtime in ('onnxruntime', 'openvino') else packages:
                load(package, runtime)
            found.append(runtime)
        except MissingExtraError as error:
            if wanted:
                raise
            left_out.append(f'{error}.')
    return found, left_out


def entries(networks: Mapping[str, TrainedNetwork], runtimes: Sequence[str], precisions: Sequence[str],
            threads: Sequence[int]) -> tuple[list[Entry], list[str]]:
    """All combinations that are possible, network by network.

    Args:
        networks: Networks by name; a file that was written for a runtime runs only there.
        runtimes: From `installed`.
        precisions: Some of 'fp32', 'bf16' and 'int8'.
        threads: Numbers of threads.

    Returns:
        What is to be timed, and a sentence for each combination that is left out.
    """
    ways: list[tuple[str, str, str]] = []
    left_out: dict[str, None] = {}
    for name, network in networks.items():
        own = runtime_of(network.file)
        if own and own not in runtimes:
            left_out[f'{name} is left out: it is for {own}, which is not among the runtimes.'] = None
        for runtime in runtimes:
            if own not in (None, runtime):
                continue
            possible = _precisions(runtime) if isinstance(network, TorchNetwork) else _of_file(network, runtime)
            asked = precisions if set(possible) & set(precisions) or own is None else possible
            for precision in asked:
                if precision in possible:
                    ways += [(name, 'torch-nchw', precision)] if (runtime, precision) == ('torch', 'fp32') else []
                    ways.append((name, runtime, precision))
                elif own is None:
                    left_out[f'{precision} in {runtime} is left out: it runs {", ".join(possible)} here.'] = None
    return [Entry(*way, count) for way in ways for count in threads], list(left_out)


def _precisions(runtime: str) -> list[str]:
    """The precisions in which a runtime can run a checkpoint; half precision only where the CPU is fast in it."""
    return {'torch': lambda: fast_formats('cpu'), 'onnxruntime': lambda: ['fp32', 'int8'],
            'openvino': lambda: [*openvino_formats(), 'int8'], 'ncnn': lambda: ['fp32']}[runtime]()


def _of_file(network: TrainedNetwork, runtime: str) -> list[str]:
    own = network.run_net.precision
    return list(openvino_formats()) if runtime == 'openvino' and own != 'int8' else [own]
