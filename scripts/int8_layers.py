"""Which stages of a network lose what in 8 bits, and what it costs in time to keep them in floating point.

  python scripts/int8_layers.py --weights RealESRGAN_x4plus.pth --calibration LRx4 --images others/LRx4 --output study

First each stage is rounded alone, and then each is the only one that is not; all in PyTorch, weights to their nearest.
Then the stages whose floating point brings most are kept so, more and more of them, with weights rounded together as
`basicsr-kd export --int8` does it, and the files are timed in OpenVINO in one process. PSNR in dB on Y against the
network's own output, the mean over the images.
"""
import argparse
import copy
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import torch
from basicsr.utils import tensor2img
from torch import Tensor, nn
from torch.nn.utils import parametrize
from tqdm import tqdm

from basicsr_kd.deploy.export.graph import Graph, graph_of
from basicsr_kd.deploy.export.writers import Job, write
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.deploy.runtimes import OpenVino
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.timing import time_in_turns
from basicsr_kd.pruning import read_calibration
from basicsr_kd.pruning.report import stage_names
from basicsr_kd.quantisation import quantise
from basicsr_kd.quantisation.placing import Group, Placed
from basicsr_kd.quantisation.quantise import prepared
from basicsr_kd.quantisation.ranges import even_out
from basicsr_kd.quantisation.rounding import round_to_nearest
from basicsr_kd.utils.text import markdown_table

BORDER = 4


def psnr(made: Tensor, wanted: Tensor) -> float:
    found = image_score('psnr', tensor2img(made), tensor2img(wanted), border=BORDER, channel='y')
    assert found is not None
    return found


class Scan:
    """A network whose groups of convolutions can each be rounded or not; ranges are measured once.

    Args:
        net: in evaluation mode.
        calibration: images for the ranges, ``(n, 3, h, w)``.
        images: those that are looked at, ``(n, 3, h, w)``.
    """

    def __init__(self, net: nn.Module, calibration: Tensor, images: Tensor) -> None:
        self.images = images
        self.wanted = [net(image) for image in images.split(1)]
        self.placed: Placed = prepared(net, calibration, {})
        even_out(self.placed.net, self.placed.groups)
        self.exact = {path: self._conv(path).weight.detach().clone() for path in self.placed.readers}
        rounded = copy.deepcopy(self.placed.net)
        round_to_nearest(rounded, self.placed.readers)
        self.rounded = {path: rounded.get_submodule(path).weight.detach().clone()  # type: ignore[operator]
                        for path in self.placed.readers}
        self.stages: dict[str, list[Group]] = {}
        names = stage_names(net)
        for group in self.placed.groups:
            self.stages.setdefault(names[next(iter(group.readers))], []).append(group)

    def psnr(self, stages: Iterable[str]) -> float:
        """With these stages in 8 bits."""
        wanted = set(stages)
        for stage, groups in self.stages.items():
            for group in groups:
                for source in group.sources:
                    source.quantiser.rounds = stage in wanted
                for path in group.readers:
                    self._conv(path).weight.copy_((self.rounded if stage in wanted else self.exact)[path])
        return float(np.mean([psnr(self.placed.net(image), it)
                              for image, it in zip(self.images.split(1), self.wanted, strict=True)]))

    def _conv(self, path: str) -> Any:
        conv = self.placed.net.get_submodule(path)
        assert not parametrize.is_parametrized(conv)
        return conv


def scan(net: nn.Module, calibration: Tensor, images: Tensor) -> dict[str, dict[str, float]]:
    """PSNR with each stage alone in 8 bits and with each stage alone in floating point; '' is all in 8 bits."""
    trial = Scan(net, calibration, images)
    found = {'': {'rest': trial.psnr(trial.stages)}}
    for stage in tqdm(trial.stages, desc='stages'):
        found[stage] = {'alone': trial.psnr([stage]), 'rest': trial.psnr(set(trial.stages) - {stage})}
    return found


def curve(graph: Graph, job: Job, images: Tensor, order: Sequence[str], counts: Sequence[int], folder: Path,
          turns: int) -> list[dict[str, Any]]:
    """PSNR and times of files that keep the first stages of an order in floating point."""
    names = stage_names(graph.net)
    files = {}
    assert job.calibration is not None
    for count in counts:
        keep = [path for path, stage in names.items() if stage in order[:count]]
        found = quantise(graph.net, job.calibration, keep, progress=True)
        path = folder / f'keep{count}.xml'
        files[count] = write(job, Graph(found.net, graph.inputs, graph.output, graph.scale, graph.multiple), path,
                             path)[0]
    opened = {count: OpenVino(file) for count, file in files.items()}
    wanted = [graph.net(image) for image in images.split(1)]
    taken, _ = time_in_turns({count: partial(runner, images[:1].numpy()) for count, runner in opened.items()}, turns)
    rows = []
    for count, runner in opened.items():
        shares = [one / whole for one, whole in zip(taken[count], taken[counts[0]], strict=True)]
        made = [torch.from_numpy(runner(image.numpy()).copy()) for image in images.split(1)]
        rows.append({'kept': order[:count], 'psnr': float(np.mean(list(map(psnr, made, wanted)))),
                     'time': quantiles(shares, n=4)})
    return rows


def tables(stages: Mapping[str, Mapping[str, float]], rows: Sequence[Mapping[str, Any]]) -> str:
    """Both as Markdown."""
    all_rounded = stages['']['rest']
    first = markdown_table(
        ['stage', 'it alone in 8 bits', 'it alone in floating point'],
        [[stage, f'{its["alone"]:.2f}', f'{its["rest"]:.2f} ({its["rest"] - all_rounded:+.2f})']
         for stage, its in stages.items() if stage])
    second = markdown_table(
        ['kept in floating point', 'PSNR', 'time (quartiles)'],
        [[', '.join(row['kept']) or 'nothing', f'{row["psnr"]:.2f}',
          '{1:.2f} ({0:.2f} to {2:.2f})'.format(*row['time'])] for row in rows])
    return f'All in 8 bits, weights to their nearest: {all_rounded:.2f} dB.\n\n{first}\n\n{second}\n'


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', type=Path, required=True, help='the network')
    parser.add_argument('--calibration', required=True, help='folder of low-resolution images to measure ranges on')
    parser.add_argument('--images', required=True, help='folder of other ones, to be judged by')
    parser.add_argument('--num', type=int, default=16, help='calibration images (default: 16)')
    parser.add_argument('--judge', type=int, default=6, help='images to judge by (default: 6)')
    parser.add_argument('--size', type=int, default=80, help='side of their middle (default: 80)')
    parser.add_argument('--keep', type=int, nargs='+', default=[0, 1, 2, 4, 8], metavar='N',
                        help='how many stages to keep in floating point (default: 0 1 2 4 8)')
    parser.add_argument('--turns', type=int, default=9, help='turns of timing (default: 9)')
    parser.add_argument('--output', type=Path, default=Path('results/int8_layers'),
                        help='folder for table.md, results.json and the files (default: results/int8_layers)')
    args = parser.parse_args(argv)
    try:
        network = TorchNetwork(args.weights.stem, args.weights)
        calibration = read_calibration(args.calibration, args.num, args.size)
        images = read_calibration(args.images, args.judge, args.size)
        args.output.mkdir(parents=True, exist_ok=True)
        graph = graph_of(network.net, network.scale, network.multiple)
        stages = scan(graph.net, calibration, images)
        order = sorted(filter(None, stages), key=lambda stage: stages[stage]['rest'], reverse=True)
        job = Job(args.weights, 'openvino', 'int8', calibration)
        rows = curve(graph, job, images, order, args.keep, args.output, args.turns)
    except BasicSRKDError as error:
        sys.exit(f'int8_layers: {error}')
    text = tables(stages, rows)
    (args.output / 'results.json').write_text(json.dumps({'stages': stages, 'curve': rows}, indent=2) + '\n')
    (args.output / 'table.md').write_text(text)
    print(f'{text}\nWritten to {args.output}')


if __name__ == '__main__':
    main()
