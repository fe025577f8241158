"""Whether metrics say what is known: more blur, more pruning is worse; Real-ESRGAN looks better than bicubic.

  python scripts/metric_study.py --weights RealESRGAN_x4plus.pth --photos photos --output study

Photos are blurred, saved as JPEG and made noisy, more and more, and scored against themselves; the network is pruned,
more and more, and its pictures are scored against the unpruned one's; pictures that it and bicubic make of degraded
photos are scored against the photos. The tables have means (of texture: medians), and of how many photos the single
figures say the same.
"""
import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import domain_sets
import numpy as np
from tqdm import tqdm

from basicsr_kd import plugin
from basicsr_kd.cli.main import main as basicsr_kd
from basicsr_kd.deploy.open import open_network
from basicsr_kd.metrics.bicubic import bicubic
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.utils.images import image_files, read_image
from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import markdown_table

NAMES = ('psnr', 'ssim', 'haarpsi', 'mdsi', 'gmsd', 'jod', 'jod20', 'texture')
BORDER = 4
RATIOS = (0.1, 0.3, 0.5, 0.7)
Scores = dict[str, list[float]]
"""By metric, of each photo."""


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).round().astype(np.uint8)


CHANGES: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], Sequence[float]]] = {
    'blur of sigma': (lambda image, sigma: cv2.GaussianBlur(image, (0, 0), sigma), (0.5, 0.8, 1.2, 2, 3)),
    'JPEG of quality': (jpeg, (95, 80, 60, 40, 20)),
    'noise of sigma': (noisy, (2, 5, 10, 20, 40)),
}
"""Each from the smallest to the greatest."""


def scores(pairs: Sequence[tuple[np.ndarray, np.ndarray]], *more: str) -> Scores:
    """Of results and truths by `NAMES` and further metrics."""
    names = *NAMES, *more
    found: Scores = {name: [] for name in names}
    for result, truth in pairs:
        for name in names:
            value = image_score(name, result, truth if METRICS[name].needs_truth else None, border=BORDER, channel='y')
            found[name].append(float('nan') if value is None else value)
    return found


def is_worse(name: str, first: float, second: float) -> bool:
    """Whether the second figure says that its picture is the worse one."""
    metric = METRICS[name]
    if metric.best is not None:
        return abs(second - metric.best) > abs(first - metric.best)
    return second < first if metric.higher_is_better else second > first


def ladder(what: str, steps: Mapping[str, Scores]) -> str:
    """A table of figures from the smallest change to the greatest."""
    rows = []
    for name in next(iter(steps.values())):
        photos = list(zip(*(found[name] for found in steps.values()), strict=True))
        agree = sum(all(is_worse(name, *pair) for pair in pairwise(values)) for values in photos)
        figures = [METRICS[name].of_set(found[name]) for found in steps.values()]
        rows.append([METRICS[name].title, *(f'{figure:.{METRICS[name].decimals}f}' for figure in figures),
                     f'{agree} of {len(photos)}'])
    return markdown_table([what, *steps, 'worse at each step'], rows)


def pruned(weights: Path, ratio: float, calibration: Path, folder: Path) -> Path:
    """The network pruned by the command with its defaults, unless that was done before."""
    file = folder / f'pruned_{ratio}.pth'
    arguments = ['--ratio', str(ratio), '--calibration', str(calibration), '--calibration-num', '8', '--reconstruct',
                 '--minutes', '0']
    if not file.exists() and basicsr_kd(['prune', '--weights', str(weights), *arguments, '--out', str(file)]):
        sys.exit('metric_study: it could not be pruned; see above')
    return file


def read_all(folder: Path) -> list[np.ndarray]:
    return [read_image(path) for path in image_files(folder)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', type=Path, required=True, help='a Real-ESRGAN network')
    parser.add_argument('--photos', type=Path, required=True, help='folder of photos')
    parser.add_argument('--output', type=Path, required=True, help='folder for sets and pruned networks')
    parser.add_argument('--num', type=int, default=10, help='how many photos (default: %(default)s)')
    args = parser.parse_args(arguments)
    plugin.register()
    sets = args.output / 'sets'
    if not sets.exists():
        domain_sets.main(['--input', str(args.photos), '--output', str(sets), '--num', str(args.num)])
    photos = read_all(sets / 'clean/HR')
    for what, (change, strengths) in CHANGES.items():
        print(ladder(what, {f'{strength:g}': scores([(change(photo, strength), photo) for photo in photos])
                            for strength in strengths}), end='\n\n')

    def made(weights: Path, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        network = open_network(weights.stem, weights)
        return [network.enlarge(image, 'image') for image in tqdm(images, weights.stem,
                                                                  disable=not sys.stderr.isatty())]

    low = read_all(sets / 'clean/LRx4')
    whole = made(args.weights, low)
    networks = {f'{ratio:g}': pruned(args.weights, ratio, sets / 'clean/LRx4', args.output) for ratio in RATIOS}
    print(ladder('pruned by', {ratio: scores(list(zip(made(file, low), whole, strict=True)))
                               for ratio, file in networks.items()}), end='\n\n')
    truths, low = read_all(sets / 'degraded/HR'), read_all(sets / 'degraded/LRx4')
    network = scores(list(zip(made(args.weights, low), truths, strict=True)), 'niqe')
    plain = scores([(bicubic(image, 4), truth) for image, truth in zip(low, truths, strict=True)], 'niqe')
    rows = [[METRICS[name].title, *(f'{METRICS[name].of_set(found[name]):.{METRICS[name].decimals}f}'
                                    for found in (network, plain)),
             f'{sum(is_worse(name, *pair) for pair in zip(network[name], plain[name], strict=True))} of {len(truths)}']
            for name in plain]
    print(markdown_table(['degraded photos', args.weights.stem, 'bicubic', 'bicubic is the worse one'], rows))


if __name__ == '__main__':
    main()
