"""scripts/gpu_check.sh and scripts/shards.sh, on a machine without a GPU or with a make-believe Python."""
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / 'scripts'


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder with the two scripts and a python that only notes how it was called; that of pytest fails."""
    for folder in ('scripts', 'bin'):
        (tmp_path / folder).mkdir()
    for name in ('gpu_check.sh', 'shards.sh'):
        shutil.copy(SCRIPTS / name, tmp_path / 'scripts')
    python = tmp_path / 'bin' / 'python'
    python.write_text('#!/usr/bin/env bash\necho "$@" >> calls.txt\n[ "$2" != pytest ] || exit 3\n'
                      '[ -z "$NO_GPU" ] || [[ "$2" != *is_available* ]]\n')
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


def test_without_a_gpu_one_line_says_so(root):
    result = run(root, 'gpu_check.sh', 'out', NO_GPU='1')
    assert result.returncode == 1 and not (root / 'out').exists()
    assert result.stderr == ('gpu_check: PyTorch sees no GPU here, and all of this is about one; nothing was run.\n')


def test_a_part_that_fails_does_not_stop_the_others(root):
    result = run(root, 'gpu_check.sh', 'out')

    assert result.returncode == 1
    summary = (root / 'out/summary.txt').read_text().splitlines()
    assert [line.split(' after ')[0] for line in summary] == [
        'tests: failed with code 3', 'bench_train: ok', 'latency: ok']
    assert (root / 'out/summary.txt').read_text() in result.stdout
    assert 'scripts/bench_train.py --device cuda --compile default' in (root / 'calls.txt').read_text()


def test_a_training_goes_on_from_shards_and_leaves_shards(root):
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
    assert run(root, 'shards.sh', 'join', 'out/training').returncode == 0
    assert {str(file.relative_to(left)): file.read_text() for file in left.rglob('*') if file.is_file()} == {
        name: name for name in ('kd.yml', 'training_states/1000.state', 'models/net_g_1000.pth',
                                'models/net_g_1000.yml', 'models/teacher.pth')}


def test_a_folder_that_is_no_training_is_refused(root):
    for folder in ('experiments/none', 'elsewhere/kd'):
        result = run(root, 'gpu_check.sh', 'out', folder, '2000')
        assert result.returncode == 1
        assert f'{folder} is no folder of experiments/ with one options file' in result.stderr
