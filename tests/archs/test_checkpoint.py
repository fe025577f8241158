"""Reading and writing of checkpoints."""
import argparse
import os
import re
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.checkpoint import atomic_save, read_state_dict, write_checkpoint
from basicsr_kd.errors import CheckpointError


def weights(value: float) -> dict[str, torch.Tensor]:
    return {'conv.weight': torch.full((2, 3), value)}


def saved(tmp_path, content) -> str:
    path = tmp_path / 'net.pth'
    torch.save(content, path)
    return str(path)


def same(state, other) -> bool:
    return list(state) == list(other) and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize(('content', 'param_key', 'expected'), [
    ({'params': weights(1), 'params_ema': weights(2)}, None, 2),
    ({'params': weights(1), 'params_ema': weights(2)}, 'params', 1),
    ({'params': weights(1)}, 'params_ema', 1),
    ({'params': weights(1), 'mine': weights(3)}, 'mine', 3),
    ({'state_dict': weights(4), 'epoch': 7}, None, 4),
    ({'model': weights(5), 'optimizer': {'lr': 1}}, None, 5),
    (weights(6), None, 6),
    (OrderedDict(weights(7)), None, 7),
])
def test_the_meant_state_dict_is_picked(tmp_path, content, param_key, expected):
    assert same(read_state_dict(saved(tmp_path, content), param_key), weights(expected))


def test_module_prefix_is_stripped_and_half_precision_becomes_float32(tmp_path):
    path = saved(tmp_path, {'params': {'module.a': torch.ones(2, dtype=torch.float16),
                                       'module.b': torch.ones(2, dtype=torch.bfloat16),
                                       'module.steps': torch.tensor(3)}})

    state = read_state_dict(path)

    assert {name: tensor.dtype for name, tensor in state.items()} == {
        'a': torch.float32, 'b': torch.float32, 'steps': torch.int64}


def test_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    path = tmp_path / 'net.safetensors'
    safetensors.save_file({'conv.weight': torch.ones(2, 3, dtype=torch.float16)}, path)

    assert same(read_state_dict(path), weights(1))


def test_checkpoint_is_read_to_the_cpu_whatever_the_default_device(tmp_path):
    path = saved(tmp_path, weights(1))
    with torch.device('meta'):
        state = read_state_dict(path)
    assert same(state, weights(1))


def test_keys_of_the_first_esrgan_release_become_basicsrs(tmp_path):
    # spandrel keeps ESRGAN's first naming inside, so it makes such a file out of any RRDBNet.
    spandrel = pytest.importorskip('spandrel')
    state = RRDBNet(3, 3, num_feat=16, num_block=12, num_grow_ch=32).state_dict()
    old = spandrel.ModelLoader().load_from_state_dict(dict(state)).model.state_dict()
    assert 'model.1.sub.11.RDB3.conv5.0.weight' in old and 'model.1.sub.12.bias' in old

    read = read_state_dict(saved(tmp_path, old))

    assert same(dict(sorted(read.items())), dict(sorted(state.items())))


def test_keys_of_the_second_esrgan_release_become_basicsrs(tmp_path):
    state = RRDBNet(3, 3, num_feat=4, num_block=2, num_grow_ch=2).state_dict()
    old = {}
    for name, tensor in state.items():
        for new, former in (('conv_body', 'trunk_conv'), ('body.', 'RRDB_trunk.'), ('rdb', 'RDB'),
                            ('conv_up', 'upconv'), ('conv_hr', 'HRconv')):
            name = name.replace(new, former)
        old[f'module.{name}'] = tensor
    assert 'module.RRDB_trunk.1.RDB2.conv3.weight' in old and 'module.HRconv.bias' in old

    assert same(read_state_dict(saved(tmp_path, old)), state)


def test_keys_that_are_only_partly_esrgans_stay_as_they_are(tmp_path):
    state = {'model.0.weight': torch.ones(1), 'model.1.sub.0.RDB1.conv1x1.weight': torch.ones(1)}
    assert same(read_state_dict(saved(tmp_path, state)), state)


def test_missing_file_and_folder_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match=r'nothing\.pth does not exist\. Expected a \.pth or \.safetensors'):
        read_state_dict(tmp_path / 'nothing.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        read_state_dict(tmp_path)


@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors'])
@pytest.mark.parametrize('content', [b'', b'version https://git-lfs.github.com/spec/v1', b'<html>', b'PK\x03'])
def test_other_kinds_of_file_are_refused(tmp_path, name, content):
    if name.endswith('.safetensors'):
        pytest.importorskip('safetensors')
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf'\({len(content)} bytes\) is not a checkpoint that can be read'):
        read_state_dict(path)


def test_cut_short_checkpoint_is_refused(tmp_path):
    path = saved(tmp_path, {'params': {'weight': torch.ones(10_000)}})
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(CheckpointError, match='damaged, cut short or another kind'):
        read_state_dict(path)


class _RunsCode:
    def __reduce__(self):
        return print, ('code in a checkpoint was run',)


@pytest.mark.parametrize('content', [torch.nn.Conv2d(1, 1, 1), argparse.Namespace(lr=1),
                                     {'params': weights(1), 'config': _RunsCode()}])
def test_pickled_objects_are_refused_and_never_run(tmp_path, capsys, content):
    path = saved(tmp_path, content)
    with pytest.raises(CheckpointError, match=r'pickled Python objects.*Save the weights alone'):
        read_state_dict(path)
    assert capsys.readouterr().out == ''


def test_file_without_tensors_says_what_it_holds(tmp_path):
    state_file = saved(tmp_path, {'epoch': 1, 'iter': 2, 'optimizers': [], 'schedulers': []})
    with pytest.raises(CheckpointError, match="no tensors; at its top are 'epoch', 'iter', 'optimizers', 'sched"):
        read_state_dict(state_file)
    with pytest.raises(CheckpointError, match='holds a list. Expected a dict of tensors'):
        read_state_dict(saved(tmp_path, [1, 2]))


def test_a_param_key_of_ones_own_that_is_not_there_is_an_error(tmp_path):
    path = saved(tmp_path, {'params': weights(1), 'params_ema': weights(2)})
    with pytest.raises(CheckpointError, match=r"param_key 'parms_ema'.*under: params, params_ema"):
        read_state_dict(path, 'parms_ema')


def test_a_file_of_the_weights_alone_has_no_use_for_a_param_key(tmp_path):
    """A .safetensors file or ESRGAN's release as `pretrain_network_g`: BasicSR always asks for `params` or its EMA."""
    for key in ('params', 'params_ema', 'mine'):
        assert list(read_state_dict(saved(tmp_path, weights(1)), key)) == ['conv.weight']


def test_written_checkpoint_holds_plain_tensors_under_basicsrs_keys(tmp_path):
    net = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4).to(memory_format=torch.channels_last)
    path = tmp_path / 'models' / 'net_g_5.pth'

    write_checkpoint(path, net.state_dict(), dict(net.named_parameters()))

    content = torch.load(path, weights_only=True)
    assert list(content) == ['params', 'params_ema']
    assert all(type(tensor) is torch.Tensor and tensor.is_contiguous() and not tensor.requires_grad
               for state in content.values() for tensor in state.values())
    assert same(read_state_dict(path), net.state_dict())


def test_written_slice_does_not_bring_the_whole_tensor(tmp_path):
    write_checkpoint(tmp_path / 'net.pth', {'weight': torch.zeros(1_000_000)[:10]})
    assert (tmp_path / 'net.pth').stat().st_size < 10_000


def test_without_a_moving_average_only_params_are_written(tmp_path):
    write_checkpoint(tmp_path / 'net.pth', weights(1))
    assert list(torch.load(tmp_path / 'net.pth', weights_only=True)) == ['params']


def test_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'state.state'
    atomic_save({'iter': 1}, path)
    with pytest.raises(Exception, match='lambda'):  # of what class depends on the version of Python
        atomic_save({'iter': lambda: 2}, path)
    assert torch.load(path, weights_only=True) == {'iter': 1}
    assert os.listdir(tmp_path) == ['state.state']


def test_checkpoint_module_needs_no_basicsr():
    code = 'import sys, basicsr_kd.checkpoint; sys.exit("basicsr" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_a_flipped_bit_is_found_by_the_checksums(tmp_path):
    file = tmp_path / 'net.pth'
    write_checkpoint(file, {'weight': torch.rand(64, 64)})
    whole = file.read_bytes()
    place = whole.index(torch.load(file)['params']['weight'].numpy().tobytes())
    for offset in (0, 5000, 16383):
        broken = bytearray(whole)
        broken[place + offset] ^= 4
        file.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r'net\.pth is damaged: .*CRC'):
            read_state_dict(file)
    file.write_bytes(whole)
    assert read_state_dict(file)['weight'].shape == (64, 64)


def test_checksums_that_were_not_recorded_say_nothing(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        write_checkpoint(tmp_path / 'net.pth', {'weight': torch.ones(8)})
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_state_dict(tmp_path / 'net.pth')['weight'], torch.ones(8))
    torch.save({'weight': torch.ones(8)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert torch.equal(read_state_dict(tmp_path / 'old.pth')['weight'], torch.ones(8))


@pytest.mark.parametrize(('prefix', 'beside'), [
    ('module.', {}), ('_orig_mod.', {}), ('generator.', {'discriminator.conv0.weight': torch.ones(3)}),
    ('generator._orig_mod.', {'step_counter': torch.tensor(3)}), ('net_g.', {'net_d.conv0.weight': torch.ones(3)}),
    ('model.', {}), ('module.', {'n_averaged': torch.tensor(7)}), ('params_ema.', {'params.body': torch.ones(2)})])
def test_what_wrappers_put_before_the_names_is_stripped(tmp_path, prefix, beside):
    state = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4).state_dict()
    path = saved(tmp_path, {**{f'{prefix}{name}': tensor for name, tensor in state.items()}, **beside})
    assert list(read_state_dict(path)) == list(state)


@pytest.mark.parametrize('net', [
    RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4), SRVGGNetCompact(3, 3, 4, 1, 4), FRNet(nf=4, nb=1)])
@pytest.mark.parametrize('prefix', ['sr_net.', 'module.sr_net.', 'a.b.c.', 'params_ema.a.'])
def test_a_prefix_that_nobody_knows_is_stripped_before_a_network_that_we_know(tmp_path, net, prefix):
    state = net.state_dict()
    path = saved(tmp_path, {f'{prefix}{name}': tensor for name, tensor in state.items()})
    assert list(read_state_dict(path)) == list(state)


def test_a_part_of_another_network_is_not_taken_for_a_network(tmp_path):
    names = ['sub.conv_first.weight', 'sub.body.0.weight', 'head.weight']
    assert list(read_state_dict(saved(tmp_path, dict.fromkeys(names, torch.ones(3))))) == names


def test_a_name_that_only_looks_like_a_wrappers_stays(tmp_path):
    path = saved(tmp_path, {'model.0.weight': torch.ones(3), 'model.1.weight': torch.ones(3)})
    assert list(read_state_dict(path)) == ['model.0.weight', 'model.1.weight']
    path = saved(tmp_path, {'module.weight': torch.ones(3), 'other.weight': torch.ones(3)})
    assert list(read_state_dict(path)) == ['module.weight', 'other.weight']


def test_damaged_old_files_are_refused_in_one_line_or_read(tmp_path):
    torch.save({'weight': torch.ones(40)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    whole = (tmp_path / 'old.pth').read_bytes()
    key = re.search(rb'\d{10,}', whole)  # of the storage, which torch only asserts to be there
    assert key is not None
    changed = [whole[:length] for length in range(0, len(whole), 3)]
    changed.append(whole[:key.start()] + b'1' * len(key[0]) + whole[key.end():])
    refused = 0
    for content in changed:
        (tmp_path / 'old.pth').write_bytes(content)
        try:
            read_state_dict(tmp_path / 'old.pth')
        except CheckpointError as error:
            assert '\n' not in str(error)
            refused += 1
    assert refused > len(changed) / 2
