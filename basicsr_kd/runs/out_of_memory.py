"""The message when a GPU's memory is full."""
from __future__ import annotations

TRAINING = (
    'train.amp: bf16 (about half of what the networks keep for their backward passes)',
    'a smaller datasets.train.batch_size_per_gpu',
    'a smaller datasets.train.gt_size (and network_d.input_size with it), or gt_size of a Real-ESRGAN model',
    'train.channels_last: true, which also saves copies',
    'a smaller teacher (teacher.prune), fewer layers in train.distill_opt',
    'val.tile: 256 where it happens in validation',
)
TESTING = ('val.tile: 256',)


def out_of_memory(error: Exception, levers: tuple[str, ...]) -> str:
    """PyTorch's error in one line, with the options that help, the most effective first."""
    found = str(error).partition('. ')
    reason = '. '.join(part for part in (found[0], found[2].partition('. ')[0]) if part)
    return f'the GPU has too little memory for this run ({reason}). What helps: {"; ".join(levers)}'
