"""scripts/gpu_check.sh and scripts/shards.sh, on a machine without a GPU or with a make-believe Python."""
import os
import random
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / 'scripts'


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder with the two scripts and a python3 that only notes how it was called.

    That of pytest fails; NO_GPU, NO_BASICSR and NO_PIP say what is not there, HANGS what does not end.
    """
    for folder in ('scripts', 'bin'):
        (tmp_path / folder).mkdir()
    for name in ('gpu_check.sh', 'shards.sh'):
        shutil.copy(SCRIPTS / name, tmp_path / 'scripts')
    python = tmp_path / 'bin' / 'python3'
    python.write_text("""#!/usr/bin/env bash
echo "$@" >> calls.txt
case "$*" in
    *--version) echo "Python 3.12.3" ;;
    *version_info*) echo 3.12 ;;
    *"-m pip install"*) [ -z "$NO_PIP" ] || { printf 'WARNING: a\\nERROR: no such wheel\\n' >&2; exit 1; } ;;
    *"-m pytest"*) exit 3 ;;
    *is_available*) [ -z "$NO_GPU" ] ;;
    *"import torch, basicsr"*)
        [ -z "$NO_BASICSR" ] || { echo "ModuleNotFoundError: No module named 'basicsr'" >&2; exit 1; } ;;
    *"${HANGS:-nothing}"*) echo begun; sleep 60 ;;
    *) echo "row of $2" ;;
esac
""")
    python.chmod(0o755)
    return tmp_path


def run(root: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    path = f'{root / "bin"}{os.pathsep}{os.environ["PATH"]}'
    return subprocess.run(['bash', f'scripts/{script}', *arguments], cwd=root, text=True, capture_output=True,
                          timeout=60, env={**os.environ, 'PATH': path, **environment})


def write(path: Path, content: bytes = b'x') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_shards_are_small_and_make_the_same_files_again(root):
    content = {'a b.pth': random.Random(0).randbytes(15_000_001), 'empty_not.txt': b'short'}
    for name, data in content.items():
        write(root / name, data)

    assert run(root, 'shards.sh', 'split', *content, 'out/models').returncode == 0

    sizes = {file.name: file.stat().st_size for file in (root / 'out/models').iterdir()}
    assert sizes == {'a b.pth.part-000': 15_000_000, 'a b.pth.part-001': 1, 'empty_not.txt.part-000': 5}
    assert run(root, 'shards.sh', 'join', 'out').returncode == 0
    assert {file.name: file.read_bytes() for file in (root / 'out/models').iterdir()} == content


@pytest.mark.parametrize('arguments', [
    (), ('split',), ('split', 'file'), ('join',), ('join', 'a', 'b'), ('merge', 'a')])
def test_shards_say_how_they_are_called(root, arguments):
    result = run(root, 'shards.sh', *arguments)
    assert result.returncode == 2 and 'scripts/shards.sh join DIR' in result.stderr


@pytest.mark.parametrize('arguments', [(), ('a', 'b'), ('--device', 'tpu', 'out'), ('--fast', 'out'), ('--wheels',)])
def test_it_says_how_it_is_called(root, arguments):
    result = run(root, 'gpu_check.sh', *arguments)
    assert result.returncode == 2 and 'scripts/gpu_check.sh [--device cpu] [--wheels DIR] OUT' in result.stderr


@pytest.mark.parametrize(('missing', 'arguments', 'said'), [
    ('NO_GPU', (), 'PyTorch sees no GPU here, and all of this is about one; nothing was run.'),
    ('NO_BASICSR', (), "ModuleNotFoundError: No module named 'basicsr'. Install this repository (pip install "
                       "'.[test]'), or without a network give --wheels DIR (scripts/gpu_wheels.sh)."),
    ('NO_PIP', ('--wheels', 'w'), 'the wheels in w do not fit Python 3.12.3 on this machine (ERROR: no such wheel); '
                                  'make them again: bash scripts/gpu_wheels.sh w 3.12'),
])
def test_what_is_missing_is_told_in_one_line(root, missing, arguments, said):
    result = run(root, 'gpu_check.sh', *arguments, 'out', **{missing: '1'})
    assert result.returncode == 1 and not (root / 'out').exists()
    assert result.stderr == f'gpu_check: {said}\n'


def test_wheels_are_installed_first_where_the_plugins_pth_is_read(root):
    write(root / 'wheels/basicsr_kd-0.1.0-py3-none-any.whl')
    run(root, 'gpu_check.sh', '--wheels', 'wheels', 'out')
    first = (root / 'calls.txt').read_text().splitlines()[0]
    assert first == ('-m pip install --quiet --no-index --no-deps --find-links wheels '
                     'wheels/basicsr_kd-0.1.0-py3-none-any.whl')


def test_a_part_that_fails_does_not_stop_the_others(root):
    result = run(root, 'gpu_check.sh', 'out')

    assert result.returncode == 1
    summary = (root / 'out/summary.txt').read_text().splitlines()
    assert [line.split(' after ')[0] for line in summary] == [
        'tests: failed with code 3', 'eager: ok', 'compiled: ok', 'latency: ok']
    assert (root / 'out/summary.txt').read_text() in result.stdout
    calls = (root / 'calls.txt').read_text()
    assert 'scripts/bench_train.py --device cuda --batch 16 --turns 5 --no-memory --profile' in calls
    assert '--no-eager --compile reduce-overhead default' in calls and '--ways eager CUDA graph' in calls
    with tarfile.open(root / 'out/gpu_check.tar') as packed:
        assert packed.extractfile('./latency.log').read() == b'row of --device\n'
        assert packed.extractfile('./summary.txt').read() == (root / 'out/summary.txt').read_bytes()


def test_on_a_cpu_it_only_shows_that_all_runs(root):
    run(root, 'gpu_check.sh', '--device', 'cpu', 'out', NO_GPU='1')
    calls = (root / 'calls.txt').read_text()
    assert 'scripts/bench_train.py --device cpu --batch 1' in calls and 'CUDA graph' not in calls


def test_what_is_finished_stays_when_it_is_killed(root):
    path = f'{root / "bin"}{os.pathsep}{os.environ["PATH"]}'
    process = subprocess.Popen(['bash', 'scripts/gpu_check.sh', 'out'], cwd=root, start_new_session=True,
                               stdout=subprocess.DEVNULL, env={**os.environ, 'PATH': path, 'HANGS': 'bench_latency'})
    deadline = time.monotonic() + 30
    while not (root / 'out/latency.log').exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with tarfile.open(root / 'out/gpu_check.tar') as packed:
        names = set(packed.getnames())
        summary = packed.extractfile('./summary.txt').read().decode()
    assert {'./tests.log', './eager.log', './compiled.log'} <= names
    assert [line.partition(':')[0] for line in summary.splitlines()] == ['tests', 'eager', 'compiled']


def test_a_training_goes_on_from_shards_and_its_newest_files_are_left(root):
    folder = root / 'experiments/kd'
    for name in ('kd.yml', 'training_states/900.state', 'training_states/1000.state', 'models/net_g_900.pth',
                 'models/net_g_1000.pth', 'models/net_g_latest.pth', 'models/teacher.pth', 'models/net_g_1000.yml',
                 'visualization/a.png'):
        write(folder / name, name.encode())
    models = 'experiments/kd/models'
    assert run(root, 'shards.sh', 'split', f'{models}/teacher.pth', models).returncode == 0
    (folder / 'models/teacher.pth').unlink()

    result = run(root, 'gpu_check.sh', 'out', 'experiments/kd', '2000')

    assert 'training: ok' in result.stdout
    assert ('basicsr/train.py -opt out/kd.yml --auto_resume --force_yml train:total_iter=2000 '
            'logger:save_checkpoint_freq=500') in (root / 'calls.txt').read_text()
    left = root / 'out/training'
    assert {str(file.relative_to(left)): file.read_text() for file in left.rglob('*') if file.is_file()} == {
        name: name for name in ('kd.yml', 'training_states/1000.state', 'models/net_g_1000.pth',
                                'models/net_g_1000.yml', 'models/teacher.pth')}
    with tarfile.open(root / 'out/gpu_check.tar') as packed:
        assert './training/training_states/1000.state' in packed.getnames()


def test_a_large_tar_is_left_in_shards(root):
    write(root / 'experiments/kd/kd.yml')
    write(root / 'experiments/kd/training_states/7.state', random.Random(0).randbytes(15_000_001))
    run(root, 'gpu_check.sh', 'out', 'experiments/kd', '2000')
    assert not (root / 'out/gpu_check.tar').exists()
    assert run(root, 'shards.sh', 'join', 'out').returncode == 0
    with tarfile.open(root / 'out/gpu_check.tar') as packed:
        assert packed.getmember('./training/training_states/7.state').size == 15_000_001


def test_a_folder_that_is_no_training_is_refused(root):
    for folder in ('experiments/none', 'elsewhere/kd'):
        result = run(root, 'gpu_check.sh', 'out', folder, '2000')
        assert result.returncode == 1
        assert f'{folder} is no folder of experiments/ with one options file' in result.stderr
