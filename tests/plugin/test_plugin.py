"""Registration: once, beside other extensions, and never at the cost of a crash."""

import importlib

import pytest
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from helpers.entry import run_python

from basicsr_kd import plugin
from basicsr_kd.archs import SlimRRDBNet
from basicsr_kd.metrics import calculate_lpips

# Another extension with a hook of its own, of the usual kind: it asks all finders, and runs code after BasicSR. It has
# a class of our name, as a fork would.
OTHER_EXTENSION = """
import importlib, importlib.util, sys

class OtherFinder:
    busy = False
    def find_spec(self, fullname, path=None, target=None):
        if fullname != 'basicsr' or self.busy:
            return None
        self.busy = True
        spec = importlib.util.find_spec(fullname)
        self.busy = False
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            from basicsr.utils.registry import ARCH_REGISTRY
            @ARCH_REGISTRY.register()
            class SlimRRDBNet: pass
        spec.loader.exec_module = exec_module
        return spec

position, first_import = sys.argv[1:]
ours = [type(finder).__name__ for finder in sys.meta_path].index('BasicSRFinder')
sys.meta_path.insert(ours + (position == 'behind'), OtherFinder())
importlib.import_module(first_import)
from basicsr_kd.losses import FeatureDistillLoss
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY
print(ARCH_REGISTRY.get('SlimRRDBNet').__module__)
print(LOSS_REGISTRY.get('FeatureDistillLoss') is FeatureDistillLoss, 'KDGANModel' in MODEL_REGISTRY)
"""


def entries() -> dict[str, dict]:
    registries = (ARCH_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY)
    return {registry._name: dict(registry._obj_map) for registry in registries}


@pytest.fixture
def restored_registry():
    yield
    ARCH_REGISTRY._obj_map['SlimRRDBNet'] = SlimRRDBNet


def foreign_class() -> type:
    return type('SlimRRDBNet', (), {'__module__': 'a_fork.archs'})


def test_everything_that_the_packages_export_is_registered():
    names = [name for package in plugin.EXPORTS.values() for name in importlib.import_module(package).__all__]
    assert sorted(plugin.registered()) == sorted(names)
    assert ARCH_REGISTRY.get('SlimRRDBNet') is SlimRRDBNet
    assert METRIC_REGISTRY.get('calculate_lpips') is calculate_lpips


def test_registering_again_changes_nothing_and_says_nothing(capsys):
    import basicsr.train
    before, parse_options = entries(), basicsr.train.parse_options
    plugin.register()
    importlib.reload(plugin).register()
    assert entries() == before
    assert basicsr.train.parse_options is parse_options
    assert capsys.readouterr() == ('', '')


def test_a_class_reloaded_from_our_own_module_replaces_the_old_one(restored_registry, capsys):
    ARCH_REGISTRY._obj_map['SlimRRDBNet'] = type('SlimRRDBNet', (), {'__module__': SlimRRDBNet.__module__})
    plugin.register()
    assert ARCH_REGISTRY.get('SlimRRDBNet') is SlimRRDBNet
    assert capsys.readouterr().err == ''


def test_a_name_taken_by_a_fork_stays_with_the_fork_and_one_line_says_so(restored_registry, capsys):
    ARCH_REGISTRY._obj_map['SlimRRDBNet'] = theirs = foreign_class()
    plugin.register()
    assert ARCH_REGISTRY.get('SlimRRDBNet') is theirs
    assert capsys.readouterr().err == (
        "basicsr_kd: 'SlimRRDBNet' of the arch registry belongs to a_fork.archs.SlimRRDBNet already; that one stays, "
        'basicsr_kd.archs.slim_rrdbnet_arch.SlimRRDBNet is not registered.\n')


def test_an_extension_imported_later_may_take_a_name_and_one_line_says_so(restored_registry, capsys):
    theirs = ARCH_REGISTRY.register()(foreign_class())
    assert ARCH_REGISTRY.get('SlimRRDBNet') is theirs
    assert capsys.readouterr().err == (
        "basicsr_kd: 'SlimRRDBNet' of the arch registry now belongs to a_fork.archs.SlimRRDBNet, in place of "
        'basicsr_kd.archs.slim_rrdbnet_arch.SlimRRDBNet.\n')


def test_basicsr_still_refuses_one_name_for_two_classes_of_others():
    with pytest.raises(AssertionError, match="'RRDBNet' was already registered"):
        ARCH_REGISTRY.register()(type('RRDBNet', (), {'__module__': 'a_fork.archs'}))


@pytest.mark.parametrize(('position', 'first_import'), [('ahead', 'basicsr'), ('behind', 'basicsr_kd.pruning')])
def test_two_extensions_stand_side_by_side_whichever_comes_first(position, first_import, tmp_path):
    result = run_python('-c', OTHER_EXTENSION, position, first_import, cwd=tmp_path)
    assert result.stdout.splitlines() == ['__main__', 'True True'], result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith('basicsr_kd')]
    assert len(lines) == 1 and "'SlimRRDBNet' of the arch registry" in lines[0]
