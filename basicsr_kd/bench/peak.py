"""Opens what is timed, and measures in a separate process how much memory it takes."""
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
    """Open a network, ready to run as an entry says.

    Args:
        entry: The network and its way to run.
        file: The file for its runtime: the checkpoint, or what was written from it.
        param_key: Which of a checkpoint's state dicts to read.
    """
    if entry.runtime in KINDS:
        return open_network(entry.network, file, runtime=entry.runtime, precision=entry.precision,
                            threads=entry.threads, param_key=param_key)
    network = TorchNetwork(entry.network, file, param_key=param_key)
    graph = graph_of(network.net, network.scale, network.multiple)  # a step of FRNet, as in the other runtimes
    network.run_net = Torch(graph.net, precision=entry.precision, channels_last=entry.runtime == 'torch',
                            threads=entry.threads)
    return network


def peaks(files: Mapping[Entry, Path], lr_size: tuple[int, int], param_key: str | None = None,
          progress: bool = False) -> dict[Entry, int | None]:
    """Bytes that each entry takes in a fresh process: the opened network and the peak of one run.

    Memory from before the network was opened, such as that of PyTorch and the runtime's package, does not count.

    Args:
        files: What to open; see `opened`.
        lr_size: (height, width) of the image.
        param_key: Which of a checkpoint's state dicts to read.
        progress: Whether to show a bar.

    Returns:
        Bytes by entry; None where the system does not tell, or the process has died, as when memory is short.
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
            except Exception:  # an error of the network's code, or BrokenProcessPool
                found[entry] = None
    return found


def _peak(entry: Entry, file: Path, lr_size: tuple[int, int], param_key: str | None) -> int | None:
    if entry.runtime in KINDS:
        load(entry.runtime, entry.runtime)
    before = process_bytes()
    network = opened(entry, file, param_key)
    sample = network.sample(lr_size)
    return growth_of_process(lambda: network.run_net(*sample), before)
