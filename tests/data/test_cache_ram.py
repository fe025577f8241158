"""`cache: ram`: the samples of the same data set on disk, decoded once and shared by all workers; what is refused."""
from __future__ import annotations

import random
import shutil
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.data import build_dataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from torch.utils.data import DataLoader

from basicsr_kd import options, preflight
from basicsr_kd.data import ram
from basicsr_kd.errors import OptionsError


def checked(opt: dict[str, Any]) -> dict[str, Any]:
    """`datasets.train` as it is after the checks."""
    options.validate(opt, True)
    preflight.check(opt)
    return opt['datasets']['train']


def samples(dataset: Any) -> list[dict[str, Any]]:
    random.seed(3)
    return [dataset[index] for index in range(len(dataset))]


def same_samples(left: Any, right: Any) -> bool:
    pairs = list(zip(samples(left), samples(right), strict=True))
    assert pairs
    return all(torch.equal(one['gt'], other['gt']) and torch.equal(one['lq'], other['lq']) and
               one['gt_path'] == other['gt_path'] for one, other in pairs)


def to_lmdb(folder: str, target: Path) -> str:
    names = sorted(path.name for path in Path(folder).iterdir())
    make_lmdb_from_imgs(folder, str(target), names, [name[:-4] for name in names])
    return str(target)


@pytest.mark.parametrize('backend', ['disk', 'lmdb'])
def test_the_samples_are_those_of_the_files(backend, kd_opt, tmp_path, log):
    section = kd_opt['datasets']['train']
    if backend == 'lmdb':
        section['io_backend'] = {'type': 'lmdb'}
        for kind in ('gt', 'lq'):
            section[f'dataroot_{kind}'] = to_lmdb(section[f'dataroot_{kind}'], tmp_path / f'{kind}.lmdb')
    plain = build_dataset(section)
    section['cache'] = 'ram'
    cached = build_dataset(checked(kd_opt))
    assert same_samples(cached, plain)
    assert any(line.startswith('cache: ram: 6 images take 0.2 MiB') for line in log)


def test_forked_workers_of_every_epoch_read_no_file(kd_opt, image_pairs, tmp_path):
    pairs = tmp_path / 'pairs'
    shutil.copytree(image_pairs, pairs)
    section = kd_opt['datasets']['train']
    section.update(dataroot_gt=str(pairs / 'HR'), dataroot_lq=str(pairs / 'LRx4'), cache='ram')
    dataset = build_dataset(checked(kd_opt))
    shutil.rmtree(pairs)
    loader = DataLoader(dataset, num_workers=2, multiprocessing_context='fork')
    for _ in range(2):
        assert [batch['gt'].shape for batch in loader] == [(1, 3, 128, 128)] * 3


def test_spawned_workers_are_handed_the_memory_not_a_copy(kd_opt):
    kd_opt['datasets']['train']['cache'] = 'ram'
    dataset = build_dataset(checked(kd_opt))
    message = ForkingPickler.dumps(dataset)  # what a data loader sends to a worker that it spawns
    received = ForkingPickler.loads(message)
    assert len(message) < dataset.file_client.images.nbytes / 10
    dataset.file_client.images[-1] = 255 - received.file_client.images[-1]
    assert dataset.file_client.images[-1] == received.file_client.images[-1]


def test_clips_too(frvsr_opt):
    plain = build_dataset(frvsr_opt['datasets']['train'])
    frvsr_opt['datasets']['train']['cache'] = 'ram'
    cached = build_dataset(checked(frvsr_opt))
    pairs = list(zip(samples(plain), samples(cached), strict=True))
    assert len(pairs) == 15 and all(torch.equal(one['gt'], other['gt']) for one, other in pairs)


def test_an_image_on_its_side_fits_its_place(tmp_path):
    from PIL import Image
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new('RGB', (5, 3), (200, 0, 0)).save(tmp_path / 'a.jpg', exif=exif)
    Image.new('RGB', (5, 3), (0, 0, 200)).save(tmp_path / 'b.png')
    names = [(str(tmp_path / name), 'gt') for name in ('a.jpg', 'b.png')]
    images = ram.RamImages(names, ram.FileClient('disk'))
    first, second = (ram.imfrombytes(images.get(*name)) for name in names)
    assert first.shape == (5, 3, 3) and first[0, 0, 2] > 150
    assert second.shape == (3, 5, 3) and second[2, 4].tolist() == [200, 0, 0]


def test_too_little_memory_is_told_before_the_run(kd_opt, monkeypatch):
    kd_opt['datasets']['train']['cache'] = 'ram'
    monkeypatch.setattr(ram, '_free_to_share', lambda: 300_000.0)
    checked(kd_opt)  # 3 * (62,262 + 3,942) bytes
    kd_opt['datasets']['train']['type'] = 'PairedImageDataset'
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    with pytest.raises(OptionsError, match=r'datasets.train.cache: ram: .* 0.4 MiB in 2 processes, 0.3 MiB are free'):
        checked(kd_opt)


def test_a_damaged_image_is_told_before_the_run(kd_opt, image_pairs, tmp_path):
    shutil.copytree(image_pairs, tmp_path / 'pairs')
    (tmp_path / 'pairs' / 'HR' / '1.png').write_bytes(b'no image')
    kd_opt['datasets']['train'].update(dataroot_gt=str(tmp_path / 'pairs' / 'HR'), cache='ram')
    with pytest.raises(OptionsError, match=r'datasets.train: .*HR/1.png cannot be read as an image'):
        checked(kd_opt)


@pytest.mark.parametrize(('phase', 'changes', 'expected'), [
    ('train', {'cache': 'disk'}, "datasets.train.cache: found 'disk'. Possible: ram"),
    ('train', {'cache': True}, 'datasets.train.cache: found True. Possible: ram'),
    ('val', {'cache': 'ram'}, 'datasets.val.cache: only datasets.train of type PairedImageDataset or'),
    ('train', {'cache': 'ram', 'type': 'FFHQDataset'}, 'datasets.train.cache: only datasets.train of type'),
])
def test_what_is_refused(phase, changes, expected, kd_opt):
    kd_opt['datasets'][phase].update(changes)
    with pytest.raises(OptionsError) as error:
        checked(kd_opt)
    assert str(error.value).startswith(expected)
