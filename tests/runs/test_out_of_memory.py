"""What ends a run in one line: a GPU that is too small, weights that cannot be had."""
from urllib.error import URLError

import pytest
import torch

from basicsr_kd import test, train

MESSAGE = ('CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 GiB '
           'is free. Process 1 has 7.00 GiB memory in use.')


def test_it_ends_in_one_line_that_says_what_helps(monkeypatch):

    def pipeline(root_path):
        raise torch.cuda.OutOfMemoryError(MESSAGE)

    monkeypatch.setattr('basicsr.train.train_pipeline', pipeline)
    with pytest.raises(SystemExit) as end:
        train.main()
    line = str(end.value)
    assert line.startswith('basicsr_kd: the GPU has too little memory for this run (CUDA out of memory. Tried to '
                           'allocate 2.00 GiB). What helps: train.amp: bf16')
    assert 'batch_size_per_gpu' in line and 'gt_size' in line and '\n' not in line


def test_in_a_test_it_is_the_tile(monkeypatch):

    def pipeline(root_path):
        raise torch.cuda.OutOfMemoryError(MESSAGE)

    monkeypatch.setattr('basicsr.test.test_pipeline', pipeline)
    with pytest.raises(SystemExit, match='too little memory .* What helps: val.tile: 256$'):
        test.main()


def test_weights_that_cannot_be_downloaded_end_in_one_line(monkeypatch):

    def pipeline(root_path):
        raise URLError('Connection refused')

    monkeypatch.setattr('basicsr.train.train_pipeline', pipeline)
    with pytest.raises(SystemExit) as end:
        train.main()
    line = str(end.value)
    assert line.startswith('basicsr_kd: weights could not be downloaded (Connection refused)')
    assert 'vgg19-dcbb9e9d.pth' in line and '\n' not in line
