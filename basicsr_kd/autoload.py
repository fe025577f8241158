"""The import hook behind `basicsr_kd.pth`.

BasicSR knows no plugins, so `basicsr_kd.pth` imports this module at every start of Python. It places one finder on
`sys.meta_path` that waits for `import basicsr`, lets BasicSR load as it is, and registers the plugin right after.
`BASICSR_KD_AUTOLOAD=0` turns that off. Every Python start pays for this module, so it imports sys and os only.
"""

import os
import sys


class BasicSRFinder:
    """Finds nothing itself: it asks the other finders, and adds our steps to the loader that they return.

    It also follows imports of our own modules. If one of them causes the import of BasicSR, registering at once would
    use modules whose own import is not finished; so it waits until the outermost import is done.
    """

    def __init__(self) -> None:
        self._asking: set[str] = set()
        self._own_imports = 0
        self._pending = False

    def find_spec(self, fullname, path=None, target=None):
        """Returns the spec of `basicsr` or of one of our modules, with its loader prepared; None for anything else."""
        if fullname == 'basicsr_kd':  # only on a reload: the folder of an editable install is not on sys.path
            root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
            return sys.modules['_frozen_importlib_external'].PathFinder.find_spec(fullname, [root], target)
        own = fullname.startswith('basicsr_kd.')
        if not (own or fullname == 'basicsr') or fullname in self._asking:
            return None
        self._asking.add(fullname)  # another plugin's finder may ask all finders in turn, this one included
        try:
            spec = self._ask_others(fullname, path, target)
        finally:
            self._asking.discard(fullname)
        if spec is not None:
            _wrap(spec.loader, self._load_own if own else self._load_basicsr)
        return spec

    def _ask_others(self, fullname, path, target):
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, 'find_spec', None)
            spec = find_spec(fullname, path, target) if find_spec and finder is not self else None
            # No loader: a namespace, a folder without __init__.py, like our repository's `basicsr/` (launchers).
            # The real package may still come: the finder of an editable install is the last one.
            if spec is not None and spec.loader is not None:
                return spec
        return None

    def _load_basicsr(self, execute, module) -> None:
        _attempt(_prepare)
        execute(module)
        if self._own_imports:
            self._pending = True
        else:
            _attempt(_register)

    def _load_own(self, execute, module) -> None:
        self._own_imports += 1
        try:
            execute(module)
        finally:
            self._own_imports -= 1
        if self._pending and not self._own_imports:
            self._pending = False
            _attempt(_register)


def _wrap(loader, load) -> None:
    """Makes this loader object run its next module through `load(execute, module)`."""
    execute = loader.exec_module

    def exec_module(module):
        loader.exec_module = execute
        load(execute, module)

    loader.exec_module = exec_module


def _prepare() -> None:
    from basicsr_kd.compat import prepare_import
    prepare_import()


def _register() -> None:
    from basicsr_kd.plugin import register
    register()


def _attempt(step) -> None:
    """Runs one of our steps; a fault of ours must leave BasicSR working, so it becomes one line on stderr."""
    try:
        step()
    except Exception as error:
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        print(f'basicsr_kd: the plugin is not registered ({reason}). BasicSR works without it; '
              '`basicsr-kd doctor` says more.', file=sys.stderr)


def install() -> None:
    """Places the finder in front of all others, once."""
    if not any(type(finder).__name__ == 'BasicSRFinder' for finder in sys.meta_path):
        sys.meta_path.insert(0, BasicSRFinder())


if os.environ.get('BASICSR_KD_AUTOLOAD') != '0':
    install()
