"""The import hook: what a bare start of Python pays for it, and that it never stands in the way."""

from helpers.entry import REPOSITORY, run_python

FINDER = "import sys; print(any(type(finder).__name__ == 'BasicSRFinder' for finder in sys.meta_path))"


def test_the_hook_imports_sys_and_os_only(tmp_path):
    code = ('import os, sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); import basicsr_kd.autoload; '
            'print(sorted(set(sys.modules) - before))')
    result = run_python('-S', '-c', code, REPOSITORY, cwd=tmp_path)
    assert result.stdout.strip() == "['basicsr_kd', 'basicsr_kd.autoload']", result.stderr


def test_every_start_of_python_has_the_finder_and_neither_torch_nor_basicsr(tmp_path):
    code = FINDER + "; print(sorted({'torch', 'basicsr', 'basicsr_kd.plugin', 'importlib.util'} & set(sys.modules)))"
    result = run_python('-c', code, cwd=tmp_path)
    assert result.stdout.split('\n')[:2] == ['True', '[]'], result.stderr
    assert result.stderr == ''


def test_the_switch_turns_it_off(tmp_path):
    assert run_python('-c', FINDER, cwd=tmp_path, BASICSR_KD_AUTOLOAD='0').stdout.strip() == 'False'


def test_a_fault_of_the_plugin_prints_one_line_and_leaves_basicsr_working(tmp_path):
    (tmp_path / 'basicsr').mkdir()
    (tmp_path / 'basicsr' / '__init__.py').write_text('answer = 42')  # a BasicSR without registries
    result = run_python('-c', 'import basicsr; print(basicsr.answer)', cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.stdout.strip() == '42'
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "the plugin is not registered (ModuleNotFoundError: No module named 'basicsr.utils')" in result.stderr


def test_a_basicsr_that_fails_to_import_shows_its_own_error_alone(tmp_path):
    (tmp_path / 'basicsr').mkdir()
    (tmp_path / 'basicsr' / '__init__.py').write_text('1 / 0')
    result = run_python('-c', 'import basicsr', cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.stderr.rstrip().endswith('ZeroDivisionError: division by zero')
    assert 'basicsr_kd: ' not in result.stderr


def test_the_package_can_be_reloaded_and_imported_anew(tmp_path):
    code = ('import importlib, sys, basicsr_kd; importlib.reload(basicsr_kd); '
            "[sys.modules.pop(name) for name in list(sys.modules) if name.startswith('basicsr_kd')]; "
            'import basicsr_kd.autoload; '
            "print([type(finder).__name__ for finder in sys.meta_path].count('BasicSRFinder'))")
    result = run_python('-c', code, cwd=tmp_path)
    assert result.stdout.strip() == '1', result.stderr
