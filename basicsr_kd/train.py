"""BasicSR's training with the plugin in place: `python -m basicsr_kd.train -opt options/….yml`."""
from __future__ import annotations

import os
import sys
from urllib.error import URLError

from basicsr_kd import autoload, plugin
from basicsr_kd.errors import BasicSRKDError

_LEVERS = (
    'train.amp: bf16 (about half of what the networks keep for their backward passes)',
    'a smaller datasets.train.batch_size_per_gpu',
    'a smaller datasets.train.gt_size (and network_d.input_size with it), or gt_size of a Real-ESRGAN model',
    'train.channels_last: true, which also saves copies',
    'a smaller teacher (teacher.prune), fewer layers in train.distill_opt',
    'val.tile: 256 where it happens in validation',
)


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
        sys.exit(f'basicsr_kd: {out_of_memory(error)}')
    except URLError as error:  # BasicSR has torchvision download VGG's weights
        sys.exit(f'basicsr_kd: weights could not be downloaded ({error.reason}). Those of train.perceptual_opt (VGG19) '
                 'are looked for in experiments/pretrained_models/vgg19-dcbb9e9d.pth first; perceptual_opt: ~ does '
                 'without')


def out_of_memory(error: Exception) -> str:
    """PyTorch's error in one line, with the options that help, those with most effect first."""
    found = str(error).partition('. ')
    reason = '. '.join(part for part in (found[0], found[2].partition('. ')[0]) if part)
    return f'the GPU has too little memory for this run ({reason}). What helps: {"; ".join(_LEVERS)}'


if __name__ == '__main__':
    main()
