"""pip's ways of installing, each into a fresh environment: what must lie in site-packages afterwards, and work."""

import shutil
import subprocess
import sys
from pathlib import Path

import basicsr
import pytest
from helpers.entry import REPOSITORY, run_python, stock_options, write_images, write_options

BASICSR_SETUP = """from setuptools import find_packages, setup
setup(name='basicsr', version='1.4.2', packages=find_packages())
"""


class Environment:
    """A virtual environment that sees every package of this one, save BasicSR and this project."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder / 'venv'], check=True)
        self.python = folder / 'venv' / 'bin' / 'python'
        self.script = folder / 'venv' / 'bin' / 'basicsr-kd'
        code = 'import sysconfig; print(sysconfig.get_path("purelib"))'
        self.site = Path(run_python('-c', code, cwd=folder, python=self.python).stdout.strip())
        links = folder / 'packages'
        links.mkdir()
        for source in (Path(entry) for entry in sys.path if entry.endswith('-packages')):
            for path in source.iterdir():
                if not path.name.startswith(('basicsr', '__editable__')) and not (links / path.name).exists():
                    (links / path.name).symlink_to(path)
        (self.site / 'packages.pth').write_text(str(links))

    def pip(self, command: str, *args: str | Path) -> None:
        result = run_python('-m', 'pip', '--python', self.python, command, *args, cwd=self.site)
        assert result.returncode == 0, result.stdout + result.stderr

    def install(self, *args: str | Path) -> None:
        self.pip('install', '--no-build-isolation', '--no-deps', '--no-index', *args)

    def own_files(self) -> list[str]:
        return sorted(path.name for path in self.site.iterdir() if path.name.startswith(('basicsr_kd', '__editable__')))


@pytest.fixture
def environment(tmp_path) -> Environment:
    return Environment(tmp_path)


@pytest.fixture
def source(tmp_path) -> Path:
    """A copy of what a build reads, so that building leaves nothing in the repository."""
    folder = tmp_path / 'source'
    folder.mkdir()
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE'):
        shutil.copy(REPOSITORY / name, folder)
    for name in ('basicsr_kd', 'options', 'basicsr'):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*'))


def modules(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob('basicsr_kd/**/*.py'))


def test_an_install_through_sdist_and_wheel_is_complete_and_leaves_nothing_behind(environment, source, tmp_path):
    sdist = run_python('-c', 'from setuptools import build_meta; build_meta.build_sdist("dist")', cwd=source)
    environment.install(*(source / 'dist').glob('*.tar.gz'))
    assert 'basicsr_kd.pth' in environment.own_files(), sdist.stdout + sdist.stderr
    assert modules(environment.site) == modules(REPOSITORY)  # a folder without __init__.py would be left out
    assert names(environment.site / 'basicsr_kd' / 'option_files') == names(REPOSITORY / 'options') != []
    for folder in ('weights', 'report/assets'):
        assert names(environment.site / 'basicsr_kd' / folder) == names(REPOSITORY / 'basicsr_kd' / folder) != []

    subprocess.run([environment.script, 'options', '--copy-to', tmp_path / 'options'], check=True)
    assert names(tmp_path / 'options') == names(REPOSITORY / 'options')
    result = run_python('-c', 'import sys; print("basicsr_kd.autoload" in sys.modules)', cwd=tmp_path,
                        python=environment.python)
    assert (result.stdout, result.stderr) == ('True\n', '')

    environment.pip('uninstall', '--yes', 'basicsr-kd')
    assert environment.own_files() == [] and not environment.script.exists()


def test_an_editable_install_points_to_the_checkout_and_survives_its_removal(environment, source, tmp_path):
    environment.install('--editable', source)
    assert [name for name in environment.own_files() if not name.endswith('.dist-info')] == ['basicsr_kd.pth']
    code = 'import sys, basicsr_kd.cli.options as o; print(o.option_files()[0].parent); print(sys.argv[1] in sys.path)'
    result = run_python('-c', code, source, cwd=tmp_path, python=environment.python)
    assert result.stdout.splitlines() == [str(source / 'options'), 'False'], result.stderr

    shutil.rmtree(source)
    result = run_python('-c', 'print("Python works")', cwd=tmp_path, python=environment.python)
    assert result.stdout == 'Python works\n'
    assert len(result.stderr.splitlines()) == 1 and 'pip uninstall basicsr-kd' in result.stderr
    environment.pip('uninstall', '--yes', 'basicsr-kd')
    assert environment.own_files() == []


def test_the_launchers_find_an_editable_basicsr_behind_their_own_folder(environment, source, tmp_path):
    """An editable BasicSR stands last among the finders, so `basicsr/` of the repository would win as a namespace."""
    checkout = tmp_path / 'BasicSR'
    shutil.copytree(Path(basicsr.__file__).parent, checkout / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    (checkout / 'setup.py').write_text(BASICSR_SETUP)
    environment.install('--editable', checkout)
    environment.install('--editable', source)
    write_images(tmp_path / 'data')
    train = write_options(tmp_path / 'train.yml', stock_options('stock', tmp_path / 'data'))
    here = {'cwd': source, 'python': environment.python, 'PYTHONPATH': './'}
    result = run_python('basicsr/train.py', '-opt', train, **here)
    assert result.returncode == 0, result.stderr
    assert (source / 'experiments' / 'stock' / 'models' / 'net_g_2.pth').is_file()
    result = run_python('basicsr/test.py', '--help', BASICSR_KD_AUTOLOAD='0', **here)
    assert '-opt OPT' in result.stdout, result.stderr
