"""8 bits without training: by our own rounding, or by NNCF where a network's graph cannot be recorded."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from basicsr_kd.deploy.export.graph import Graph
from basicsr_kd.deploy.runtimes import openvino_core
from basicsr_kd.errors import ExportError, MissingExtraError
from basicsr_kd.quantisation import RecordingError, quantise


def to_eight_bits(graph: Graph, images: Tensor, say: Callable[[str], None]) -> tuple[Graph, list[str], bool]:
    """Make a network round like 8 bits.

    Args:
        graph: The network.
        images: (n, 3, h, w), RGB in [0, 1], on which ranges are measured.
        say: Is told what comes next.

    Returns:
        The graph that rounds, sentences about it for people, and whether NNCF has to do it instead.

    Raises:
        ExportError: The network does not work on single images.
    """
    if len(graph.inputs) > 1:
        raise ExportError('--int8 is for networks of images; FRNet adds up what it did in earlier frames, and with it '
                          'every error of rounding. Expected --format onnx or openvino without --int8.')
    say('rounding to 8 bits')
    try:
        found = quantise(graph.net, images, progress=True)
    except RecordingError as error:
        return graph, [f'Rounded by NNCF with its defaults, since {error}.'], True
    notes = [f'{found.layers} convolutions compute in 8 bits.']
    for reason in sorted(set(found.left.values())):
        notes.append(f'In floating point ({reason}): ' +
                     ', '.join(path for path, why in found.left.items() if why == reason) + '.')
    if found.silent:
        notes.append(f'{found.silent} channels are 0 on all calibration images; their ranges are guessed.')
    if not cpu_has_int8():
        notes.append('This CPU has no instructions for 8 bits: it works here, and is slower than it is elsewhere.')
    return replace(graph, net=found.net), notes, False


def cpu_has_int8() -> bool:
    """Whether the CPU multiplies 8-bit numbers faster than others (VNNI, AMX), by OpenVINO; True if not known."""
    try:
        return 'INT8' in openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    except MissingExtraError:
        return True
