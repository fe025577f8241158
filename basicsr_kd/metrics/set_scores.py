"""FID and KID of a set of images, gathered image by image, in one process or in many."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.fid import FEATURES, features, frechet_distance, inception_network
from basicsr_kd.metrics.kid import patch_kid
from basicsr_kd.utils.arrays import as_pair, as_tensor
from basicsr_kd.utils.metric_names import SET_METRICS

FEWEST = FEATURES
"""Number of samples from which on the covariances of FID's 2048 features can have full rank."""
FEW_IMAGES = 5
"""Number of images below which KID's interval is far too narrow: with three images it held the truth in 58 % of
simulated sets, with five in 89 %, with fifty in 94 %."""
MOST_PATCHES = 64
"""Largest number of patches from an image, spread evenly over its grid: one takes Inception 0.1 s on a CPU core."""
FEWEST_IMAGES = {'fid': 2, 'kid': 3}
"""Number of images below which a set has no figure; for KID, only images of at least two patches count."""
PATCH = 64
"""Default side of KID's patches, in pixels."""
BATCH = 16

Entry = dict[str, tuple[Tensor, Tensor]]
"""Features of the result and of the ground truth by metric, each (n, 2048)."""


class SetScores:
    """Gathers Inception features; FID is over whole images, KID over patches of them.

    FID resizes every image to 299x299 pixels as pytorch-fid does. KID takes squares on a grid in the ground truth,
    without overlap, and the same squares of the result.

    Args:
        names: 'fid', 'kid' or both.
        weights: File of Inception's weights; default: from PyTorch's cache, else downloaded.
        device: Where Inception runs.
        patch: Side of KID's patches.
        truths: Where features of the ground truth are kept, by key; several methods on one set may share it.

    Raises:
        MetricError: A name is unknown.
        BackboneError: Inception's weights cannot be had.
    """

    def __init__(self, names: Collection[str], weights: str | Path | None = None, device: str | torch.device = 'cpu',
                 patch: int = PATCH, truths: dict[str | int, dict[str, Tensor]] | None = None) -> None:
        if unknown := set(names) - set(SET_METRICS):
            raise MetricError(f'found {sorted(unknown)} as metrics of a set. Expected {" or ".join(SET_METRICS)}.')
        self.names = names
        self.patch = patch
        self._network = inception_network(weights, device)
        self._entries: dict[str | int, Entry] = {}
        self._truths = {} if truths is None else truths

    def add(self, key: str | int, result: np.ndarray, truth: np.ndarray) -> None:
        """Take in one image; a result whose key is there already is replaced.

        Args:
            key: A key that tells the image from others of the set, in every process; all keys of a set have one type.
            result: uint8, (h, w, 3) BGR or (h, w) grey.
            truth: The ground truth, of the same size.

        Raises:
            MetricError: They are no pair of images.
        """
        result, truth = as_pair(result, truth)
        if key not in self._truths:
            self._truths[key] = self._features(truth)
        of_truth = self._truths[key]
        self._entries[key] = {name: (found, of_truth[name]) for name, found in self._features(result).items()}

    def state(self) -> dict[str | int, Entry]:
        """Everything gathered so far, for `merge` in another process: tensors on the CPU, with KID 1 MiB an image."""
        return dict(self._entries)

    def merge(self, states: Iterable[Mapping[str | int, Entry]]) -> None:
        """Take in the images that other processes gathered; an image that several have counts once."""
        for state in states:
            self._entries.update(state)

    def results(self) -> dict[str, Any]:
        """The scores: `fid`, `fid_samples`, `kid` (a `Kid`).

        They are the same for any order of images. A score that needs a larger set is left out; `warnings` says why.
        """
        results: dict[str, Any] = {}
        fid, kid = self._gathered('fid'), self._gathered('kid')
        if len(fid) >= FEWEST_IMAGES['fid']:
            result, truth = (torch.cat(side) for side in zip(*fid, strict=True))
            results |= {'fid': frechet_distance(result, truth), 'fid_samples': len(fid)}
        if len(kid) >= FEWEST_IMAGES['kid']:
            results['kid'] = patch_kid([result for result, _ in kid], [truth for _, truth in kid])
        return results

    def warnings(self, asked: Collection[str] = ()) -> list[str]:
        """What a reader of the scores has to know, one or two sentences each.

        Args:
            asked: Further metrics of the set that are measured elsewhere, besides `names`.
        """
        found = []
        images, images_of_kid = len(self._entries), len(self._gathered('kid'))
        if 'fid' in self.names and images < FEWEST_IMAGES['fid']:
            found.append(f'FID is left out: it needs at least {FEWEST_IMAGES["fid"]} images, found {images}.')
        elif 'fid' in self.names and images < FEWEST:
            found.append(f'FID on {images} images: with fewer than {FEWEST} samples the covariances of its 2048 '
                         'features lack rank, so it is far too high by an amount that depends on the number of images '
                         'and on the method; never rank by it. KID has no such bias' +
                         ('.' if 'kid' in {*self.names, *asked} else
                          ': add it (type: calculate_kid in YAML, --metrics kid on the command line).'))
        if 'kid' in self.names and images_of_kid < FEWEST_IMAGES['kid']:
            found.append(f'KID is left out: it needs at least {FEWEST_IMAGES["kid"]} images of two patches of '
                         f'{self.patch}x{self.patch} pixels each, found {images_of_kid}.')
        elif 'kid' in self.names and images_of_kid < FEW_IMAGES:
            found.append(f'KID on {images_of_kid} images: its interval is too narrow, {FEW_IMAGES} images is the least '
                         'to estimate it from.')
        return found

    def _gathered(self, name: str) -> list[tuple[Tensor, Tensor]]:
        """Features by image, ordered by key; for KID only images whose patches can be split into two halves."""
        if name not in self.names:
            return []
        entries = [self._entries[key][name] for key in sorted(self._entries)]
        return entries if name == 'fid' else [entry for entry in entries if len(entry[0]) >= 2]

    def _features(self, array: np.ndarray) -> dict[str, Tensor]:
        image = as_tensor(array)
        seen = {'fid': image, 'kid': patches(image, self.patch) if 'kid' in self.names else image}
        return {name: features(self._network, seen[name].split(BATCH)) for name in self.names}


def patches(image: Tensor, side: int) -> Tensor:
    """Cut (1, c, h, w) into squares (p, c, side, side) that do not overlap, at most `MOST_PATCHES`; p may be 0."""
    height, width = image.shape[2:]
    corners = [(top, left) for top in range(0, height - side + 1, side) for left in range(0, width - side + 1, side)]
    chosen = np.linspace(0, len(corners) - 1, min(len(corners), MOST_PATCHES)).round().astype(int)
    squares = [image[:, :, top:top + side, left:left + side] for top, left in (corners[index] for index in chosen)]
    return torch.cat([image.new_empty(0, image.shape[1], side, side), *squares])
