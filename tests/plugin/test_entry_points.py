"""BasicSR's own commands, in fresh processes and without a GPU, on its own SRModel: the plugin must not be in the way.

(a) the launchers of this repository, (b) a folder with nothing but a copy of BasicSR, (c) `python -m basicsr_kd.train`.
"""

import shutil
import subprocess
from pathlib import Path

import basicsr
import pytest
from helpers.entry import REPOSITORY, run_python, stock_options, stock_test_options, write_images, write_options


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('data')
    write_images(folder)
    return folder


@pytest.fixture
def root(request, tmp_path) -> Path:
    """A folder with nothing but `basicsr/`: that of this repository (launchers), or a copy of BasicSR itself."""
    sources = {'launchers': REPOSITORY / 'basicsr', 'copy of BasicSR': Path(basicsr.__file__).parent}
    shutil.copytree(sources[request.param], tmp_path / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    return tmp_path


def output_of(result: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that ran well and in which the plugin had nothing to say."""
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert 'basicsr_kd: ' not in output
    return output


@pytest.mark.parametrize('root', ['launchers', 'copy of BasicSR'], indirect=True)
def test_train_resume_and_test_run_word_for_word(root, data):
    train = write_options(root / 'train.yml', stock_options('stock', data, iterations=2))
    longer = write_options(root / 'longer.yml', stock_options('stock', data, iterations=3))
    network = root / 'experiments' / 'stock' / 'models' / 'net_g_3.pth'
    test = write_options(root / 'test.yml', stock_test_options('stock', data, network))

    output_of(run_python('basicsr/train.py', '-opt', train, cwd=root))
    output = output_of(run_python('basicsr/train.py', '-opt', longer, '--auto_resume', cwd=root, PYTHONPATH='./'))
    assert 'Resuming training from epoch: 0, iter: 2.' in output
    assert network.is_file()
    assert not list((root / 'experiments').glob('stock_archived_*'))
    output_of(run_python('basicsr/test.py', '-opt', test, cwd=root))
    output = output_of(run_python('basicsr/test.py', '-opt', test, cwd=root, PYTHONPATH='./'))
    assert '# psnr: ' in output
    assert (root / 'results' / 'stock' / 'visualization' / 'pairs' / '0_stock.png').is_file()


def test_the_modules_train_and_test_below_the_current_directory(tmp_path, data):
    train = write_options(tmp_path / 'train.yml', stock_options('stock', data))
    network = tmp_path / 'experiments' / 'stock' / 'models' / 'net_g_latest.pth'
    test = write_options(tmp_path / 'test.yml', stock_test_options('stock', data, network))
    output_of(run_python('-m', 'basicsr_kd.train', '-opt', train, cwd=tmp_path, BASICSR_KD_AUTOLOAD='0'))
    output_of(run_python('-m', 'basicsr_kd.test', '-opt', test, cwd=tmp_path))


def test_a_launcher_trains_below_its_own_root_and_under_torchrun_without_a_gpu(tmp_path, data):
    shutil.copytree(REPOSITORY / 'basicsr', tmp_path / 'repository' / 'basicsr')
    train = write_options(tmp_path / 'train.yml', stock_options('stock', data))
    result = run_python('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                        'repository/basicsr/train.py', '-opt', train, '--launcher', 'pytorch', cwd=tmp_path)
    assert 'World size (gpu number): 2' in output_of(result)
    assert (tmp_path / 'repository' / 'experiments' / 'stock' / 'models' / 'net_g_2.pth').is_file()


@pytest.mark.parametrize('root', ['copy of BasicSR'], indirect=True)
def test_wrong_options_of_our_models_end_in_one_error_before_anything_is_created(root, data):
    options = stock_options('kd', data) | {'model_type': 'KDGANModel', 'teacher': {'path': 'nowhere.pth'}}
    train = write_options(root / 'train.yml', options)
    result = run_python('basicsr/train.py', '-opt', train, cwd=root)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count('basicsr_kd: ') == 1 and 'nowhere.pth' in result.stderr
    assert 'Traceback' not in result.stderr
    assert sorted(path.name for path in root.iterdir()) == ['basicsr', 'train.yml']


@pytest.mark.parametrize('root', ['copy of BasicSR'], indirect=True)
def test_a_misspelt_model_of_ours_is_told_with_its_name(root, data):
    train = write_options(root / 'train.yml', stock_options('kd', data) | {'model_type': 'KDGanModel'})
    result = run_python('basicsr/train.py', '-opt', train, cwd=root)
    assert result.returncode == 2
    assert "model_type: found 'KDGanModel'; did you mean 'KDGANModel'?" in result.stderr
    assert sorted(path.name for path in root.iterdir()) == ['basicsr', 'train.yml']


def test_a_launcher_without_the_plugin_says_how_to_install_it(tmp_path):
    result = run_python('-S', REPOSITORY / 'basicsr' / 'train.py', cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("No module named 'basicsr_kd' in ")
    assert result.stderr.rstrip().endswith('In the root of this repository, run: pip install -e .')
