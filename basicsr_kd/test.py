"""BasicSR's testing with the plugin in place: `python -m basicsr_kd.test -opt options/….yml`."""

import os
import sys

from basicsr_kd import autoload, plugin
from basicsr_kd.errors import BasicSRKDError


def main(root_path: str | None = None) -> None:
    """Runs BasicSR's `test_pipeline`.

    Args:
        root_path: Where `results/` goes; the current directory if None.
    """
    autoload.install()  # finds an editable BasicSR behind a launcher folder of its name, autoload or not
    plugin.register()
    from basicsr.test import test_pipeline

    try:
        test_pipeline(os.path.abspath(root_path or os.getcwd()))
    except BasicSRKDError as error:
        sys.exit(f'basicsr_kd: {error}')


if __name__ == '__main__':
    main()
