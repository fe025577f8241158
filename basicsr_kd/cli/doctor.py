"""`basicsr-kd doctor`: checks the installation and says what to do, or looks for broken images in data sets."""

import argparse
import importlib
import importlib.metadata
import os
import site
import sys
from pathlib import Path
from typing import Any

from basicsr_kd import __version__, autoload
from basicsr_kd.cli.common import refuse

EXAMPLE = 'basicsr-kd doctor'

# Package to install, and the module that it brings; a package comes after those that it needs.
NEEDED = {
    'torch': 'torch', 'torchvision': 'torchvision', 'numpy': 'numpy', 'opencv-python': 'cv2', 'pillow': 'PIL',
    'tifffile': 'tifffile', 'pyyaml': 'yaml', 'msgspec': 'msgspec', 'safetensors': 'safetensors',
    'matplotlib': 'matplotlib', 'basicsr': 'basicsr',
    'mmengine': 'mmengine', 'lpips': 'lpips', 'torch-pruning': 'torch_pruning', 'spandrel': 'spandrel',
}
# What to do where installing the package again is not the answer.
LIBRARIES = 'apt-get install libgl1 libglib2.0-0 (system libraries of OpenCV), or: pip install opencv-python-headless'
FROM_SOURCE = ('pip cannot build basicsr 1.4.2 on Python 3.13 and later; scripts/install_basicsr.sh of the repository '
               'can, see docs/getting_started.md')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--data', metavar='FILE', type=Path,
                        help='an options file: decode every image of its sets and list what is broken, instead of '
                             'looking at what is installed')


def run(args: argparse.Namespace) -> int:
    """Check what is installed, or data; return 1 where something is missing or broken."""
    return _data(args.data) if args.data else _installed()


def _data(file: Path) -> int:
    """Print a line for each set and one for each broken image."""
    from basicsr_kd import plugin
    from basicsr_kd.errors import BasicSRKDError
    plugin.register()
    from basicsr_kd.preflight.all_images import see_all_images
    broken = False
    try:
        for found in see_all_images(str(file)):
            print(f'{found.key}: {found.images:,} images' + (':' if found.faults else ', all whole'), flush=True)
            for fault in found.faults:
                print(f'  {fault}', flush=True)
            broken = broken or bool(found.faults)
    except BasicSRKDError as error:
        return refuse('doctor', error)
    return int(broken)


def _installed() -> int:
    """Print a line for each fact, then what to do; return 1 where something that training needs is missing."""
    todo: list[str] = []
    _line('basicsr-kd', f'{__version__} in {Path(autoload.__file__).parent}')
    _line('python', f'{sys.version.split()[0]} ({sys.executable})')
    modules = {package: _module(package, module, todo) for package, module in NEEDED.items()}
    _line('plugin', _plugin(modules['basicsr'], todo))
    missing = bool(todo)
    _line('autoload', _autoload(todo))
    _line('GPU', _gpu(modules['torch']))
    if todo:
        print('\nTo do:\n  ' + '\n  '.join(todo))
    return int(missing)


def _line(name: str, fact: str) -> None:
    print(f'{name:<14} {fact}', flush=True)


def _module(package: str, name: str, todo: list[str]) -> Any:
    """Import a module, print its version (for BasicSR also its folder), and return it; None where that fails."""
    try:
        module = importlib.import_module(name)
        if module.__file__ is None:  # a mere folder of that name, such as `basicsr/` in the root of our repository
            raise ModuleNotFoundError(name=name)
    except Exception as error:  # a broken binary raises more than ImportError
        absent = isinstance(error, ModuleNotFoundError) and error.name == name
        _line(package, 'not installed' if absent else f'does not import: {_reason(error)}')
        todo.append(f'{package}: {_advice(package, absent, error)}')
        return None
    _line(package, _version(package, module))
    return module


def _version(package: str, module: Any) -> str:
    if package == 'basicsr':  # may be a checkout on PYTHONPATH that hides the installed one
        return f'{module.__version__} in {Path(module.__file__).resolve().parent}'
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # opencv-python-headless brings cv2 as well
        return module.__version__


def _advice(package: str, absent: bool, error: Exception) -> str:
    if package == 'opencv-python' and not absent:
        return LIBRARIES
    if package == 'basicsr' and absent and sys.version_info >= (3, 13):
        return FROM_SOURCE
    missing = isinstance(error, ModuleNotFoundError)  # the module itself or something that it needs is missing
    return f'pip install {package}' if missing else f'pip install --force-reinstall --no-deps {package}'


def _plugin(basicsr: Any, todo: list[str]) -> str:
    if basicsr is None:
        return 'not registered: basicsr is needed first'
    from basicsr_kd import plugin
    try:
        plugin.register()
        names = plugin.registered()
    except Exception as error:
        todo.append(f'plugin: pip install --force-reinstall --no-deps basicsr-kd ({_reason(error)})')
        return f'not registered: {_reason(error)}'
    return 'registered: ' + ', '.join(names)


def _autoload(todo: list[str]) -> str:
    """The state of autoloading, which never counts as missing: launchers and `-m basicsr_kd.train` work without it."""
    files = [Path(folder, 'basicsr_kd.pth') for folder in [*site.getsitepackages(), site.getusersitepackages()]]
    found = [str(file) for file in files if file.is_file()]
    if os.environ.get('BASICSR_KD_AUTOLOAD') == '0':
        todo.append('autoload: unset BASICSR_KD_AUTOLOAD, or train with python -m basicsr_kd.train')
        return 'off: BASICSR_KD_AUTOLOAD=0'
    if not found:
        todo.append('autoload: pip install basicsr-kd, or train with python -m basicsr_kd.train')
        return 'off: no basicsr_kd.pth in the site-packages of this Python'
    return f'active: {found[0]}'


def _gpu(torch: Any) -> str:
    if torch is None:
        return 'unknown without torch'
    if not torch.cuda.is_available():
        return 'none that PyTorch can use: num_gpu: auto trains on the CPU'
    return ', '.join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _reason(error: Exception) -> str:
    return ' '.join(f'{type(error).__name__}: {error}'.split())
