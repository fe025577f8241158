"""scripts/prepare_images.py: pairs BasicSR reads, runs that go on, and every way a folder of photos goes wrong."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from basicsr.data.paired_image_dataset import PairedImageDataset
from common.photos import PrepareError, Settings, downscale
from PIL import Image
from prepare_images import find_photos, prepare, summary

SCRIPTS = Path(__file__).parents[2] / 'scripts'


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / 'photos'
    folder.mkdir()
    for index, size in enumerate([(50, 71), (64, 48)]):
        Image.fromarray(noise(*size, seed=index)).save(folder / f'p{index}.png')
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_photos_are_cropped_to_a_multiple_of_the_scale(photos, tmp_path):
    outcomes = prepare(tmp_path / 'out', Settings(str(photos)), workers=1)

    assert names(tmp_path / 'out' / 'HR') == names(tmp_path / 'out' / 'LRx4') == ['p0.png', 'p1.png']
    assert (read(tmp_path / 'out/HR/p0.png') == noise(50, 71)[:48, :68]).all()
    assert (read(tmp_path / 'out/LRx4/p0.png') == downscale(noise(50, 71)[:48, :68], 4)).all()
    assert summary(outcomes, tmp_path / 'out', 4).endswith('2 photos made, 0 finished before, 0 left out.')


def test_sub_images_of_lr_are_cut_from_the_lr_of_the_whole_photo(photos, tmp_path):
    prepare(tmp_path / 'out', Settings(str(photos), sub_size=32, step=16), workers=2)

    whole = downscale(noise(64, 48, seed=1), 4)
    for index, (y, x) in enumerate([(0, 0), (0, 16), (16, 0), (16, 16), (32, 0), (32, 16)], start=1):
        assert (read(tmp_path / f'out/LRx4/p1_s{index:03d}.png') == whole[y // 4:y // 4 + 8, x // 4:x // 4 + 8]).all()
        assert (read(tmp_path / f'out/HR/p1_s{index:03d}.png') == noise(64, 48, seed=1)[y:y + 32, x:x + 32]).all()


def test_basicsr_reads_the_folders_as_a_paired_dataset(photos, tmp_path):
    prepare(tmp_path / 'out', Settings(str(photos), sub_size=32, step=16), workers=1)

    dataset = PairedImageDataset({
        'dataroot_gt': str(tmp_path / 'out/HR'), 'dataroot_lq': str(tmp_path / 'out/LRx4'),
        'io_backend': {'type': 'disk'}, 'phase': 'train', 'scale': 4, 'gt_size': 32,
        'use_hflip': True, 'use_rot': True})

    assert len(dataset) == len(names(tmp_path / 'out/HR'))
    assert dataset[0]['gt'].shape == (3, 32, 32)
    assert dataset[0]['lq'].shape == (3, 8, 8)


def test_a_second_run_makes_only_what_is_missing_or_changed(photos, tmp_path):
    out, settings = tmp_path / 'out', Settings(str(photos))
    prepare(out, settings, workers=1)
    (out / 'LRx4/p0.png').unlink()
    untouched = (out / 'HR/p1.png').stat().st_mtime_ns

    again = prepare(out, settings, workers=1)

    assert [outcome.made for outcome in again] == [True, False]
    assert names(out / 'LRx4') == ['p0.png', 'p1.png']
    assert (out / 'HR/p1.png').stat().st_mtime_ns == untouched

    Image.fromarray(noise(64, 48, seed=5)).save(photos / 'p1.png')
    later = (out / 'HR/p1.png').stat().st_mtime + 10
    os.utime(photos / 'p1.png', (later, later))
    assert [outcome.made for outcome in prepare(out, settings, workers=1)] == [False, True]
    assert (read(out / 'HR/p1.png') == noise(64, 48, seed=5)).all()


def test_changed_settings_are_refused_and_named(photos, tmp_path):
    prepare(tmp_path / 'out', Settings(str(photos)), workers=1)

    with pytest.raises(PrepareError, match='sub_size: None before, 32 now; step: None before, 16 now'):
        prepare(tmp_path / 'out', Settings(str(photos), sub_size=32, step=16), workers=1)


def test_a_folder_with_images_of_someone_else_is_refused(photos, tmp_path):
    (tmp_path / 'out/HR').mkdir(parents=True)
    (tmp_path / 'out/HR/mine.png').write_bytes(b'')

    with pytest.raises(PrepareError, match='did not make'):
        prepare(tmp_path / 'out', Settings(str(photos)), workers=1)


def test_broken_and_small_photos_are_named_and_left_out(photos, tmp_path):
    whole = (photos / 'p0.png').read_bytes()
    (photos / 'cut_short.png').write_bytes(whole[:len(whole) // 2])
    (photos / 'no_photo.jpg').write_text('not a photo')
    Image.fromarray(noise(15, 40)).save(photos / 'tiny.png')
    Image.fromarray(noise(64, 64)).save(photos / 'half.jpg')
    jpeg = (photos / 'half.jpg').read_bytes()
    (photos / 'half.jpg').write_bytes(jpeg[:len(jpeg) // 2])

    outcomes = prepare(tmp_path / 'out', Settings(str(photos)), workers=1)

    left_out = {outcome.photo.name: outcome.left_out for outcome in outcomes if outcome.left_out}
    assert sorted(left_out) == ['cut_short.png', 'half.jpg', 'no_photo.jpg', 'tiny.png']
    assert left_out['tiny.png'] == '40x15 is smaller than 16 px'
    assert all('cannot be read' in left_out[name] for name in left_out if name != 'tiny.png')
    assert names(tmp_path / 'out' / 'HR') == names(tmp_path / 'out' / 'LRx4') == ['p0.png', 'p1.png']


def test_photos_smaller_than_a_sub_image_are_left_out(photos, tmp_path):
    Image.fromarray(noise(60, 52)).save(photos / 'fits.png')

    outcomes = prepare(tmp_path / 'out', Settings(str(photos), sub_size=52, step=52), workers=1)

    assert [outcome.left_out for outcome in outcomes] == [
        '', '71x50 is smaller than 52 px', '48x64 is smaller than 52 px']


def test_a_folder_in_which_nothing_can_be_used_is_an_error(photos, tmp_path):
    with pytest.raises(PrepareError, match='none of the 2 photos'):
        prepare(tmp_path / 'out', Settings(str(photos), sub_size=128, step=128), workers=1)


def test_folders_are_searched_only_when_asked(photos):
    (photos / 'more').mkdir()
    Image.fromarray(noise(32, 32)).save(photos / 'more' / 'p0.jpg')

    assert list(find_photos(photos, recursive=False)) == ['p0', 'p1']
    assert list(find_photos(photos, recursive=True)) == ['more_p0', 'p0', 'p1']


def test_two_photos_of_one_name_are_an_error(photos):
    Image.fromarray(noise(32, 32)).save(photos / 'p0.jpg')

    with pytest.raises(PrepareError, match=r'p0\.jpg and .*p0\.png would both become p0\.png'):
        find_photos(photos, recursive=False)


def test_an_empty_or_missing_folder_is_an_error(tmp_path):
    with pytest.raises(PrepareError, match='no photo'):
        find_photos(tmp_path, recursive=False)
    with pytest.raises(PrepareError, match='is not a folder'):
        find_photos(tmp_path / 'nowhere', recursive=False)


def test_the_command_line_makes_a_training_set_and_says_what_it_did(photos, tmp_path):
    command = [sys.executable, str(SCRIPTS / 'prepare_images.py'), '--input', str(photos),
               '--output', str(tmp_path / 'out'), '--sub-size', '32']

    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # 48x68 gives 2x3 with the end crops, 64x48 gives 2x2
    assert done.stdout.startswith('10 pairs in') and '2 photos made' in done.stdout
    assert json.loads((tmp_path / 'out/prepare_images.json').read_text())['step'] == 32

    refused = subprocess.run([*command, '--step', '16'], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert 'Traceback' not in refused.stderr
    assert 'other settings (step: 32 before, 16 now)' in refused.stderr
