"""Pretrained networks that metrics use: where their weights come from, and a check that they are the right ones."""
from __future__ import annotations

import hashlib
import http.client
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from basicsr_kd.errors import BackboneError

_TORCHVISION = 'https://download.pytorch.org/models/'
_PYTORCH_FID = 'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'


@dataclass(frozen=True)
class Backbone:
    """One published file of weights."""

    url: str
    sha256: str
    """First hex digits of the file's SHA-256; its publisher puts them into its name."""
    option: str
    """The option of `basicsr-kd evaluate` that takes a path to the file."""


KNOWN = {
    'alexnet': Backbone(f'{_TORCHVISION}alexnet-owt-7be5be79.pth', '7be5be79', '--lpips-weights'),
    'vgg16': Backbone(f'{_TORCHVISION}vgg16-397923af.pth', '397923af', '--lpips-weights'),
    'squeezenet1_1': Backbone(f'{_TORCHVISION}squeezenet1_1-b8a52dc0.pth', 'b8a52dc0', '--lpips-weights'),
    'inception': Backbone(f'{_PYTORCH_FID}pt_inception-2015-12-05-6726825d.pth', '6726825d', '--inception-weights'),
}


def backbone_state(name: str, weights: str | Path | None = None) -> dict[str, Tensor]:
    """Read the weights of a backbone, after a check of the file's SHA-256.

    Args:
        name: A key of `KNOWN`.
        weights: The file; default: the one in PyTorch's cache (`$TORCH_HOME/hub/checkpoints`), into which it is
            downloaded if it is not there.

    Returns:
        Name to tensor, on the CPU.

    Raises:
        BackboneError: There is no file and it cannot be downloaded, or its SHA-256 is wrong.
    """
    path = Path(weights) if weights else _cached(name)
    if not path.is_file():
        raise BackboneError(f'the weights of {name} are not there: no file {path}. {_ways_out(name)}')
    if not (found := _sha256(path)).startswith(KNOWN[name].sha256):
        raise BackboneError(f'{path} does not hold the weights of {name}: its SHA-256 begins with {found[:8]}, '
                            f'expected {KNOWN[name].sha256}. It is another file or a broken download; remove it. '
                            f'{_ways_out(name)}')
    return torch.load(path, map_location='cpu', weights_only=True)


def _cached(name: str) -> Path:
    """The file in PyTorch's cache; downloads it if need be."""
    url = KNOWN[name].url
    path = _cache_path(name)
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=KNOWN[name].sha256)
        except (OSError, RuntimeError, http.client.HTTPException) as error:  # RuntimeError: wrong SHA-256
            raise BackboneError(f'the weights of {name} are not on this machine and cannot be downloaded ({error}). '
                                f'{_ways_out(name)}') from error
    return path


def _cache_path(name: str) -> Path:
    return Path(torch.hub.get_dir(), 'checkpoints', KNOWN[name].url.rpartition('/')[2])


def _ways_out(name: str) -> str:
    backbone = KNOWN[name]
    return (f'Either give this machine access to {backbone.url}, or download that file elsewhere and put it at '
            f'{_cache_path(name)}, or anywhere and give its path (`weights: PATH` of the metric in YAML, '
            f'{backbone.option} PATH on the command line).')


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
