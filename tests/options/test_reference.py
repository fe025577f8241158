"""What is made of the structs, and that they know every key that BasicSR reads."""
from __future__ import annotations

import ast
import json
from pathlib import Path

import basicsr
import jsonschema
import options_reference
import pytest
import yaml

from basicsr_kd.options import OUR_MODELS
from basicsr_kd.options.basicsr_sections import (
    AnySet,
    LoggerOptions,
    PathOptions,
    TopOptions,
    TrainSection,
    WandbOptions,
)
from basicsr_kd.options.realesrgan import SynthesisOptions, TargetOptions
from basicsr_kd.options.sections import _FILLED_IN
from basicsr_kd.options.val import ValOptions

ROOT = Path(__file__).resolve().parents[2]
READ_BY = ('train.py', 'test.py', 'models/base_model.py', 'models/sr_model.py', 'models/srgan_model.py',
           'models/realesrgan_model.py', 'data/__init__.py', 'utils/logger.py', 'utils/misc.py')
OF_OTHERS = {'type', 'phase', 'ldl_opt', 'queue_size', 'gt_usm', 'root_path', 'val_1'}


def test_they_are_up_to_date(capsys):
    options_reference.main(['--check'])


def test_every_key_is_described():
    bare = [f'{kind.__name__}.{name}' for module in options_reference._MODULES
            for kind in options_reference.structs(module) for name, *_, text in options_reference.fields(kind)
            if not text and name not in ('phase', 'scale')]
    assert not bare


@pytest.mark.parametrize('path', sorted((ROOT / 'options').glob('*.yml')), ids=lambda path: path.name)
def test_the_schema_takes_our_files(path):
    opt = yaml.safe_load(path.read_text('utf-8'))
    schema = json.loads(options_reference.SCHEMA.read_text('utf-8'))
    if opt['model_type'] in OUR_MODELS:
        assert path.read_text('utf-8').startswith('# yaml-language-server: $schema=./basicsr_kd.schema.json\n')
        jsonschema.validate(opt, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**opt, 'tarin': {}}, schema)


def test_every_key_that_basicsr_reads_is_known():
    known = _FILLED_IN.union(*(kind.__struct_fields__ for kind in (
        TopOptions, PathOptions, TrainSection, ValOptions, LoggerOptions, WandbOptions, AnySet,
        TargetOptions, SynthesisOptions))) | OF_OTHERS
    known |= {'num_worker_per_gpu', 'batch_size_per_gpu'}
    read = set().union(*(_keys_read(Path(basicsr.__file__).parent / name) for name in READ_BY))
    assert len(read) > 40 and not read - known


def _keys_read(path: Path) -> set[str]:
    """The words in `…opt['word']`, `…opt.get('word')` and deeper."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Subscript):
            owner, key = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == 'get' and \
                node.args:
            owner, key = node.func.value, node.args[0]
        else:
            continue
        while isinstance(owner, (ast.Subscript, ast.Call)):
            owner = owner.value if isinstance(owner, ast.Subscript) else owner.func
            owner = owner.value if isinstance(owner, ast.Attribute) and owner.attr == 'get' else owner
        name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ''
        if name in ('opt', 'train_opt', 'dataset_opt') and isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.add(key.value)
    return found
