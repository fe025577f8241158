"""Files whose tensors would load and be wrong, end the process or fill the memory."""
from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.archs.build import differences
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.errors import CheckpointError


def state() -> dict[str, Tensor]:
    return RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4).state_dict()


def saved(path: Path, **changed: Tensor) -> str:
    torch.save({'params_ema': {**state(), **{name.replace('__', '.'): value for name, value in changed.items()}}}, path)
    return str(path)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('change', 'words'), [
    (lambda bias: bias.to(torch.int8), 'torch.int8'),
    (lambda bias: bias.bool(), 'torch.bool'),
    (lambda bias: bias.to(torch.complex64), 'torch.complex64'),
    (lambda bias: bias.to_sparse(), 'sparse'),
    (lambda bias: torch.quantize_per_tensor(bias, 0.1, 0, torch.qint8), 'quantised'),
    (lambda bias: torch.nested.nested_tensor([bias]), 'nested'),
    (lambda bias: bias.to('meta'), 'without values'),
    (lambda bias: bias / 0, '')])
def test_what_no_network_computes_with_is_refused(tmp_path, change, words):
    path = saved(tmp_path / 'x.pth', conv_last__bias=change(state()['conv_last.bias']))
    with pytest.raises(CheckpointError, match=f'conv_last.bias.*{words}') as caught:
        read_state_dict(path)
    assert '\n' not in str(caught.value)


def test_other_floating_point_formats_and_counters_are_read(tmp_path):
    path = saved(tmp_path / 'x.pth', conv_last__bias=state()['conv_last.bias'].bfloat16(),
                 norm__num_batches_tracked=torch.tensor(3))
    assert read_state_dict(path)['conv_last.bias'].dtype == torch.float32


def test_statistics_of_batch_normalisation_must_be_finite(tmp_path):
    broken = nn.BatchNorm2d(4).state_dict()
    broken['running_var'][2] = -torch.inf
    torch.save(broken, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='values that are not finite .*first in running_var'):
        read_state_dict(tmp_path / 'x.pth')


def test_a_floating_point_parameter_of_any_name_is_not_filled_with_whole_numbers():
    net = nn.Module()
    net.slope = nn.Parameter(torch.ones(2))
    assert differences(net, {'slope': torch.ones(2, dtype=torch.int64)}) == [
        'slope is of torch.int64 in the file, torch.float32 in the network']


@pytest.mark.parametrize('name', ['body.1000000000.rdb1.conv1.weight', f'body.{"9" * 5000}.rdb1.conv1.weight'])
def test_a_name_of_a_layer_far_beyond_all_others_is_refused(tmp_path, name):
    torch.save({**state(), name: torch.zeros(4, 8, 3, 3)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='counts further than its'):
        build_from_file(str(tmp_path / 'x.pth'))


def test_more_values_than_there_are_in_the_file(tmp_path):
    path = saved(tmp_path / 'x.pth', conv_last__bias=torch.zeros(1).expand(2**29))
    with pytest.raises(CheckpointError, match='conv_last.bias is .*more values than the file holds'):
        read_state_dict(path)


def test_a_file_that_grows_far_beyond_its_size_is_refused(tmp_path):
    written = io.BytesIO()
    torch.save({'params': {'weight': torch.zeros(10**6)}}, written)
    with zipfile.ZipFile(written) as plain, zipfile.ZipFile(tmp_path / 'x.pth', 'w', zipfile.ZIP_DEFLATED) as packed:
        for part in plain.namelist():
            packed.writestr(part, plain.read(part))
    with pytest.raises(CheckpointError, match='is packed'):
        read_state_dict(tmp_path / 'x.pth')


def test_options_beside_a_file_that_are_far_larger_than_it(tmp_path):
    """EDSR and RCAN have a scale that no tensor tells, so their options stand in a file beside the weights."""
    torch.save({'conv.weight': torch.zeros(8, 3, 3, 3)}, tmp_path / 'x.pth')
    (tmp_path / 'x.yml').write_text('network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, num_block: 1000000}')
    with pytest.raises(CheckpointError, match='num_block is 1000000, and the file holds 1 tensors of less'):
        build_from_file(str(tmp_path / 'x.pth'))
