"""deploy/planes.py: arrays in pieces, through anything that runs a network, into results of whole numbers."""
import tracemalloc

import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.pictures import noise
from helpers.runners import Nearest

from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.deploy.planes import NotFiniteError, enlarge_planes
from basicsr_kd.deploy.runner import Torch


def enlarged(run, image, tiling=Tiling(), multiple=1, scale=4):  # noqa: B008  (it is frozen)
    result = np.empty((scale * image.shape[0], scale * image.shape[1], image.shape[2]), image.dtype)
    enlarge_planes(run, image, result, multiple, tiling)
    return result


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(('tiling', 'multiple'), [
    (Tiling(), 1), (Tiling(), 8), (Tiling(8, 2), 1), (Tiling(7, 3, batch=4), 2), (Tiling(9, 0, batch=100), 4)])
@pytest.mark.parametrize('size', [(37, 53), (1, 53), (53, 2), (1, 1)])
def test_every_value_comes_back_in_its_place(size, channels, dtype, tiling, multiple):
    image, run = noise(*size, channels, dtype), Nearest()
    result = enlarged(run, image, tiling, multiple)
    assert np.array_equal(result, image.repeat(4, axis=0).repeat(4, axis=1))
    assert all(shape[1] == 3 and shape[2] % multiple == shape[3] % multiple == 0 for shape in run.seen)
    assert max(shape[0] for shape in run.seen) == min(tiling.batch, sum(shape[0] for shape in run.seen))


@pytest.mark.parametrize(('net', 'sees', 'multiple'), [
    (SRVGGNetCompact(3, 3, num_feat=8, num_conv=4, upscale=4), 6, 1),
    (RRDBNet(3, 3, scale=4, num_feat=4, num_block=1, num_grow_ch=4), 20, 1),
    (RRDBNet(3, 3, scale=2, num_feat=4, num_block=1, num_grow_ch=4), 40, 2)])
def test_with_the_overlap_that_a_network_sees_pieces_are_equal_to_the_whole(net, sees, multiple):
    """To 1e-4 of the range of values; a smaller overlap is not, so the test can fail."""
    for parameter in net.parameters():
        parameter.data.mul_(3)
    run = Torch(net.eval(), side=16)
    image = noise(130, 150, 3, np.uint16)
    whole, apart, short = (enlarged(run, image, tiling, multiple, scale=getattr(net, 'scale', 4)).astype(float) / 65535
                           for tiling in (Tiling(), Tiling(48, sees, batch=2), Tiling(48, 2, batch=2)))
    assert np.ptp(whole) > 0.05
    assert np.abs(apart - whole).max() <= 1e-4 < np.abs(short - whole).max()


def test_the_whole_in_floating_point_is_never_in_memory():
    image = noise(512, 512, 3)
    result = np.empty((2048, 2048, 3), np.uint8)
    peaks = []
    for tiling in (Tiling(64, 8), Tiling(64, 8, batch=4), Tiling()):
        tracemalloc.start()
        enlarge_planes(Nearest(), image, result, 1, tiling)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    tile = 80**2 * 16 * 3 * 4
    assert peaks[0] < 5 * tile < result.nbytes and peaks[1] < 11 * tile < 2 * result.nbytes < peaks[2]


def test_values_are_clipped_and_rounded_and_must_be_some():
    values = iter([-1, 0.4999 / 255, 0.5001 / 255, 2, np.nan])

    def run(images):
        return np.full((1, 3, 4, 4), next(values), np.float32)

    run.memory = run.free_memory = None
    image = noise(1, 1, 3)
    assert [enlarged(run, image).max() for _ in range(4)] == [0, 0, 1, 255]
    with pytest.raises(NotFiniteError):
        enlarged(run, image)


def test_a_result_of_another_size_is_told():
    with pytest.raises(ValueError, match='it makes 16x20 pixels of a piece, expected 4 times its size'):
        enlarged(Nearest(2), noise(10, 8, 3))


def test_the_least_memory_is_that_of_the_largest_convolution():
    net = SRVGGNetCompact(3, 3, num_feat=8, num_conv=1, upscale=4)
    # the last of them makes 48 channels of 8
    assert Torch(net.eval(), side=16).memory(1000) == 1000 * 4 * (8 + 48)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_batches_of_pieces_go_to_the_networks_device_and_come_back():
    net, image = SRVGGNetCompact(3, 3, num_feat=8, num_conv=4, upscale=4).eval(), noise(130, 150, 3)
    expected = enlarged(Torch(net, side=16), image)
    run = Torch(net, 'cuda', side=16)
    assert np.abs(enlarged(run, image, Tiling(48, 6, batch=4)).astype(int) - expected).max() <= 1
    assert 0 < run.memory(1000) < run.free_memory() < float('inf')
