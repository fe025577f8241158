"""deploy/memory.py: what does not fit into memory is refused with its size, before the work."""
from types import SimpleNamespace

import numpy as np
import pytest

from basicsr_kd.deploy import memory
from basicsr_kd.deploy.formats import FORMATS
from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.errors import BadImageError

SMALL = np.zeros((100, 200, 3), np.uint8)
LARGE = np.broadcast_to(np.zeros((), np.uint8), (10_000, 20_000, 3))  # 200 megapixels, of one byte
GIB = 2**30


@pytest.fixture
def check(monkeypatch):
    """Whether an image fits into so many bytes."""
    def check(pixels, free, tiling, layer=0, ending='.png'):
        monkeypatch.setattr(memory, 'free_memory', lambda: free)
        run = SimpleNamespace(memory=lambda pixels: pixels * layer, free_memory=lambda: free)
        network = SimpleNamespace(scale=4, multiple=1, tiling=tiling, run_net=run, file='net.pth')
        memory.check_memory('x.png', pixels, network, FORMATS[ending])
    return check


def test_200_megapixels_need_one_result_and_a_tile(check):
    result = LARGE.size * 16
    check(LARGE, result + 3 * 288**2 * 16 * 8, Tiling(256, 16))
    with pytest.raises(BadImageError, match=(
            r'x\.png 20000x10000, would become 80000x40000 pixels: the result alone takes 8\.9 GiB of memory and the '
            r'whole 9\.0 GiB, 8\.0 GiB are free\. Expected a smaller image')):
        check(LARGE, 8 * GIB, Tiling(256, 16))
    with pytest.raises(BadImageError, match=r'the whole 80\.5 GiB, 20\.0 GiB are free\. Give --tile 256'):
        check(LARGE, 20 * GIB, Tiling())
    check(np.broadcast_to(np.zeros((), np.uint8), (10_000, 20_000, 1)), result // 3 + GIB, Tiling(256, 16))


def test_16_bits_take_twice_as_much_and_formats_copy(check):
    result = SMALL.size * 16
    check(SMALL, 2 * result, Tiling(10, 2))
    for pixels, ending in ((SMALL.astype(np.uint16), '.png'), (SMALL, '.jpg'), (SMALL, '.webp')):
        check(pixels, 4 * result, Tiling(10, 2), ending=ending)
        with pytest.raises(BadImageError):
            check(pixels, 1.9 * result, Tiling(10, 2), ending=ending)


def test_a_layer_that_does_not_fit_is_told(check):
    check(SMALL, GIB, Tiling(), layer=50_000)
    with pytest.raises(BadImageError, match=r'200x100, .* a layer of net\.pth takes 1\.1 GiB of memory for all of it, '
                       r'1\.0 GiB are free\. Give --tile 256'):
        check(SMALL, GIB, Tiling(), layer=60_000)
    check(SMALL, GIB, Tiling(64, 16), layer=60_000)
    with pytest.raises(BadImageError, match=r'for a tile, 1\.0 GiB are free\. Give a smaller --tile'):
        check(SMALL, GIB, Tiling(64, 16, batch=4), layer=60_000)
