"""Runs a checkpoint in another runtime than PyTorch: it is written for that runtime once, and kept."""
from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from basicsr_kd import __version__
from basicsr_kd.archs.sidecar import sidecar_path
from basicsr_kd.deploy.export.export import Plan, export, must_take_colours
from basicsr_kd.deploy.export.formats import FORMATS, KINDS
from basicsr_kd.deploy.export.writers import Job
from basicsr_kd.deploy.network import WHOLE, TorchNetwork, TrainedNetwork
from basicsr_kd.deploy.open import open_network
from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.deploy.runtimes import openvino_formats, runtime_of
from basicsr_kd.errors import ExportError, MissingExtraError
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.utils.files import cache_folder
from basicsr_kd.utils.images import middle, sample_photo
from basicsr_kd.utils.modes import HALF, fast_formats

_SIDE = 64  # the side of the piece of a photo that a network is tried on


def open_in(name: str, file: Path, runtime: str | None, *, half: bool = False, threads: int | None = None,
            device: str = 'cpu', tiling: Tiling = WHOLE, param_key: str | None = None,
            say: Callable[[str], None] = lambda text: None) -> tuple[TrainedNetwork, str]:
    """Open a network in the runtime that the user names; a checkpoint is written for it first.

    Args:
        name: How the network is called.
        file: A checkpoint, or a file of a runtime's own.
        runtime: 'torch', one of `KINDS`, 'auto' (see `choose`), or None: the file's own runtime, PyTorch for a
            checkpoint.
        half: Whether to run in half precision. For PyTorch the caller turns autocast on around the run.
        threads: Number of threads on a CPU; None: the runtime's default.
        device: Where PyTorch runs.
        tiling: How the network takes images in pieces.
        param_key: Which of a checkpoint's state dicts to read.
        say: Is told what comes next.

    Returns:
        The network, and for 'auto' how far its results are from PyTorch in fp32, in words.

    Raises:
        ExportError: The runtime cannot run the network; with 'auto' PyTorch runs it instead.
        InferError, CheckpointError, MissingExtraError: See `open_network`.
    """
    own, automatic = runtime_of(file), runtime == 'auto'

    def opened(precision: str | None, written: Path = file, runtime: str | None = None) -> TrainedNetwork:
        return open_network(name, written, runtime=runtime, precision=precision, threads=threads, device=device,
                            tiling=tiling, param_key=param_key)

    if runtime in (None, 'torch') or own:
        return opened('bf16' if half and own and runtime != 'torch' else None,
                      runtime=None if automatic else runtime), ''
    if not automatic:
        return _named(opened('bf16' if half else 'fp32', written_for(file, str(runtime), say, param_key)), file), ''
    original = opened(None)
    assert isinstance(original, TorchNetwork)
    if original.recurrent:
        return original, ''
    taken, precision = choose(device)
    try:
        network = opened(precision, file if taken == 'torch' else written_for(file, taken, say, param_key))
    except ExportError:
        network = opened(choose_of_torch(device))
    distance = likeness(network.enlarge, original)
    return _named(network, file), ('equal to fp32 in PyTorch on a photo' if distance == math.inf else
                                   f'{distance:.1f} dB from fp32 in PyTorch on a photo')


def _named(network: TrainedNetwork, file: Path) -> TrainedNetwork:
    """Let a network's messages name the user's file."""
    network.file = file
    return network


def choose(device: str) -> tuple[str, str]:
    """The runtime and precision of `--runtime auto` for a network of images.

    It is OpenVINO on a CPU if installed, in bf16 if the CPU is fast in it; else PyTorch.

    Args:
        device: Where PyTorch would run.
    """
    if torch.device(device).type == 'cpu':
        try:
            return 'openvino', 'bf16' if 'bf16' in openvino_formats() else 'fp32'
        except MissingExtraError:
            pass
    return 'torch', choose_of_torch(device)


def choose_of_torch(device: str) -> str:
    """The precision in PyTorch: half precision where the device is fast in it, else fp32."""
    fast = fast_formats(device)
    return next((name for name in HALF if name in fast), 'fp32')


def written_for(file: Path, runtime: str, say: Callable[[str], None], param_key: str | None = None) -> Path:
    """The file of a checkpoint for a runtime, from the cache folder; it is written and tried if it is not there.

    Args:
        file: The checkpoint.
        runtime: One of `KINDS`.
        say: Is told what comes next.
        param_key: Which of its state dicts to read.

    Raises:
        ExportError: The runtime cannot run the network.
        CheckpointError: The checkpoint cannot be read.
        MissingExtraError: A package is missing.
    """
    content = hashlib.sha256(f'{__version__} {param_key}'.encode())
    for part in (file, sidecar_path(file)):
        content.update(part.read_bytes() if part.is_file() else b'')
    kind = KINDS[runtime]
    folder = cache_folder() / 'runtimes' / content.hexdigest()[:32] / kind  # by kind, since two kinds have a .bin
    inside = Path(f'{file.stem}{FORMATS[kind].suffix}')
    if not (folder / inside).is_file():
        network = TorchNetwork(file.stem, file, param_key=param_key)
        must_take_colours(network)
        planned = Plan(Job(file, kind, param_key=param_key), network, folder, inside)
        export(planned, [middle(sample_photo(), _SIDE)], say, timed=False)
    return folder / inside


def likeness(enlarge: Callable[[np.ndarray, str], np.ndarray], original: TorchNetwork) -> float:
    """PSNR on Y in dB between an enlargement of a photo and that of PyTorch in fp32; infinite if they are equal."""
    photo = middle(sample_photo(), _SIDE)
    with torch.autocast(original.device.type, enabled=False):
        expected = original.enlarge(photo, 'a photo')
    score = image_score('psnr', enlarge(photo, 'a photo'), expected, border=4, channel='y')
    assert score is not None
    return score
