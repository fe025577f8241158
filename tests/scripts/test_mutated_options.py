"""scripts/torture.py --options, in short: changed options files are refused in a line, or pass."""
import pickle
import random
import sys
from pathlib import Path

import basicsr.utils
import pytest
import yaml
from helpers.warm import run_processes
from studies.mutated_options import Bench, Mutation, mutations, outcome_table, run

from basicsr_kd import options, preflight
from basicsr_kd.errors import BasicSRKDError

COUNT = 200


@pytest.fixture(scope='module')
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp('mutated') / 'bench')


def checked(mutation: Mutation, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    """What is said of a file, '' where it passes; any other exception than a refusal goes on."""
    file = folder / 'mutated.yml'
    file.write_text(yaml.safe_dump(mutation.options, sort_keys=False))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    monkeypatch.setattr(basicsr.utils, 'set_random_seed', lambda seed: random.seed())
    is_train = 'train' in mutation.options or 'teacher' in mutation.options
    try:
        found = preflight.parse_ours(str(folder), is_train)
        if found is not None:
            options.validate(found[0], is_train)
            preflight.check(found[0])
    except SystemExit as ended:
        assert ended.code == 2
        return capsys.readouterr().err
    except BasicSRKDError as error:
        return f'{error}\n'
    return ''


def test_the_files_themselves_pass(bench, monkeypatch, capsys):
    monkeypatch.chdir(bench.folder)
    refused = {name: said for name, opt in bench.files().items()
               if (said := checked(Mutation(name, '', opt), bench.folder, monkeypatch, capsys))}
    assert not refused


def test_nothing_but_refusals_of_one_line(bench, monkeypatch, capsys):
    monkeypatch.chdir(bench.folder)
    said = {f'{one.file}, {one.what}': checked(one, bench.folder, monkeypatch, capsys)
            for one in mutations(bench.files(), COUNT, seed=0)}
    assert all(text.count('\n') <= 1 for text in said.values())
    assert sum(map(bool, said.values())) > COUNT / 3


def outcomes(rank: int, folder: Path, started: list[Mutation], results: Path) -> None:
    """In a process without threads: `run` forks, and a fork of one that had some may wait for them forever."""
    results.write_bytes(pickle.dumps([run(one, folder) for one in started]))


def test_a_run_of_one_iteration_and_a_refusal_beside_an_earlier_run(bench, tmp_path):
    whole = bench.files()['kd_esrgan_s16.yml']
    started = [Mutation('kd_esrgan_s16.yml', '', opt) for opt in (whole, {**whole, 'scale': 'x'})]
    run_processes(outcomes, (bench.folder, started, tmp_path / 'results'), 1)
    good, bad = pickle.loads((tmp_path / 'results').read_bytes())
    assert good.end == 'ran'
    assert (bad.end, bad.said) == ('refused', "basicsr_kd: scale: found 'x'. Expected a whole number, got a text")
    assert 'refused' in outcome_table([good, bad])
