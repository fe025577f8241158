"""The parts of the package: which may import which, and which load neither torch nor BasicSR.

Read with `ast`, so imports inside functions count, too, for what a part may import; what a module loads is what it and
everything that it imports outside of functions and `if TYPE_CHECKING:` import, the `__init__` of packages on the way
included. docs/architecture.md has the table in words.
"""
import ast
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'basicsr_kd'
HEAVY = {'torch', 'torchvision', 'basicsr', 'torch_pruning', 'spandrel', 'lpips', 'mmengine', 'safetensors', 'onnx',
         'onnxruntime', 'openvino', 'nncf', 'ncnn', 'pnnx'}

# A part is a module or a folder of the package; each with the parts that it may import beside itself.
_UTILS = 'errors utils'
_NETWORKS = f'archs checkpoint {_UTILS}'
PARTS = {
    '': '',  # basicsr_kd/__init__.py
    'errors': '',
    'utils': 'errors',
    'runs': 'errors',
    'formats': _UTILS,
    'checkpoint': f'formats {_UTILS}',
    'options': f'runs {_UTILS}',
    'archs': f'checkpoint {_UTILS}',
    'metrics': f'archs {_UTILS}',
    'data': f'options runs {_NETWORKS}',
    'pruning': f'pruning.latency metrics.likeness {_NETWORKS}',
    'pruning.latency': f'pruning deploy.export.onnx_file deploy.runtimes metrics.speed metrics.timing {_NETWORKS}',
    'pruning.__init__': f'pruning data.calibration metrics.likeness {_NETWORKS}',  # public names
    'distillation': f'pruning {_NETWORKS}',
    'losses': f'distillation options {_NETWORKS}',
    'deploy': f'data.clips {_NETWORKS}',
    'quantisation': f'pruning deploy.export.graph {_NETWORKS}',
    'deploy.export': f'deploy formats quantisation metrics.image_scores metrics.timing {_NETWORKS}',
    'evaluation': f'deploy metrics data {_NETWORKS}',
    'bench': f'deploy metrics {_NETWORKS}',
    'report': f'bench.schema evaluation.schema evaluation.sets options.convert {_UTILS}',
    'preflight': f'options data metrics pruning distillation losses runs {_NETWORKS}',
    'models': f'options data metrics pruning distillation losses deploy.tiles deploy.stream runs {_NETWORKS}',
    'autoload': 'compat plugin',
    'compat': 'runs',
    'plugin': 'preflight compat runs errors archs data losses metrics models',
    'train': 'autoload plugin errors preflight runs.out_of_memory',
    'test': 'autoload plugin errors runs.out_of_memory',
    'cli': f'autoload plugin preflight.all_images report bench evaluation deploy metrics data pruning {_NETWORKS}',
}
LIGHT = ['errors', 'utils.text', 'utils.images', 'utils.metric_names', 'formats', 'runs', 'options', 'report', 'compat',
         'plugin', 'autoload', 'train', 'test', 'cli']


class Module(NamedTuple):
    imports: set[str]
    """Modules of ours, wherever the import stands."""
    loads: set[str]
    """Modules of ours and others' names that importing it loads at once."""


def read_package(package: Path) -> dict[str, Module]:
    """Every module below `package` by its name there: 'checkpoint', 'pruning.cut', 'pruning.__init__'."""
    files = {'.'.join(path.relative_to(package).with_suffix('').parts): path for path in package.rglob('*.py')}
    return {name: _read(ast.parse(path.read_text()), set(files)) for name, path in files.items()}


def _read(tree: ast.Module, known: set[str]) -> Module:
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) or
              (isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING')]
    later = {node for scope in scopes for node in ast.walk(scope)}
    imports: set[str] = set()
    loads: set[str] = set()
    for node in ast.walk(tree):
        for name in _imported(node):
            parts = name.split('.')
            found = {name}
            if parts[0] == 'basicsr_kd':
                inside = '.'.join(parts[1:])
                module = next(one for one in (inside, f'{inside}.__init__'.lstrip('.'), '.'.join(parts[1:-1]),
                                              f'{".".join(parts[1:-1])}.__init__'.lstrip('.')) if one in known)
                imports.add(module)
                on_the_way = {'.'.join([*parts[1:depth], '__init__']) for depth in range(1, len(parts))}
                found = {module} | (on_the_way & known)
            loads |= found if node not in later else set()
    return Module(imports, loads)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, 'relative import'
        return [f'{node.module}.{alias.name}' for alias in node.names]
    return []


def part_of(module: str) -> str:
    parts = module.split('.')
    names = ['.'.join(parts[:depth]) for depth in range(len(parts), 0, -1)]
    return next((name for name in names if name in PARTS), '')


def faults(package: Path) -> list[str]:
    """What is against the tables above, a line each; empty where all is well."""
    modules = read_package(package)
    found = [f'{name} imports {other}: not in the table of {part_of(name) or "the root"}'
             for name, module in modules.items() for other in module.imports if not _may(name, other)]
    found += [f'{name} loads {heavy}' for name in modules
              if any(_within(name, part) for part in LIGHT)
              for heavy in sorted(_all_loads(name, modules) & HEAVY)]
    try:
        TopologicalSorter({name: module.imports for name, module in modules.items()}).prepare()
    except CycleError as error:
        found.append(f'a circle: {" <- ".join(error.args[1])}')
    return found


def _may(name: str, other: str) -> bool:
    part = part_of(name)
    return part_of(other) in ('', part) or any(_within(other, allowed) for allowed in PARTS[part].split())


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f'{part}.')


def _all_loads(name: str, modules: dict[str, Module]) -> set[str]:
    """Names of others' packages that end up loaded."""
    parts = name.split('.')
    seen, due = set(), [name, *('.'.join([*parts[:depth], '__init__']) for depth in range(len(parts)))]
    while due:
        one = due.pop()
        if one not in seen:
            seen.add(one)
            due += modules[one].loads if one in modules else ()
    return {one.partition('.')[0] for one in seen if one not in modules}


def test_every_import_is_in_the_table_and_none_in_a_circle():
    assert faults(PACKAGE) == []


def test_every_module_has_a_room():
    assert [name for name in read_package(PACKAGE) if not part_of(name) and name != '__init__'] == []


def test_every_room_of_the_table_is_there():
    parts, names = {*PARTS, *LIGHT} - {''}, read_package(PACKAGE)
    assert [part for part in parts if not any(_within(name, part) for name in names)] == []


def test_the_root_holds_few_files():
    assert len(list(PACKAGE.glob('*.py'))) <= 10


@pytest.mark.parametrize(('file', 'line', 'fault'), [
    ('utils/text.py', 'import torch', 'options.sections loads torch'),
    ('utils/__init__.py', 'from basicsr.utils import img2tensor', 'utils.text loads basicsr'),
    ('checkpoint.py', 'def late():\n    from basicsr_kd.models import KDGANModel', 'checkpoint imports models'),
    ('pruning/cut.py', 'from basicsr_kd.data.clips import Clip', 'pruning.cut imports data.clips'),
    ('errors.py', 'def late():\n    import basicsr_kd.checkpoint', 'a circle'),
])
def test_a_planted_import_is_found(file, line, fault, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / 'basicsr_kd', ignore=shutil.ignore_patterns('*.pth', '__pycache__'))
    planted = tmp_path / 'basicsr_kd' / file
    planted.write_text(f'{planted.read_text()}\n{line}\n')
    found = faults(tmp_path / 'basicsr_kd')
    assert any(fault in one for one in found), found


def test_light_rooms_leave_torch_and_basicsr_alone_when_they_are_imported():
    names = [name for name in read_package(PACKAGE)
             if any(_within(name, part) for part in LIGHT)]
    imports = ''.join(f'import basicsr_kd.{name.removesuffix(".__init__")}\n' for name in names if name != '__init__')
    code = f'import sys\n{imports}print(*{HEAVY!r} & sys.modules.keys())'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
