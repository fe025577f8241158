"""`basicsr-kd` itself, its doctor and its options files."""

import errno
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.entry import run_python

from basicsr_kd.cli import options as options_command
from basicsr_kd.cli.main import COMMANDS, main
from basicsr_kd.cli.options import option_files


def test_doctor_finds_everything_and_the_plugin_registered(capsys):
    assert main(['doctor']) == 0
    report = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert report['plugin'].startswith('registered: ') and 'KDGANModel' in report['plugin']
    assert report['autoload'].startswith('active: ') and report['autoload'].endswith('basicsr_kd.pth')
    assert Path(report['basicsr'].rpartition(' in ')[2]).name == 'basicsr'
    assert report['torch'] and report['GPU']


def test_doctor_says_what_to_do_about_a_missing_package_and_fails(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lpips', None)  # Python then refuses its import as if it were not there
    assert main(['doctor']) == 1
    output = capsys.readouterr().out
    assert 'lpips          not installed' in output
    assert output.rstrip().endswith('To do:\n  lpips: pip install lpips')


def test_doctor_tells_that_autoload_is_switched_off(capsys, monkeypatch):
    monkeypatch.setenv('BASICSR_KD_AUTOLOAD', '0')
    assert main(['doctor']) == 0
    assert 'autoload       off: BASICSR_KD_AUTOLOAD=0' in capsys.readouterr().out


@pytest.mark.parametrize('command', [module.__name__.rpartition('.')[2] for module in COMMANDS])
def test_help_of_every_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command, '--help'])
    assert f'example: basicsr-kd {command}' in capsys.readouterr().out


def test_help_does_not_wait_for_torch(tmp_path):
    code = ('import sys\nfrom basicsr_kd.cli.main import main\n'
            'try:\n    main(["--help"])\nfinally:\n    assert not {"torch", "basicsr"} & set(sys.modules)')
    assert run_python('-c', code, cwd=tmp_path).returncode == 0


def test_options_are_copied_and_a_second_time_left_alone(tmp_path, capsys):
    assert main(['options', '--copy-to', str(tmp_path / 'options')]) == 0
    copies = sorted((tmp_path / 'options').iterdir())
    assert [path.name for path in copies] == [path.name for path in option_files()] and copies
    assert main(['options', '--copy-to', str(tmp_path / 'options')]) == 0
    assert f'0 files written to {tmp_path / "options"}, {len(copies)} already there.' in capsys.readouterr().out


def test_changed_options_files_are_kept_unless_forced(tmp_path, capsys):
    changed = tmp_path / option_files()[0].name
    changed.write_text('mine')
    assert main(['options', '--copy-to', str(tmp_path)]) == 1
    assert str(changed) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [changed] and changed.read_text() == 'mine'
    assert main(['options', '--copy-to', str(tmp_path), '--force']) == 0
    assert changed.read_bytes() == option_files()[0].read_bytes()


def test_a_disk_that_is_full_is_a_line_and_nothing_is_half_copied(tmp_path, monkeypatch, capsys):
    copied: list[str] = []

    def copy(source, target):
        if len(copied) == 2:
            raise OSError(errno.ENOSPC, 'No space left on device')
        copied.append(target)
        shutil.copyfile(source, target)

    monkeypatch.setattr(options_command, 'shutil', SimpleNamespace(copyfile=copy))
    assert main(['options', '--copy-to', str(tmp_path)]) == 1
    assert 'No space left on device); nothing was copied' in capsys.readouterr().err
    assert len(copied) == 2 and not list(tmp_path.iterdir())
