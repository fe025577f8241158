"""`basicsr-kd infer`: enlarges a clip, a video or images, without ground truth."""
import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from basicsr_kd.cli.common import Refusal, check_folder, check_outputs, refuse, say, usable_device
from basicsr_kd.cli.infer_arguments import EXAMPLE, GPU_BATCH, add_arguments, check_arguments
from basicsr_kd.deploy.pieces import OVERLAP, Tiling
from basicsr_kd.errors import BasicSRKDError

if TYPE_CHECKING:
    from basicsr_kd.deploy.network import TrainedNetwork
    from basicsr_kd.deploy.photos import Fault
    from basicsr_kd.deploy.sources import ImageFiles
    from basicsr_kd.deploy.video_files import VideoFile

_FPS = 25.0  # frames a second, if neither the input nor the user says
_OTHER_IMAGES = ('.heic', '.heif', '.jxl', '.dng', '.exr')  # formats that Pillow does not know either

__all__ = ['EXAMPLE', 'add_arguments', 'run']


def run(args: argparse.Namespace) -> int:
    """Enlarge; on failure one line goes to stderr, nothing is written, and the exit status is 2."""
    try:
        check_arguments(args)
        from basicsr_kd import plugin
        plugin.register()
        return _infer(args)
    except (BasicSRKDError, OSError) as error:
        return refuse('infer', error)


def _infer(args: argparse.Namespace) -> int:
    from basicsr_kd.deploy.export.kept import open_in
    from basicsr_kd.deploy.infer import precision
    from basicsr_kd.deploy.network import TorchNetwork
    from basicsr_kd.deploy.results import VIDEO
    from basicsr_kd.deploy.sources import ImageFiles, open_source
    _check_output(args)
    device = usable_device(args.device)
    with precision(device, args.half):
        network, distance = open_in(args.weights.stem, args.weights, args.runtime, half=args.half, device=device,
                                    tiling=_tiling(args, device), param_key=args.param_key, say=say)
        if args.device and device != 'cpu' and not isinstance(network, TorchNetwork):
            raise Refusal(f'--device {args.device} is for PyTorch, and {network.run_net.name} runs on the CPU. Leave '
                          'it out.')
        if distance:
            print(f'In {network.run_net.name}, {network.run_net.precision}: {distance}.')
        recurrent = network.recurrent
        clip = recurrent or args.output.suffix.lower() == VIDEO
        if recurrent and args.tile:
            raise Refusal(f'--tile is for networks of images, and {args.weights} goes from frame to frame. Leave it '
                          'out.')
        source = open_source(args.input, clip)
        if isinstance(source, ImageFiles) and not clip:
            return _enlarge_photos(args, network, source.paths)
        if args.background:
            raise Refusal('--background is for images that are enlarged one by one. Leave it out: the frames of a clip '
                          'have to be opaque.')
        return _enlarge_frames(args, network, source, clip)


def _enlarge_frames(args: argparse.Namespace, network: 'TrainedNetwork', source: 'ImageFiles | VideoFile',
                    clip: bool) -> int:
    from tqdm import tqdm

    from basicsr_kd.deploy.infer import enlarge
    from basicsr_kd.deploy.photos import BAR
    from basicsr_kd.deploy.results import writing
    from basicsr_kd.deploy.sources import check_source
    progress = sys.stderr.isatty()
    count = check_source(source, clip, progress)
    start = time.monotonic()
    with writing(args.output, args.fps or source.fps or _FPS) as write:
        for name, image in tqdm(enlarge(network, source), 'enlarging', count, unit=' frames', bar_format=BAR,
                                disable=not progress):
            write(name, image)
    print(_summary(args, network, count, 'frame', time.monotonic() - start))
    return 0


def _enlarge_photos(args: argparse.Namespace, network: 'TrainedNetwork', paths: Sequence[Path]) -> int:
    """Enlarge photos; return 1 if only some could be enlarged, and then name the others on stderr."""
    from basicsr_kd.deploy.formats import FORMATS, write_picture
    from basicsr_kd.deploy.photos import Photos
    from basicsr_kd.deploy.results import unfinished
    suffix = args.output.suffix.lower()
    one = suffix in FORMATS
    photos = Photos(paths, network, FORMATS[suffix if one else '.png'], args.background, sys.stderr.isatty())
    faults = photos.check()
    told = _tell(faults.values(), len(paths))
    start = time.monotonic()
    with unfinished(args.output) as temporary:
        photos.enlarge(faults, lambda path, picture: write_picture(temporary if one else temporary / f'{path.stem}.png',
                                                                   picture))
        _tell(list(faults.values())[told:], len(paths) - told)
    print(_summary(args, network, len(paths) - len(faults), 'image', time.monotonic() - start))
    return 1 if faults else 0


def _tell(faults: 'Iterable[Fault]', number: int) -> int:
    """Name the images, of `number` in all, that cannot be enlarged, and return how many they are.

    Raises:
        Refusal, BasicSRKDError: None can be enlarged.
    """
    faults = list(faults)
    if number == 1 and faults:
        raise faults[0]
    for fault in faults:
        refuse('infer', fault)
    if faults and len(faults) == number:
        raise Refusal(f'none of the {number} images can be enlarged. Nothing is written.')
    return len(faults)


def _tiling(args: argparse.Namespace, device: str) -> Tiling:
    batch = args.batch or (1 if device == 'cpu' else GPU_BATCH)
    return Tiling(args.tile, OVERLAP if args.overlap is None else args.overlap, batch)


def _check_output(args: argparse.Namespace) -> None:
    from PIL import Image

    from basicsr_kd.deploy.formats import FORMATS
    from basicsr_kd.deploy.results import VIDEO
    from basicsr_kd.utils.images import SUFFIXES
    suffix = args.output.suffix.lower()
    if suffix in FORMATS and args.input.exists() and args.input.suffix.lower() not in SUFFIXES:
        raise Refusal(f'--output {args.output} is one image, and --input {args.input} is none. Expected a folder, or '
                      'a name that ends in .mp4.')
    if suffix in (VIDEO, *FORMATS):
        check_outputs([args.output], args.force)
        return
    if suffix in (*Image.registered_extensions(), *SUFFIXES, *_OTHER_IMAGES) and not args.output.is_dir():
        raise Refusal(f'--output {args.output} ends in {suffix}, which is not written. Expected a folder, or a name '
                      f'that ends in {", ".join(FORMATS)} or {VIDEO}.')
    check_folder(args.output, args.force)


def _summary(args: argparse.Namespace, network: 'TrainedNetwork', count: int, what: str, seconds: float) -> str:
    number = f'{count} {what}{"s" if count > 1 else ""}'
    return (f'{number} enlarged {network.scale} times with {args.weights}, {count / seconds:.3g} {what}s/s. '
            f'Written: {args.output}')
