"""Opens what is timed; and how much memory it takes, seen from a process of its own."""
from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tqdm import tqdm

from basicsr_kd.bench.plan import Entry
from basicsr_kd.deploy.export.formats import KINDS
from basicsr_kd.deploy.export.graph import graph_of
from basicsr_kd.deploy.network import TorchNetwork, TrainedNetwork
from basicsr_kd.deploy.open import open_network
from basicsr_kd.deploy.runner import Torch
from basicsr_kd.metrics.process_memory import growth_of_process, process_bytes
from basicsr_kd.utils.extras import load


def opened(entry: Entry, file: Path, param_key: str | None = None) -> TrainedNetwork:
    """A network ready in its way to run.

    Args:
        entry: The way.
        file: For its runtime: the checkpoint, or what was written of it.
        param_key: Which of a checkpoint's state dicts.
    """
    if entry.runtime in KINDS:
        return open_network(entry.network, file, runtime=entry.runtime, precision=entry.precision,
                            threads=entry.threads, param_key=param_key)
    network = TorchNetwork(entry.network, file, param_key=param_key)
    graph = graph_of(network.net, network.scale, network.multiple)  # of FRNet a step, as the others run it
    network.run_net = Torch(graph.net, precision=entry.precision, channels_last=entry.runtime == 'torch',
                            threads=entry.threads)
    return network


def peaks(files: Mapping[Entry, Path], lr_size: tuple[int, int], param_key: str | None = None,
          progress: bool = False) -> dict[Entry, int | None]:
    """Bytes that each takes, each in a fresh process: the network, opened, and the peak of one run.

    What was there before it was opened does not count, as PyTorch itself and the runtime's package.

    Args:
        files: What to open; see `opened`.
        lr_size: (height, width) of the image.
        param_key: Which of a checkpoint's state dicts.
        progress: Whether to show a bar.

    Returns:
        None where the system does not tell, or the process has ended, as when memory is short.
    """
    if process_bytes() is None:
        return dict.fromkeys(files)
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__name__])
    found: dict[Entry, int | None] = {}
    for entry, file in tqdm(files.items(), 'measuring memory', disable=not progress,
                            bar_format='{desc} {bar} {n_fmt}/{total_fmt} {elapsed}'):
        with ProcessPoolExecutor(1, context) as process:
            try:
                found[entry] = process.submit(_peak, entry, file, lr_size, param_key).result()
            except Exception:  # that of the network's code; BrokenProcessPool
                found[entry] = None
    return found


def _peak(entry: Entry, file: Path, lr_size: tuple[int, int], param_key: str | None) -> int | None:
    if entry.runtime in KINDS:
        load(entry.runtime, entry.runtime)
    before = process_bytes()
    network = opened(entry, file, param_key)
    sample = network.sample(lr_size)
    return growth_of_process(lambda: network.run_net(*sample), before)
