"""Calibration images: folders and LMDBs of any kind of image in, one tensor out."""
import cv2
import lmdb
import numpy as np
import pytest
import torch
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from basicsr_kd.pruning import PruningError, read_calibration, read_whole


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def numbered(folder, count, height=12, width=10):
    """Images of one grey value each: their number in the order of their names."""
    for index in range(count):
        write(folder / f'{index:03d}.png', np.full((height, width, 3), index, np.uint8))
    return folder


def values(images):
    return (images.mean((1, 2, 3)) * 255).round().int().tolist()


def test_shape_range_and_even_spread(tmp_path):
    images = read_calibration(numbered(tmp_path, 20), num=5, size=8)
    assert images.shape == (5, 3, 8, 8) and images.dtype == torch.float32
    assert values(images) == [0, 4, 8, 12, 16]


def test_fewer_images_than_asked_for_are_all_taken(tmp_path):
    assert values(read_calibration(numbered(tmp_path, 3), num=16, size=8)) == [0, 1, 2]


def test_is_the_centre_in_rgb(tmp_path):
    image = np.zeros((8, 10, 3), np.uint8)
    image[2:6, 3:7] = (10, 20, 30)  # BGR
    write(tmp_path / 'a.png', image)
    [crop] = read_calibration(tmp_path, size=4)
    assert torch.equal((crop * 255).round(), torch.tensor([30., 20, 10]).view(3, 1, 1).expand(3, 4, 4))


def test_smallest_image_gives_the_size_for_all_in_steps_of_4(tmp_path):
    write(tmp_path / 'a.png', np.zeros((40, 50, 3), np.uint8))
    write(tmp_path / 'b.png', np.zeros((20, 11, 3), np.uint8))
    assert read_calibration(tmp_path, size=32).shape == (2, 3, 8, 8)
    assert read_calibration(tmp_path, size=32, channels=1).shape == (2, 1, 8, 8)
    with pytest.raises(PruningError, match='images have 3 channels or 1, and the network takes 4'):
        read_calibration(tmp_path, channels=4)


def test_folders_inside_are_read_and_other_files_left_out(tmp_path):
    numbered(tmp_path / 'z', 2)
    write(tmp_path / 'a' / 'b.jpg', np.full((9, 9, 3), 200, np.uint8))
    write(tmp_path / 'a' / '.hidden.png', np.zeros((9, 9, 3), np.uint8))
    (tmp_path / 'notes.txt').write_text('no image')
    assert values(read_calibration(tmp_path, size=8)) == [200, 0, 1]


@pytest.mark.parametrize('image', [
    np.full((9, 9), 51, np.uint8),
    np.full((9, 9), 13107, np.uint16),
    np.full((9, 9, 3), 13107, np.uint16),
    np.dstack([np.full((9, 9, 3), 51, np.uint8), np.zeros((9, 9), np.uint8)]),
], ids=['grey', 'grey 16 bit', '16 bit', 'alpha'])
def test_every_kind_of_image_becomes_rgb(tmp_path, image):
    write(tmp_path / 'a.png', image)
    images = read_calibration(tmp_path, size=8)
    assert images.shape == (1, 3, 8, 8)
    assert torch.allclose(images, torch.tensor(0.2), atol=1e-6)


def test_sixteen_bits_keep_their_precision(tmp_path):
    write(tmp_path / 'a.png', np.full((9, 9, 3), 13000, np.uint16))
    assert read_calibration(tmp_path, size=8).mean().item() == pytest.approx(13000 / 65535, abs=1e-6)


def test_lmdb_gives_what_its_folder_gives_and_is_closed_again(tmp_path, image_pairs):
    folder, database = image_pairs / 'HR', tmp_path / 'images.lmdb'
    names = sorted(path.name for path in folder.iterdir())
    make_lmdb_from_imgs(str(folder), str(database), names, [name[:-4] for name in names])
    images = read_calibration(database, num=2, size=64)
    assert torch.equal(images, read_calibration(folder, num=2, size=64))
    assert torch.equal(images, read_calibration(database, num=2, size=64))
    with lmdb.open(str(database), readonly=True, lock=False):
        pass


def test_missing_or_empty_folder(tmp_path):
    with pytest.raises(PruningError, match='nowhere does not exist .* Expected a folder of images or an .lmdb folder'):
        read_calibration(tmp_path / 'nowhere')
    (tmp_path / 'notes.txt').write_text('no image')
    with pytest.raises(PruningError, match=r'no images \(.*\.png.*\) in'):
        read_calibration(tmp_path)
    with pytest.raises(PruningError, match='notes.txt is a file'):
        read_calibration(tmp_path / 'notes.txt')


def test_unreadable_image_is_named(tmp_path):
    numbered(tmp_path, 2)
    (tmp_path / '001.png').write_bytes(b'not an image')
    with pytest.raises(PruningError, match='001.png is not an image that can be read'):
        read_calibration(tmp_path)
    (tmp_path / '001.png').write_bytes(b'')
    with pytest.raises(PruningError, match='001.png is not an image that can be read'):
        read_calibration(tmp_path)


def test_folder_that_is_no_lmdb(tmp_path):
    root = tmp_path / 'a.lmdb'
    root.mkdir()
    with pytest.raises(PruningError, match='meta_info.txt does not exist'):
        read_calibration(root)
    (root / 'meta_info.txt').write_text('a.png (9,9,3) 1\n')
    with pytest.raises(PruningError, match='cannot be read as an LMDB'):
        read_calibration(root)
    (root / 'meta_info.txt').write_text('')
    with pytest.raises(PruningError, match='lists no images'):
        read_calibration(root)


@pytest.mark.parametrize('numbers', [{'num': 0}, {'size': 0}, {'num': 2.5}, {'size': True}])
def test_impossible_numbers(tmp_path, numbers):
    with pytest.raises(PruningError, match='Expected a whole number of at least [14]'):
        read_calibration(numbered(tmp_path, 1), **numbers)


def test_whole_images_are_in_the_same_order_and_as_large_as_they_are(tmp_path):
    for name, size in (('a', (40, 52)), ('b', (700, 30))):
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))
    squares, whole = read_calibration(tmp_path, size=28), read_whole(tmp_path)
    assert [tuple(image.shape) for image in whole] == [(1, 3, 40, 52), (1, 3, 512, 30)]
    assert torch.equal(whole[0][0, :, 6:34, 12:40], squares[0])
    assert torch.equal(whole[1][0, :, 242:270, 1:29], squares[1])
