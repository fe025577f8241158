"""Progress in a file or a pipe."""
import sys

from basicsr_kd.utils import progress
from basicsr_kd.utils.progress import Progress


def test_seconds_that_pass_the_total_are_shown_as_the_total(capsys, monkeypatch):
    monkeypatch.setattr(progress, 'SECONDS', 0)
    assert not sys.stderr.isatty()
    with Progress('steps, seconds', 10) as bar:
        for seconds in (4, 5, 7):  # the last step ends after the time
            bar.update(seconds)
    assert capsys.readouterr().err.splitlines()[-1].startswith('steps, seconds: 10 of 10')


def test_nothing_is_shown_unless_asked_for(capsys):
    with Progress('steps', 2, shown=False) as bar:
        bar.update(5)
    assert capsys.readouterr().err == ''
