"""Reading options files and --force_yml: what BasicSR reads, and one line for what cannot be read."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import basicsr.utils.options as basicsr_options
import pytest
from basicsr.utils.registry import MODEL_REGISTRY

from basicsr_kd.errors import OptionsError
from basicsr_kd.models import KDGANModel, TecoGANModel
from basicsr_kd.options import our_model
from basicsr_kd.options.parse import arguments, model_of, read_options
from basicsr_kd.preflight.parse import parse_ours

FOLDER = Path(__file__).resolve().parents[2] / 'options'
BASICSRS_OWN = basicsr_options.parse_options.__wrapped__  # type: ignore[attr-defined]


def read(tmp_path: Path, text: str | bytes, *force: str) -> Any:
    file = tmp_path / 'x.yml'
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_options(arguments(['-opt', str(file), *(['--force_yml', *force] if force else [])]))


@pytest.mark.parametrize('name', sorted(path.name for path in FOLDER.glob('*.yml')))
@pytest.mark.parametrize('more', [[], ['--debug', '--auto_resume', '--force_yml', 'name=other', 'num_gpu=0',
                                       'path:strict_load_g=false', 'datasets:val:name=x']])
def test_gives_what_basicsr_gives(name, more, monkeypatch, tmp_path):
    is_train = 'test' not in name
    if not is_train:
        more = [word for word in more if 'val' not in word]
    argv = ['train.py', '-opt', str(FOLDER / name), *more]
    monkeypatch.setattr(sys, 'argv', argv)
    monkeypatch.setattr(basicsr_options, 'set_random_seed', lambda seed: None)
    theirs, their_args = BASICSRS_OWN(str(tmp_path), is_train=is_train)
    found = parse_ours(str(tmp_path), is_train)
    if our_model(theirs['model_type']) is None:
        assert found is None
        return
    assert found is not None
    ours, our_args = found
    assert {**ours, 'manual_seed': 0} == {**theirs, 'manual_seed': 0} and vars(our_args) == vars(their_args)
    assert list(ours['datasets']) == list(theirs['datasets'])


@pytest.mark.parametrize(('value', 'expected'), [
    ('3', 3), ('0.5', 0.5), ('-1', -1), ('1e-4', '1e-4'), ('!!float 1e-4', 1e-4), ('True', True), ('none', None),
    ('~', None), ('[1, 2]', [1, 2]), ('[a, b]', ['a', 'b']), ('{type: x}', {'type': 'x'}), ('some text', 'some text'),
    ('012', 12), ('', None), ('1.5.2', '1.5.2')])
def test_values_of_force_yml(tmp_path, value, expected):
    assert read(tmp_path, 'a: 1', f'a={value}')['a'] == expected


def test_force_yml_adds_keys_and_sections(tmp_path):
    opt = read(tmp_path, 'a: 1\nb: ~', 'b:c:d=2', 'e:f=x')
    assert opt == {'a': 1, 'b': {'c': {'d': 2}}, 'e': {'f': 'x'}}


@pytest.mark.parametrize(('text', 'force', 'words'), [
    ('a: 1', ['a'], ['sets no key']), ('a: 1', ['=3'], ['sets no key']), ('a: 1', ['a::b=3'], ['sets no key']),
    ('a: 1', ['a=b=c'], ['more than one =']), ('a: 1', ['a:b=2'], ['a is 1, expected a section']),
    ('a: 1', ['a=[1'], ['cannot be read']), ('a: [1', [], ['x.yml, line 2, column 1', 'expected']),
    ('a: 1\nb:\n  c: 1\n c: 2', [], ['x.yml, line 4, column']), ('a: 1\na: 2', [], ['line 2', 'a a second time']),
    ('x: !!python/object/apply:os.system [echo]', [], ['x.yml, line 1', 'python/object']),
    ('- 1', [], ['expected sections']), ('', [], ['found nothing']), (b'\xff\xfe\x00', [], ['x.yml']),
    ('a: &a [*a]', [], ['x.yml']), ('? [1]\n: 2', [], ['as a key']), ('[' * 5000, [], ['x.yml']),
    ('a: \x00', [], ['x.yml'])])
def test_mistakes_are_one_line(tmp_path, text, force, words):
    with pytest.raises(OptionsError) as caught:
        read(tmp_path, text, *force)
    assert '\n' not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OptionsError, match='none.yml cannot be read .*No such file'):
        read_options(arguments(['-opt', str(tmp_path / 'none.yml')]))


def test_nothing_is_run_before_it_is_known_whose_the_file_is(tmp_path, monkeypatch):
    """Stock models stay with BasicSR's own parser, whatever is in their files."""
    (tmp_path / 'x.yml').write_text('model_type: SRModel\nx: !!python/object/apply:os.system [touch made]\n')
    args = arguments(['-opt', str(tmp_path / 'x.yml')])
    assert model_of(args) == 'SRModel' and not (tmp_path / 'made').exists()
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'x.yml')])
    assert parse_ours(str(tmp_path), True) is None
    assert model_of(arguments(['-opt', args.opt, '--force_yml', 'model_type=KDGANModel'])) == 'KDGANModel'


def test_a_refusal_is_a_line_and_status_2(tmp_path, monkeypatch, capsys):
    (tmp_path / 'x.yml').write_text('model_type: KDGANModel\nname: x\n')
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'x.yml')])
    with pytest.raises(SystemExit) as ended:
        parse_ours(str(tmp_path), True)
    assert ended.value.code == 2 and capsys.readouterr().err == 'basicsr_kd: scale is missing\n'


@pytest.mark.parametrize(('key', 'is_train'), [('experiments_root', True), ('results_root', False)])
def test_a_folder_for_runs_is_read_where_basicsr_reads_it(tmp_path, monkeypatch, capsys, key, is_train):
    """BasicSR on GitHub does; 1.4.2 writes over it."""
    name = 'kd_esrgan_s32.yml' if is_train else 'test_esrgan.yml'
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(FOLDER / name), '--force_yml', f'path:{key}=/runs'])
    monkeypatch.delattr(basicsr_options, 'yaml_load', raising=False)
    with pytest.raises(SystemExit):
        parse_ours(str(tmp_path), is_train)
    assert f"path.{key}: found '/runs', but BasicSR fills it in" in capsys.readouterr().err
    monkeypatch.setattr(basicsr_options, 'yaml_load', None, raising=False)
    found = parse_ours(str(tmp_path), is_train)
    assert found is not None
    opt = found[0]
    assert opt['path'][key] == f'/runs/{opt["name"]}' and opt['path']['log'] == f'/runs/{opt["name"]}'


def test_models_that_derive_from_ours_are_checked_as_their_base(monkeypatch):
    class Mine(KDGANModel):
        """Registered by somebody else."""

    class OfClips(TecoGANModel):
        """The same."""

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'Mine', Mine)
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'OfClips', OfClips)
    assert our_model('Mine') == 'KDGANModel' and our_model('OfClips') == 'TecoGANModel'
    assert our_model('SRModel') is None and our_model(None) is None and our_model(['x']) is None
