"""Make a Real-ESRGAN network smaller on your own photos: prune it, distil it into a smaller one, measure, look.

  python scripts/demo_realesrgan.py --weights realesr-general-x4v3.pth --photos BSDS400 --sets Set14=Set14/HR

takes about 50 minutes on 2 cores; with --iters 10 it only shows that everything runs.

--weights is an SRVGGNetCompact. Some photos are held out of training; they and --sets, folders of images, are degraded
as in training (scripts/degrade_images.py), from a fixed seed. Trained are: the network pruned by 0.3 and by 0.5, each
towards the output of the whole one; half of it (options/kd_realesrgan_compact.yml), distilled; the same half
without a teacher; and the distilled one trained on, for half as long, with a small discriminator that starts fresh.
BasicSR's train.py does the work. The same command goes on where it was stopped.
"""
import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import degrade_images
import yaml
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from common.measure import IMAGES, measure, report_of, sets_of
from common.overrides import override
from common.trainings import PlanError, Run, run_script, train, write_options
from prepare_images import find_photos
from studies.ablation.data import split

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.cli import main as cli
from basicsr_kd.report.text import evaluation_text

RESULTS = Path('results/demo_realesrgan')
OPTIONS = Path('options/kd_realesrgan_compact.yml')
ITERATIONS = 2200
"""Of each training."""
HELD_OUT = 20
CALIBRATION = 16
"""Photos that pruning looks at."""
RATIOS = (0.3, 0.5)
METRICS = ['psnr', 'ssim', 'niqe']


def prepare(photos: Path, sets: Sequence[str], folder: Path) -> list[str]:
    """Divide the photos and degrade what is tested on, and some training photos for pruning; done once.

    Args:
        photos: A folder of photos.
        sets: NAME=DIR, further images to test on.
        folder: Gets train.txt, BasicSR's list of the photos to train on, and a folder with HR/ and LRx4/ for each set.

    Returns:
        The sets as NAME=HRDIR,LRDIR, those held out first.

    Raises:
        PrepareError: Too few photos.
    """
    found = find_photos(photos, recursive=False)
    parts = split(list(found), HELD_OUT)
    spread = parts['train'][::max(1, len(parts['train']) // CALIBRATION)][:CALIBRATION]
    for name, chosen in (('held_out', parts['held_out']), ('calibration', spread)):
        (folder / 'photos' / name).mkdir(parents=True, exist_ok=True)
        for photo in chosen:
            shutil.copy(found[photo], folder / 'photos' / name)
    (folder / 'train.txt').write_text(''.join(f'{found[photo].name}\n' for photo in parts['train']))
    tested = {'held_out': folder / 'photos' / 'held_out'}
    tested |= {name: Path(path) for name, _, path in (option.partition('=') for option in sets)}
    for name, images in (tested | {'calibration': folder / 'photos' / 'calibration'}).items():
        if not (folder / name).exists():
            unfinished = folder / f'{name}.part'
            degrade_images.main(['--opt', str(OPTIONS), '--input', str(images), '--output', str(unfinished)])
            unfinished.rename(folder / name)
    return [f'{name}={folder / name}/HR,{folder / name}/LRx4' for name in tested]


def prune(weights: Path, ratio: float, data: Path, out: Path) -> dict[str, Any]:
    """A pruned, refitted copy of a network, made once; what options files call it.

    Raises:
        PlanError: It cannot be pruned; why is on the screen.
    """
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        command = ['prune', '--weights', weights, '--ratio', ratio, '--out', out, '--calibration',
                   data / 'calibration' / 'LRx4', '--reconstruct', '--minutes', 0]
        if cli.main([str(argument) for argument in command]):
            raise PlanError(f'{weights} could not be pruned by {ratio}.')
    return yaml.safe_load(out.with_suffix('.yml').read_text())


def plan(weights: Path, photos: Path, data: Path, iterations: int = ITERATIONS) -> list[Run]:
    """The trainings.

    Args:
        weights: The network to make smaller.
        photos: The folder of photos.
        data: What `prepare` has filled.
        iterations: Of each.
    """
    recipe = yaml.safe_load(OPTIONS.read_text())
    base = override(recipe, {
        'gt_size': 192, 'queue_size': 48, 'network_d': None, 'path': {'pretrain_network_d': None},
        'datasets.train': {'dataroot_gt': str(photos), 'meta_info': str(data / 'train.txt'), 'crop_size': 256,
                           'num_worker_per_gpu': 1, 'batch_size_per_gpu': 4},
        'datasets.val': {'dataroot_gt': str(data / 'held_out/HR'), 'dataroot_lq': str(data / 'held_out/LRx4')},
        'teacher': {'path': str(weights)}, 'val': {'val_freq': iterations, 'pictures': 0},
        'logger': {'print_freq': 10, 'save_checkpoint_freq': max(1, iterations // 3), 'use_tb_logger': False},
        'train': {'amp': 'bf16', 'ema_decay': 0.99, 'total_iter': iterations, 'gan_opt': None, 'optim_d': None,
                  'perceptual_opt': None, 'pixel_opt': {'loss_weight': 0.1}, 'optim_g': {'lr': 2e-4},
                  'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [iterations], 'restart_weights': [1],
                                'eta_min': 1e-6}}})

    def run(name: str, changes: dict[str, Any], **about: Any) -> Run:
        options = override(base, {'name': f'demo_realesrgan_{name}', **changes})
        about |= {'iterations': options['train']['total_iter'], 'seed': options['manual_seed']}
        return Run(name, options, about)

    output = [term for term in base['train']['distill_opt'] if term['type'] == 'ResponseDistillLoss']
    runs = []
    for ratio in RATIOS:
        name = f'pruned_{ratio}'
        file = RESULTS / 'pruned' / f'{name}.pth'
        section = prune(weights, ratio, data, file)
        runs.append(run(name, {'network_g': section['network_g'], 'student': None, 'train.distill_opt': output,
                               'path.pretrain_network_g': str(file)}, role='pruned_teacher', pruned=ratio))
    distilled = run('half_distilled', {}, role='student')
    alone = run('half_alone', {'train': {'distill_opt': None, 'pixel_opt': {'loss_weight': 1.0}}}, role='student')
    count = max(2, iterations // 2)
    gan = run('half_distilled_gan', {
        'path': {'pretrain_network_g': str(distilled.weights), 'param_key_g': 'params_ema'}, 'student': None,
        'network_d': {**recipe['network_d'], 'num_feat': 16}, 'val.val_freq': count,
        'train': {'gan_opt': {**recipe['train']['gan_opt'], 'loss_weight': 0.05}, 'optim_d': recipe['train']['optim_d'],
                  'optim_g': {'lr': 1e-4}, 'total_iter': count, 'net_d_init_iters': count // 10,
                  'scheduler': {'periods': [count]}}}, role='student')
    return [*runs, distilled, alone, gan]


def demo(weights: Path, photos: Path, sets: Sequence[str], iterations: int) -> None:
    """From photos to report; the working directory is the repository's root."""
    if not isinstance(build_from_file(str(weights)), SRVGGNetCompact):
        raise PlanError(f'{weights} is no SRVGGNetCompact, of which the smaller ones here are made.')
    data = RESULTS / 'data'
    tested = prepare(photos, sets, data)
    runs = plan(weights, photos, data, iterations)
    files = write_options(runs, RESULTS / 'runs')
    width = max(len(run.name) for run in runs)
    for index, run in enumerate(runs, 1):
        train(run, files[run.name], f'{index}/{len(runs)} {run.name:{width}}', gpus=1)
    networks = {'teacher': weights} | {run.name: run.weights for run in runs}
    about = {'teacher': {'role': 'teacher'}} | {run.name: run.about for run in runs}
    truth = measure(networks, sets_of(tested), RESULTS, about=about, metrics=METRICS, channel='y')
    like = [f'{name}={RESULTS / IMAGES}/teacher/{name},{folders.partition(",")[2]}'
            for name, _, folders in (option.partition('=') for option in tested)]
    copied = measure({run.name: run.weights for run in runs}, sets_of(like), RESULTS / 'like_teacher', about=about,
                     metrics=METRICS[:2], channel='y', timed=False)
    print(f'\nAgainst the photos:\n\n{evaluation_text(truth)}\n\nAgainst the output of the teacher:\n\n'
          f'{evaluation_text(copied)}')
    report_of(RESULTS, RESULTS / 'report')
    print(f'\nReport with pictures: {RESULTS}/report/index.html\nOptions and logs: {RESULTS}/runs')


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', type=Path, required=True, metavar='FILE', help='an SRVGGNetCompact, 4 times')
    parser.add_argument('--photos', type=Path, required=True, metavar='DIR', help='photos to train on')
    parser.add_argument('--sets', nargs='+', default=[], metavar='NAME=DIR', help='further images to test on')
    parser.add_argument('--iters', type=int, default=ITERATIONS, help=f'of each training (default: {ITERATIONS})')
    args = parser.parse_args(argv)
    os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')  # options say num_gpu: auto
    run_script('demo_realesrgan', lambda: demo(args.weights, args.photos, args.sets, args.iters))


if __name__ == '__main__':
    main()
