"""`basicsr-kd evaluate`: measures networks on sets of images: quality, size, speed and memory, beside bicubic."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from basicsr_kd.cli.devices import usable_device
from basicsr_kd.cli.evaluate_arguments import BICUBIC, add_arguments, check_arguments
from basicsr_kd.cli.outputs import Refusal, check_folder, check_outputs, refuse, write_json

if TYPE_CHECKING:
    from basicsr_kd.evaluation.methods import Method
    from basicsr_kd.evaluation.sets import ImageSet

EXAMPLE = """basicsr-kd evaluate --weights teacher.pth student.pth bicubic --hr Set5/HR --lr Set5/LRx4
         basicsr-kd evaluate --sr results/student --hr Set5/HR --border 4 --metrics psnr lpips"""
_GROUND_TRUTH = ('hr', 'gt', 'gtmod12', 'original')  # names of folders that do not tell which set it is

__all__ = ['EXAMPLE', 'add_arguments', 'run']


def run(args: argparse.Namespace) -> int:
    """Evaluates; what cannot be done is one line on stderr and exit status 2, with nothing written."""
    try:
        check_arguments(args)
        check_outputs([args.json], args.force)
        if args.save_images:
            check_folder(args.save_images, args.force)
        from basicsr_kd import plugin
        plugin.register()
        from basicsr_kd.checkpoint import CheckpointError
        from basicsr_kd.evaluation.errors import BadImageError, EvaluationError
        from basicsr_kd.metrics.errors import MetricError
    except Refusal as error:
        return refuse('evaluate', error)
    try:
        return _evaluate(args)
    except BadImageError as error:
        return refuse('evaluate', Refusal(f'{error} With --skip-bad such images are left out.'))
    except (Refusal, EvaluationError, CheckpointError, MetricError, OSError) as error:
        return refuse('evaluate', error)


def _evaluate(args: argparse.Namespace) -> int:
    from basicsr_kd.evaluation.checks import check_sets
    from basicsr_kd.evaluation.evaluate import evaluate
    from basicsr_kd.evaluation.methods import Bicubic, FinishedImages, Network, unique_names
    from basicsr_kd.evaluation.protocol import Protocol
    from basicsr_kd.evaluation.scorer import Scorer
    from basicsr_kd.evaluation.table import evaluation_text, left_out_text
    from basicsr_kd.metrics.precision import fast_formats
    device = usable_device(args.device)
    progress = sys.stderr.isatty()
    weights = [Path(file) for file in args.weights]
    names = unique_names([*weights, *args.sr], [*(file.stem for file in weights),
                                                *(folder.resolve().name for folder in args.sr)])
    finished = dict(zip(names[len(weights):], args.sr, strict=True))
    sets = _sets(args, finished)
    networks = {name: Network(name, file, device, args.tile)
                for name, file in zip(names, weights, strict=False) if str(file) != BICUBIC}
    checked = check_sets(sets, args.skip_bad, progress)
    methods: list[Method] = [
        networks[name] if name in networks else
        FinishedImages(name, finished[name]) if name in finished else Bicubic(name, checked.scale or 1)
        for name in names]
    border = args.border if args.border is not None else checked.scale or 0
    protocol = Protocol(list(dict.fromkeys(args.metrics)), border, args.channel, args.lpips_net, args.lpips_weights,
                        args.inception_weights)
    scorer = Scorer(protocol, device)
    reasons = left_out_text(scorer.left_out)
    if not scorer.metrics:
        raise Refusal(f'nothing is left to measure. {" ".join(reasons)}')
    for reason in reasons:  # now, not after hours
        print(f'basicsr-kd evaluate: {reason}', file=sys.stderr)
    result = evaluate(methods, checked, scorer, lr_size=args.lr_size,
                      formats=() if args.no_speed else fast_formats(device), save_images=args.save_images,
                      progress=progress)
    unwritten = None
    try:
        write_json(args.json, result)  # before printing, which may end in a pipe that closes
    except (OSError, ValueError) as error:
        unwritten = Refusal(f'{args.json} cannot be written: {error}. The figures are above, in short.')
    print(evaluation_text(result))
    if unwritten:
        raise unwritten
    if args.json:
        print(f'\nWritten: {args.json}')
    return 0


def _sets(args: argparse.Namespace, finished: dict[str, Path]) -> list['ImageSet']:
    from basicsr_kd.evaluation.sets import ImageSet, pair_folders
    names = args.names or [_set_name(folder) for folder in args.hr]
    if len(set(names)) < len(names):
        raise Refusal(f'two sets have one name: {", ".join(names)}. Name them with --names.')
    sets = []
    for name, hr, lr in zip(names, args.hr, args.lr or [None] * len(names), strict=True):
        results = {method: _of_set(folder, name, names) for method, folder in finished.items()}
        sets.append(ImageSet(name, hr, lr, pair_folders(hr, lr, results)))
    return sets


def _set_name(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name.lower() in _GROUND_TRUTH else folder.name


def _of_set(folder: Path, name: str, names: Sequence[str]) -> Path:
    """The finished images of a set: a folder of its name, or where there is but one set, those right inside."""
    inner = folder / name
    if inner.is_dir():
        return inner
    if len(names) > 1:
        raise Refusal(f'{inner} is no folder. Expected one for each of the sets {", ".join(names)} in {folder}.')
    return folder
