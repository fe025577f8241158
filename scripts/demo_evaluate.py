"""Measure the demo's networks on its held-out parts: quality, size, work and speed, as a table, JSON and a picture."""
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils import img2tensor, tensor2img
from basicsr.utils.matlab_functions import imresize
from torch import Tensor, nn
from tqdm import tqdm

from basicsr_kd.metrics.complexity import Complexity, complexity
from basicsr_kd.report import Comparison, busiest_box, comparison_figure, markdown_table

SCALE = 4
BORDER = 4
TURNS = 10
BUDGET = 30.0
"""Seconds after which no new turn of timing starts, for a machine that is busy with something else."""
BOX = 64  # side of the enlarged part in the picture, in HR pixels


@dataclass(frozen=True)
class Pair:
    """A held-out part, (h, w, 3) BGR uint8 as BasicSR's metrics expect it."""

    name: str
    lr: np.ndarray
    hr: np.ndarray


@dataclass(frozen=True)
class Result:
    """What one method did; lists have one entry a held-out part."""

    method: str
    psnr: list[float]
    ssim: list[float]
    outputs: list[np.ndarray]
    cost: Complexity | None = None
    seconds: tuple[float, float, float] | None = None
    """Lower quartile, median, upper quartile for one image; None for bicubic, written here for exactness, not speed."""


def read_bgr(path: Path) -> np.ndarray:
    """Read (h, w, 3) BGR uint8; OpenCV says nothing about a file it cannot read."""
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f'{path} is missing or not an image.')
    return image


def read_pairs(folder: Path) -> list[Pair]:
    """Read `folder`/HR/*.png and its LR. All are of one size, so that one figure of MACs and seconds holds for each."""
    return [Pair(path.stem, read_bgr(folder / f'LRx{SCALE}' / path.name), read_bgr(path))
            for path in sorted((folder / 'HR').glob('*.png'))]


def bicubic(pair: Pair) -> np.ndarray:
    """Enlarge by the MATLAB-like bicubic that published bicubic figures come from."""
    return (imresize(pair.lr.astype(np.float32) / 255, SCALE).clip(0, 1) * 255).round().astype(np.uint8)


def as_input(pair: Pair) -> Tensor:
    """The LR part as (1, 3, h, w) RGB in [0, 1]."""
    return img2tensor(pair.lr.astype(np.float32) / 255, bgr2rgb=True, float32=True)[None]


@torch.inference_mode()
def seconds_per_image(networks: Mapping[str, nn.Module], images: list[Tensor]) -> dict[str, tuple[float, float, float]]:
    """Quartiles of one forward pass's time. Networks take turns, so that a slow moment of the machine meets all."""
    taken: dict[str, list[float]] = {name: [] for name in networks}
    started = time.perf_counter()
    for turn in tqdm(range(TURNS + 1), desc='timing', bar_format='{desc} {bar} {n_fmt}/{total_fmt} {elapsed}'):
        if turn > 1 and time.perf_counter() - started > BUDGET:
            break
        for image in images:
            for name, net in networks.items():
                start = time.perf_counter()
                net(image)
                if turn:  # the first turn warms up
                    taken[name].append(time.perf_counter() - start)
    return {name: tuple(np.quantile(times, [0.25, 0.5, 0.75]).tolist()) for name, times in taken.items()}


def score(method: str, outputs: list[np.ndarray], pairs: list[Pair], **measured) -> Result:
    """PSNR and SSIM of 8-bit outputs on Y, `BORDER` pixels left out on each side."""
    def on_y(metric) -> list[float]:
        return [float(metric(output, pair.hr, crop_border=BORDER, test_y_channel=True))
                for output, pair in zip(outputs, pairs, strict=True)]
    return Result(method, on_y(calculate_psnr), on_y(calculate_ssim), outputs, **measured)


def evaluate(networks: Mapping[str, nn.Module], pairs: list[Pair]) -> list[Result]:
    """Score bicubic and every network, on the CPU."""
    images = [as_input(pair) for pair in pairs]
    for net in networks.values():
        net.eval()
    seconds = seconds_per_image(networks, images)
    results = [score('bicubic', [bicubic(pair) for pair in pairs], pairs)]
    for name, net in networks.items():
        with torch.inference_mode():
            outputs = [tensor2img(net(image)) for image in images]
        lr_size = (pairs[0].lr.shape[0], pairs[0].lr.shape[1])
        results.append(score(name, outputs, pairs, cost=complexity(net, lr_size), seconds=seconds[name]))
    return results


def protocol(pairs: list[Pair]) -> str:
    """One sentence that every figure of the table needs beside it."""
    height, width = pairs[0].lr.shape[:2]
    return (f'x{SCALE} on {len(pairs)} held-out parts of scikit-image photos, LR {width}x{height} by bicubic. '
            f'PSNR (dB) and SSIM: mean over parts, Y channel, {BORDER} border pixels left out. Seconds: one part, CPU, '
            f'{torch.get_num_threads()} threads, median (quartiles) of up to {TURNS} turns.')


def table(results: list[Result], pairs: list[Pair]) -> str:
    """The results as an aligned Markdown table."""
    def row(result: Result) -> list[str]:
        cost = [f'{result.cost.params:,}', f'{result.cost.macs / 1e9:.2f} G'] if result.cost else ['-', '-']
        speed = '{1:.4f} ({0:.4f}-{2:.4f})'.format(*result.seconds) if result.seconds else '-'
        return [result.method, *cost, f'{np.mean(result.psnr):.2f}', f'{np.mean(result.ssim):.4f}', speed]
    height, width = pairs[0].lr.shape[:2]
    return markdown_table(['method', 'parameters', f'MACs ({width}x{height} in)', 'PSNR', 'SSIM', 'seconds per image'],
                          [row(result) for result in results])


def write_report(results: list[Result], pairs: list[Pair], folder: Path) -> str:
    """Write table.md, results.json and comparison.png into `folder`; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    text = table(results, pairs)
    (folder / 'table.md').write_text(f'{text}\n\n{protocol(pairs)}\n')
    (folder / 'results.json').write_text(json.dumps({
        'protocol': protocol(pairs),
        'images': [pair.name for pair in pairs],
        'methods': [{'method': r.method, 'parameters': r.cost and r.cost.params, 'macs': r.cost and r.cost.macs,
                     'lr_size': r.cost and r.cost.lr_size, 'psnr': r.psnr, 'ssim': r.ssim,
                     'seconds_quartiles': r.seconds} for r in results],
    }, indent=2) + '\n')
    rows = []
    for index, pair in enumerate(pairs):
        shown = {r.method: r.outputs[index] for r in results} | {'ground truth': pair.hr}
        rows.append(Comparison(images={label: cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for label, image in shown.items()},
                               box=busiest_box(pair.hr, results[0].outputs[index], BOX),
                               notes={r.method: f'{r.psnr[index]:.2f} dB' for r in results}))
    comparison_figure(folder / 'comparison.png', rows,
                      f'x{SCALE}, held-out parts, enlarged where bicubic loses most; PSNR of the whole part '
                      f'(Y, {BORDER} border pixels left out)')
    return text
