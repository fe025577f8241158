"""deploy/photos.py: how much of the photos is in memory at a time."""
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import noise
from helpers.runners import Nearest

from basicsr_kd.deploy.formats import FORMATS, write_picture
from basicsr_kd.deploy.network import TrainedNetwork
from basicsr_kd.deploy.photos import Photos
from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.errors import BadImageError
from basicsr_kd.utils.pictures import Picture, read_picture


@pytest.fixture
def photos(tmp_path):
    """Two of 400x400 pixels, and a network in the place of which pixels are repeated."""
    for name in 'ab':
        write_picture(tmp_path / f'{name}.png', Picture(noise(400, 400, 3)))
    network = TrainedNetwork.__new__(TrainedNetwork)
    network.scale, network.multiple, network.tiling, network.file = 4, 1, Tiling(64, 8), Path('net.pth')
    network.run_net = Nearest()
    return Photos([tmp_path / 'a.png', tmp_path / 'b.png'], network, FORMATS['.png'])


@pytest.mark.parametrize('ending', ['png', 'tif'])
def test_one_result_and_a_tile_are_in_memory(tmp_path, photos, ending):
    def enlarge():
        faults = photos.check()
        photos.enlarge(faults, lambda path, picture: write_picture(tmp_path / f'{path.stem}_x4.{ending}', picture))
        assert faults == {}

    enlarge()
    tracemalloc.start()
    enlarge()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = 1600**2 * 3
    assert result < peak < 1.5 * result
    assert np.array_equal(read_picture(tmp_path / f'b_x4.{ending}').pixels,
                          noise(400, 400, 3).repeat(4, axis=0).repeat(4, axis=1))


def test_memory_that_there_is_not_after_all_is_the_fault_of_a_photo(photos):
    faults, written = {}, []

    def write(path, picture):
        if path.name == 'a.png':
            raise MemoryError('Unable to allocate 9 GiB')
        written.append(path.name)

    photos.enlarge(faults, write)
    assert written == ['b.png']
    assert [str(fault) for fault in faults.values()] == [
        f'{photos.paths[0]} takes more memory than there is: Unable to allocate 9 GiB.']
    assert isinstance(faults[photos.paths[0]], BadImageError)
