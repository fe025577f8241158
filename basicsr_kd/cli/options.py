"""`basicsr-kd options`: copies the options files that came with the plugin."""

import argparse
import contextlib
import shutil
import sys
from pathlib import Path

import basicsr_kd
from basicsr_kd.utils.files import replaced

EXAMPLE = 'basicsr-kd options --copy-to options'


def option_files() -> list[Path]:
    """The options files and the schema that editors check them by.

    They come from the wheel (`basicsr_kd/option_files`) or from the checkout behind `pip install -e .`.
    """
    package = Path(basicsr_kd.__file__).resolve().parent
    folder = package / 'option_files'
    return sorted((folder if folder.is_dir() else package.parent / 'options').glob('*.*'))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--copy-to', metavar='DIR', type=Path, help='where to; without it the files are listed')
    parser.add_argument('--force', action='store_true', help='write over files that were changed there')


def run(args: argparse.Namespace) -> int:
    """Copy all files or none: a changed file in the way stops it, unless `--force` is given."""
    files = option_files()
    if args.copy_to is None:
        print('\n'.join(str(path) for path in files))
        return 0
    targets = {path: args.copy_to / path.name for path in files}
    new = [path for path, target in targets.items()
           if not target.exists() or target.read_bytes() != path.read_bytes()]
    changed = [str(targets[path]) for path in new if targets[path].exists()]
    if changed and not args.force:
        print('basicsr-kd options: these differ from the files of this version, so nothing was copied:\n  '
              + '\n  '.join(changed) + '\nMove them away, choose another folder, or say --force.', file=sys.stderr)
        return 1
    try:
        args.copy_to.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:  # files get their names only when all are written
            for path in new:
                shutil.copyfile(path, stack.enter_context(replaced(targets[path])))
    except OSError as error:
        print(f'basicsr-kd options: the files cannot be written to {args.copy_to} ({error.strerror or error}); nothing '
              'was copied. Make room, or choose another folder.', file=sys.stderr)
        return 1
    print(f'{len(new)} files written to {args.copy_to}, {len(files) - len(new)} already there.')
    return 0
