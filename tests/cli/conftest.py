"""The fixtures of `basicsr-kd evaluate`; tests of another command have a `tool` of their own."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.evaluate import write_set

from basicsr_kd.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the set of `helpers.evaluate`; all else is to be written by the test."""
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise OSError('no network in tests')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'no_cache'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', no_network)
    write_set()
    return tmp_path


@pytest.fixture
def tool(folder: Path, capsys: pytest.CaptureFixture) -> Any:
    """Runs the command: exit status, stdout, stderr. Speed is left out where a test does not ask for it."""
    def run(*args: Any, speed: bool = False) -> Any:
        try:
            status = main(['evaluate', *map(str, args), *([] if speed else ['--no-speed'])])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capsys.readouterr()
    return run
