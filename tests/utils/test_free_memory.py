"""utils/memory.py: what a process can still take."""
import pytest

from basicsr_kd.utils import memory


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, '_MACHINE', tmp_path / 'meminfo')
    monkeypatch.setattr(memory, '_GROUP', tmp_path)
    return tmp_path


def test_nothing_is_known_where_nothing_tells(machine):
    assert memory.free_memory() == float('inf')


def test_the_machine_tells(machine):
    (machine / 'meminfo').write_text('MemTotal: 900 kB\nMemAvailable: 500 kB\nMemFree: 100 kB\n')
    assert memory.free_memory() == 500 * 1024
    (machine / 'memory.max').write_text('max\n')
    assert memory.free_memory() == 500 * 1024


@pytest.mark.parametrize(('names', 'cache'), [
    (('memory.max', 'memory.current', 'memory.stat'), 'inactive_file'),
    (('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat'), 'total_inactive_file')])
def test_a_container_may_have_less_than_the_machine(machine, names, cache):
    (machine / 'meminfo').write_text('MemAvailable: 500 kB\n')
    (machine / 'memory').mkdir()
    for name, text in zip(names, ('9000', '5000', f'anon 10\n{cache} 2000\n'), strict=True):
        (machine / name).write_text(text)
    assert memory.free_memory() == 9000 - 5000 + 2000


def test_sizes_are_told_in_words():
    assert [memory.in_words(size) for size in (2**20, 1.5 * 2**30)] == ['1.0 MiB', '1.5 GiB']
