"""What pyproject.toml cannot say: what `basicsr_kd.pth` holds, and that the options files belong into the wheel."""

import contextlib
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent

# What `basicsr_kd.pth` runs at every start of Python. A fault, such as a checkout moved away after `pip install -e .`,
# must cost one line there and not the traceback that Python itself would print.
START = """try:
    import basicsr_kd.autoload
except Exception as error:
    if not hasattr(sys, 'basicsr_kd_fault'):  # a virtual environment's .pth files run twice
        sys.basicsr_kd_fault = error
        print(f'basicsr_kd: the plugin is not loaded ({error}); install it again, or: pip uninstall basicsr-kd',
              file=sys.stderr)
"""
# Editable: the checkout is on `sys.path` for this one import only. It holds a folder `basicsr` (the launchers) and
# `tests`, which must not become importable everywhere.
EDITABLE_START = f"""sys.path.insert(0, {str(ROOT)!r})
{START}finally:
    sys.path.remove({str(ROOT)!r})
"""


def pth(code: str) -> str:
    """One line of plain ASCII, which is what a .pth file needs."""
    return f'import sys; exec({ascii(code)})\n'


class BuildPy(build_py):
    """Adds `basicsr_kd.pth` beside the package, and `options/` (the only copy in the repository) inside it."""

    def run(self) -> None:
        # files of an earlier build that are gone from the checkout
        shutil.rmtree(Path(self.build_lib, 'basicsr_kd'), ignore_errors=True)
        super().run()
        if self.editable_mode:  # `install_lib` is then the root of the wheel that is being made
            Path(self.get_finalized_command('install').install_lib, 'basicsr_kd.pth').write_text(pth(EDITABLE_START))
            return
        Path(self.build_lib, 'basicsr_kd.pth').write_text(pth(START))
        option_files = Path(self.build_lib, 'basicsr_kd', 'option_files')
        option_files.mkdir()
        for path in sorted((ROOT / 'options').glob('*.*')):
            shutil.copy(path, option_files)


class NoFinder(contextlib.nullcontext):
    """An editable install without setuptools' own finder: `basicsr_kd.pth` is enough."""

    def __call__(self, *args) -> None:
        pass


class EditableWheel(editable_wheel):
    """Leaves out setuptools' finder for editable installs, which costs every Python start some 15 ms."""

    def _select_strategy(self, *args) -> NoFinder:
        return NoFinder()


setup(cmdclass={'build_py': BuildPy, 'editable_wheel': EditableWheel})
