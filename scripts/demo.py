"""The main job on photos that are already here: prune a trained teacher, distil it into a slim student, measure all.

  python scripts/demo.py              a few minutes on 2 cores; `bash scripts/demo.sh` installs what it needs first
  python scripts/demo.py --iters 100  only to see that everything runs

BasicSR's own train.py and test.py do the work, by options/demo_prune.yml, demo_kd_s16.yml and demo_test.yml.
"""
import argparse
import os
import sys
from pathlib import Path
from typing import Any

from common.demo_photos import make_demo_data
from common.measure import measure, report_of, sets_of
from common.trainings import run_logged, total_iterations

from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.report.text import evaluation_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path('results/demo')
NETWORKS = {
    'teacher': Path('basicsr_kd/weights/demo_teacher.pth'),
    'pruned teacher': Path('experiments/demo_prune/models/net_g_latest.pth'),
    'student': Path('experiments/demo_kd_s16/models/net_g_latest.pth'),
}
ABOUT: dict[str, dict[str, Any]] = {
    'teacher': {'role': 'teacher'},
    'pruned teacher': {'role': 'pruned_teacher', 'pruned': 0.3},
    'student': {'role': 'student', 'features': 16, 'pruned': 0.3},
}
SETS = ['held-out=datasets/demo/val/HR,datasets/demo/val/LRx4']
LR_SIZE = 48
"""Side of every held-out part in low resolution, so that cost and speed are those of one part."""
NEXT = """
Next, on your own teacher and photos (README, "Your own ESRGAN"):
  python scripts/prepare_images.py --input DIV2K_train_HR --output datasets/DIV2K_train --sub-size 480 --step 240
  python basicsr/train.py -opt options/prune_esrgan_r30.yml
  python basicsr/train.py -opt options/kd_esrgan_s32.yml"""


def train(name: str, title: str, iterations: int | None) -> None:
    """Run `options/<name>.yml` through basicsr/train.py."""
    options = Path(f'options/{name}.yml')
    command = [sys.executable, 'basicsr/train.py', '-opt', str(options)]
    if iterations is not None:
        command += ['--force_yml', f'train:total_iter={iterations}', f'train:scheduler:periods=[{iterations}]']
    run_logged(command, RESULTS / f'{name}.log', title, iterations or total_iterations(options))


def demo(iterations: int | None) -> None:
    """The whole job, from photos to picture; the working directory is the repository's root."""
    training, held_out = make_demo_data(Path('datasets/demo'))
    print(f'1/5 data: {training} training and {held_out} held-out parts of scikit-image photos in datasets/demo')
    train('demo_prune', '2/5 prune and fine-tune the teacher', iterations)
    train('demo_kd_s16', '3/5 distil it into the student     ', iterations)
    run_logged([sys.executable, 'basicsr/test.py', '-opt', 'options/demo_test.yml'], RESULTS / 'demo_test.log',
               '4/5 test the student with BasicSR  ')
    print('5/5 measure bicubic, teacher, pruned teacher and student on the held-out parts\n')
    result = measure(NETWORKS, sets_of(SETS), RESULTS, about=ABOUT, metrics=['psnr', 'ssim'], channel='y',
                     lr_size=LR_SIZE)
    print(f'\n{evaluation_text(result)}')
    report_of(RESULTS, RESULTS / 'report')
    print(f'\nReport with pictures: {RESULTS}/report/index.html\nFigures of every part, images, logs: {RESULTS}/\n'
          f'Student: {NETWORKS["student"]} (opens in any BasicSR, without this plugin)')
    print(NEXT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iters', type=int, help='iterations of each training run (default: what its YAML says)')
    args = parser.parse_args()
    if Path.cwd() != ROOT:
        sys.exit(f"demo: run it from the repository's root: cd {ROOT} && python scripts/demo.py")
    os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')  # nets this small need no second GPU
    try:
        demo(args.iters)
    except (BasicSRKDError, FileNotFoundError) as error:
        sys.exit(f'demo: {error}')


if __name__ == '__main__':
    main()
