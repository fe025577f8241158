"""BasicSR's testing with the plugin in place: `python -m basicsr_kd.test -opt options/….yml`."""

import os
import sys

from basicsr_kd import autoload, plugin
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.runs.out_of_memory import TESTING, out_of_memory


def main(root_path: str | None = None) -> None:
    """Runs BasicSR's `test_pipeline`.

    Args:
        root_path: Where `results/` goes; the current directory if None.
    """
    autoload.install()  # finds an editable BasicSR behind a launcher folder of its name, autoload or not
    plugin.register()
    import torch
    from basicsr.test import test_pipeline

    try:
        test_pipeline(os.path.abspath(root_path or os.getcwd()))
    except BasicSRKDError as error:
        sys.exit(f'basicsr_kd: {error}')
    except torch.cuda.OutOfMemoryError as error:
        sys.exit(f'basicsr_kd: {out_of_memory(error, TESTING)}')


if __name__ == '__main__':
    main()
