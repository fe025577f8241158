"""The one table of all metrics. Imports neither torch nor BasicSR.

A metric is computed by `calculate_<name>` in BasicSR's METRIC_REGISTRY; everything that lists, names, orders or prints
metrics reads this table.
"""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """The facts about a metric that hold wherever it is measured and shown."""

    title: str
    decimals: int
    """Decimals to show, see `times`."""
    higher_is_better: bool
    of: tuple[Literal['images', 'clips', 'sets'], ...]
    """What has a figure: an image, a clip from frame to frame, or only a whole set of images or frames."""
    about: str
    """For the command line's help."""
    unit: str = ''
    on: str = ''
    """The part of an image that it measures; '': the channel that the protocol names."""
    times: int = 1
    """The factor for people's eyes, which is written behind the title."""
    stored_times: int = 1
    """The factor already contained in files and logs."""
    smallest: int = 1
    """Side of the smallest image that it takes."""
    needs_truth: bool = True
    """Whether it compares a result with ground truth."""
    backbone: Literal['lpips', 'inception'] | None = None
    """The pretrained network that it rests on."""
    package: Literal['pycvvdp', 'piq', None] = None
    """The package of an extra that computes it."""
    in_plots: bool = False
    """Whether it stands in the plots of quality against cost and in the table of a network's parts."""
    best: float | None = None
    """The best value, if neither higher nor lower is better."""
    over_images: Literal['mean', 'median'] = 'mean'
    """How the figures of images become the figure of a set."""
    undefined: str = ''
    """The images that have no figure, in words; '': every image has one."""

    @property
    def direction(self) -> str:
        """In words, which figures are better."""
        if self.best is not None:
            return f'{self.best:g} is best'
        return f'{"higher" if self.higher_is_better else "lower"} is better'

    @property
    def arrow(self) -> str:
        """The direction as an arrow."""
        return f'→ {self.best:g}' if self.best is not None else '↑' if self.higher_is_better else '↓'

    def of_set(self, values: Sequence[float]) -> float:
        """The figure of a set of images."""
        return statistics.median(values) if self.over_images == 'median' else statistics.fmean(values)

    @property
    def column(self) -> str:
        """The title of a column of figures as `shown` gives them."""
        return self.title + (f' x {self.times}' if self.times > 1 else '')

    def shown(self, value: float) -> float:
        """A stored figure as people read it."""
        return value * (self.times // self.stored_times)


METRICS = {
    'psnr': Metric('PSNR', 2, True, ('images', 'clips'), 'of every image or frame', unit='dB', in_plots=True),
    'ssim': Metric('SSIM', 4, True, ('images',), 'of every image', smallest=11),
    # smallest: AlexNet's second pooling needs 31 pixels
    'lpips': Metric('LPIPS', 4, False, ('images', 'clips'), 'perceptual distance; wants the weights of a backbone, see '
                    'below', on='RGB', smallest=32, backbone='lpips', in_plots=True),
    'tof': Metric('tOF', 4, False, ('clips',), 'motion, of clips', in_plots=True),
    'tlp': Metric('tLP', 3, False, ('clips',), 'change over time by LPIPS, of clips', times=100, stored_times=100,
                  smallest=32, backbone='lpips'),
    'fid': Metric('FID', 2, False, ('sets',), 'of a whole set, by its distribution; only for thousands of images or '
                  'frames', backbone='inception'),
    'kid': Metric('KID', 2, False, ('sets',), 'the same on patches, for small sets', times=1000, backbone='inception'),
    'niqe': Metric('NIQE', 2, False, ('images',), 'of images, without ground truth', on='Y', needs_truth=False,
                   undefined='flat, or of less than two blocks of 96x96 pixels inside the border'),
    # smallest: for smaller images, their pyramids have too few levels, or none
    'jod': Metric('JOD', 2, True, ('images', 'clips'), "how near a person would call it, 10 at most, on a desk's "
                  'screen (38 pixels a degree)', on='RGB', smallest=32, in_plots=True, package='pycvvdp'),
    'jod20': Metric('JOD zoomed', 2, True, ('images', 'clips'), 'the same with pixels twice as large (20 a degree)',
                    on='RGB', smallest=32, package='pycvvdp'),
    'haarpsi': Metric('HaarPSI', 4, True, ('images',), 'likeness of edges, 0 to 1', on='RGB', smallest=16,
                      package='piq'),
    'mdsi': Metric('MDSI', 4, False, ('images',), 'differences of edges and colours', on='RGB', smallest=16,
                   package='piq'),
    'gmsd': Metric('GMSD', 4, False, ('images',), 'how uneven edges differ', on='RGB', smallest=16, package='piq'),
    'texture': Metric('texture', 2, True, ('images',), "energy of fine detail, as a share of the truth's: below 1 "
                      'blurred, above sharpened or noisy', on='Y', smallest=16, best=1, over_images='median',
                      undefined='with a ground truth that has no fine detail'),
}
IMAGE_METRICS = tuple(name for name, metric in METRICS.items() if 'images' in metric.of)
CLIP_METRICS = tuple(name for name, metric in METRICS.items() if 'clips' in metric.of)
SET_METRICS = tuple(name for name, metric in METRICS.items() if 'sets' in metric.of)
WITHOUT_TRUTH = tuple(name for name, metric in METRICS.items() if not metric.needs_truth)
SET_TYPES = {f'calculate_{name}': name for name in SET_METRICS}
"""Types in options files for metrics that only a whole set has."""


def of_type(kind: str) -> Metric | None:
    """The metric of a `type:` in options files; None if it is not one of ours."""
    return METRICS.get(kind.removeprefix('calculate_'))
