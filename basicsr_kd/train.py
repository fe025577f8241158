"""BasicSR's training with the plugin in place: `python -m basicsr_kd.train -opt options/….yml`."""
from __future__ import annotations

import os
import sys
from urllib.error import URLError

from basicsr_kd import autoload, plugin
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.runs.out_of_memory import TRAINING, out_of_memory


def main(root_path: str | None = None) -> None:
    """Runs BasicSR's `train_pipeline`.

    Args:
        root_path: Where `experiments/` and `tb_logger/` go; the current directory if None.
    """
    autoload.install()  # finds an editable BasicSR behind a launcher folder of its name, autoload or not
    plugin.register()
    import torch
    from basicsr.train import train_pipeline
    try:
        train_pipeline(os.path.abspath(root_path or os.getcwd()))
    except BasicSRKDError as error:
        sys.exit(f'basicsr_kd: {error}')
    except torch.cuda.OutOfMemoryError as error:
        sys.exit(f'basicsr_kd: {out_of_memory(error, TRAINING)}')
    except URLError as error:  # BasicSR has torchvision download VGG's weights
        from basicsr_kd.preflight.values import without_backbone
        sys.exit(f'basicsr_kd: {without_backbone(error)}')


if __name__ == '__main__':
    main()
