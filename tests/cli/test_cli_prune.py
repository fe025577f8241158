"""`basicsr-kd prune`: pruning and scanning from the command line, and everything it refuses."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers.networks import count, largest_difference
from helpers.pruned import SMALL, varied

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.cli.prune import add_arguments
from basicsr_kd.pruning import prune
from basicsr_kd.utils.prune_request import CHOICES

IMAGE = torch.rand(1, 3, 12, 12)


@pytest.fixture
def tool(teacher_file, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder on the tiny RRDBNet: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args, weights=teacher_file):
        try:
            status = main(['prune', '--weights', str(weights), *map(str, args)])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def edsr_file(tmp_path):
    path = tmp_path / 'source' / 'edsr.pth'
    write_checkpoint(path, varied(SMALL['EDSR']).state_dict())
    return path


def test_what_is_written_is_what_prune_gives_from_python(tool, teacher_file):
    status, output, errors = tool('--ratio', 0.3, '--round-to', 1, '--out', 'p.pth', '--json', 'new/p.json')
    assert (status, errors) == (0, '')
    expected = prune(build_from_file(str(teacher_file)), ratio=0.3, round_to=1)
    assert largest_difference(build_from_file('p.pth'), expected.network, IMAGE) == 0
    assert expected.table() in output
    assert 'Pruned in ' in output and 'p.pth' in output and 'p.yml' in output

    section = yaml.safe_load(Path('p.yml').read_text())['network_g']
    figures = json.loads(Path('new/p.json').read_text())
    assert figures['network_g'] == section == {'type': 'PrunedRRDBNet', 'like': 'p.pth'}
    assert figures['params_after'] == count(expected.network) and len(figures['stages']) == len(expected.stages)


def test_the_network_to_prune_is_never_written_over(tool, teacher_file, tmp_path):
    link = tmp_path / 'same.pth'
    link.symlink_to(teacher_file)
    before = teacher_file.read_bytes()
    status, _, errors = tool('--ratio', 0.3, '--round-to', 1, '--out', link, '--force')
    assert status == 2 and 'is the network to prune (--weights), which stays' in errors
    assert teacher_file.read_bytes() == before and link.is_symlink()


def test_a_pruned_file_is_pruned_further(tool):
    assert tool('--ratio', 0.3, '--round-to', 1, '--out', 'once.pth')[0] == 0
    assert tool('--ratio', 0.3, '--round-to', 1, '--out', 'twice.pth', weights='once.pth')[0] == 0
    once, twice = (count(build_from_file(f'{name}.pth')) for name in ('once', 'twice'))
    assert twice == pytest.approx(0.7 * once, rel=0.02)


def test_calibration_images_make_taylor_the_default(tool, teacher_file, image_pairs):
    from basicsr_kd.pruning import read_calibration
    images = read_calibration(image_pairs / 'LRx4', num=2, size=24)
    expected = prune(build_from_file(str(teacher_file)), ratio=0.3, round_to=1, reconstruct=True, calibration=images)
    status, output, _ = tool('--ratio', 0.3, '--round-to', 1, '--reconstruct', '--out', 'p.pth', '--minutes', 0,
                             '--calibration', image_pairs / 'LRx4', '--calibration-num', 2, '--calibration-size', 24)
    assert status == 0 and 'importance taylor' in output
    assert largest_difference(build_from_file('p.pth'), expected.network, IMAGE) == 0


def test_calibration_images_refit_unless_told_not_to(tool, teacher_file, image_pairs):
    args = ('--ratio', 0.3, '--round-to', 1, '--minutes', 0, '--calibration', image_pairs / 'LRx4',
            '--calibration-size', 24)
    assert tool(*args, '--out', 'refitted.pth')[0] == 0
    status, output, _ = tool(*args, '--no-reconstruct', '--out', 'plain.pth')
    assert status == 0 and 'refitted' not in output
    assert largest_difference(build_from_file('plain.pth'), build_from_file('refitted.pth'), IMAGE) > 0


def test_the_command_ends_with_likeness_on_images_kept_out(tool, teacher_file, image_pairs, tmp_path):
    from basicsr_kd.metrics.likeness import likeness
    from basicsr_kd.pruning import read_calibration
    for index in range(8):
        image = np.random.default_rng(index).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f'{index}.png'), image)
    status, output, _ = tool('--ratio', 0.3, '--round-to', 1, '--minutes', 0, '--calibration', tmp_path,
                             '--calibration-size', 24, '--out', 'p.pth', '--json', 'p.json')
    assert status == 0 and 'On 2 calibration images that were kept out' in output
    images = read_calibration(tmp_path, num=16, size=24)
    expected = likeness(build_from_file(str(teacher_file)), build_from_file('p.pth'), images[[0, 4]])
    figures = json.loads(Path('p.json').read_text())['likeness']
    assert figures['pruned']['psnr'] == pytest.approx(expected.network['psnr'], abs=0.01)
    assert f"{figures['pruned']['psnr']:.2f}" in output and f"{figures['bicubic']['psnr']:.2f}" in output
    assert set(figures['pruned']) >= {'psnr', 'texture'}


def test_time_that_is_left_goes_into_gradient_steps(tool, image_pairs):
    status, output, errors = tool('--ratio', 0.3, '--round-to', 1, '--minutes', 0.1, '--calibration',
                                  image_pairs / 'LRx4', '--calibration-size', 24, '--out', 'p.pth', '--json', 'p.json')
    assert status == 0 and 'minutes 0.1' in output and 'gradient steps' in output
    assert json.loads(Path('p.json').read_text())['seconds'] < 30
    lines = [line for line in errors.splitlines() if ' of ' in line]
    assert any(line.startswith('refit: 0 of') for line in lines) and '\r' not in errors  # no screen: lines


def test_without_images_the_command_says_that_it_is_blind(tool):
    status, output, _ = tool('--ratio', 0.3, '--round-to', 1, '--out', 'p.pth', '--json', 'p.json')
    assert status == 0 and 'it was chosen blind' in output
    assert json.loads(Path('p.json').read_text())['likeness'] is None


def test_blocks_by_number_leave_a_plain_network(tool, image_pairs):
    assert tool('--layout', 'blocks', '--keep', 1, '--out', 'p.pth', '--minutes', 0, '--calibration',
                image_pairs / 'LRx4')[0] == 0
    assert yaml.safe_load(Path('p.yml').read_text())['network_g'] == {
        'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 4, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}


@pytest.mark.parametrize('as_file', [False, True])
def test_arch_says_what_the_tensors_do_not(tool, edsr_file, as_file):
    arch = json.dumps(SMALL['EDSR'])
    if as_file:
        Path('options.yml').write_text(yaml.safe_dump({'name': 'x', 'network_g': SMALL['EDSR']}))
        arch = 'options.yml'
    status, output, _ = tool('--ratio', 0.3, '--round-to', 1, '--arch', arch, '--out', 'p.pth', weights=edsr_file)
    assert status == 0
    assert yaml.safe_load(Path('p.yml').read_text())['network_g'] == {'type': 'PrunedNet', 'base': SMALL['EDSR'],
                                                                      'like': 'p.pth'}
    again = tool('--ratio', 0.03, '--round-to', 1, '--out', 'q.pth', weights='p.pth')  # the .yml says what p.pth is
    assert again[0] == 0, again
    assert count(build_from_file('q.pth')) < count(build_from_file('p.pth'))


OUT = ('--out', 'p.pth')


@pytest.mark.parametrize(('args', 'said'), [
    (('--ratio', '0.3'), '--out is missing'),
    (('--ratio', '0.3', '--out', 'p.safetensors'), 'expected a name that ends in .pth'),
    (OUT, '--ratio is missing: the share to take away, from 0 to less than 1.'),
    ((*OUT, '--layout', 'blocks'), '--ratio is missing: the share to take away, from 0 to less than 1 (or keep: how'),
    ((*OUT, '--ratio', '1'), '--ratio is 1.0. Expected a number from 0 to less than 1'),
    ((*OUT, '--ratio', 'nan'), '--ratio is nan'),
    ((*OUT, '--ratio', '0.97'), 'Expected a ratio from 0 to 0.'),
    ((*OUT, '--ratio', '0.3', '--keep', '1'), '--keep counts the blocks that stay, so it needs layout blocks'),
    ((*OUT, '--ratio', '0.3', '--select', 'last'), '--select says which blocks go'),
    ((*OUT, '--ratio', '0.3', '--keep', '1', '--layout', 'blocks'), '--ratio 0.3 and keep 1 both say how much stays'),
    ((*OUT, '--ratio', '0.3', '--round-to', '0'), '--round-to is 0. Expected a whole number of at least 1'),
    ((*OUT, '--ratio', '0.3', '--target', 'body.9'), "target 'body.9' is no module of RRDBNet; did you mean 'body."),
    ((*OUT, '--ratio', '0.3', '--importance', 'taylor'), 'importance taylor needs --calibration DIR'),
    ((*OUT, '--ratio', '0.3', '--reconstruct'), 'reconstruct needs --calibration DIR'),
    ((*OUT, '--layout', 'blocks', '--keep', '1'), 'layout blocks with select least needs --calibration DIR'),
    ((*OUT, '--ratio', '0.3', '--calibration', 'nowhere'), 'calibration: nowhere does not exist'),
    ((*OUT, '--ratio', '0.3', '--arch', '{type: EDSR'), '--arch: {type: EDSR cannot be read'),
    ((*OUT, '--ratio', '0.3', '--arch', 'no.yml'), '--arch: no.yml cannot be read'),
    ((*OUT, '--ratio', '0.3', '--arch', 'EDSR'), "--arch: EDSR names no network. Expected e.g. '{type: EDSR"),
    ((*OUT, '--ratio', '0.3', '--arch', '{type: EDRS}'), "no network type 'EDRS'"),
    ((*OUT, '--ratio', '0.3', '--arch', json.dumps(SMALL['EDSR'])), 'is not the EDSR that the options describe: '),
    ((*OUT, '--ratio', '0.3', '--param-key', 'params_x'), "no weights under param_key 'params_x'"),
    ((*OUT, '--ratio', '0.3', '--json', 'p.yml'), 'two of the files to write have one name'),
    ((*OUT, '--ratio', '0.3', '--plot', 'p.png'), '--plot draws a scan'),
    (('--ratio', '0.3', '--out', 'a_file/p.pth'), 'a_file is a file'),
    (('--ratio', '0.3', '--out', 'a_folder.pth'), 'a_folder.pth is a folder'),
    (('--scan',), '--scan measures on images'),
    (('--scan', *OUT), '--out does not go with --scan'),
    (('--scan', '--calibration', 'LR', '--plot', 'p.bmp'), 'expected a name that ends in .png, .svg or .pdf'),
    (('--scan', '--calibration', 'LR', '--layout', 'width'), 'layout width changes the residual stream in all stages'),
    (('--scan', '--calibration', 'LR', '--ratio', '0.97'), 'no stage can be pruned alone by ratio 0.97'),
])
def test_a_refusal_is_one_line_and_nothing_is_written(tool, image_pairs, args, said):
    Path('a_file').touch()
    Path('a_folder.pth').mkdir()
    Path('LR').symlink_to(image_pairs / 'LRx4')
    status, output, errors = tool(*args)
    assert (status, output) == (2, '')
    assert errors.startswith('basicsr-kd prune: ') and errors.count('\n') == 1 and said in errors
    assert sorted(path.name for path in Path().iterdir()) == ['LR', 'a_file', 'a_folder.pth']


def test_what_does_not_go_together_is_refused_before_torch_is_loaded():
    code = ('import sys; from basicsr_kd.cli.main import main\n'
            'for args in [["--keep", "1"], ["--ratio", "1"], ["--ratio", "0.3", "--reconstruct"],\n'
            '             ["--ratio", "0.3", "--importance", "fpgm", "--layout", "unstructured"]]:\n'
            '    assert main(["prune", "--weights", "none.pth", "--out", "p.pth", *args]) == 2\n'
            'assert main(["prune", "--weights", "none.pth", "--scan", "--calibration", "LR", "--ratio", "1"]) == 2\n'
            'assert not {"torch", "torchvision", "basicsr"} & set(sys.modules)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 5, done.stderr


def test_a_word_or_number_that_is_none_is_told_with_what_is_possible(tool):
    status, _, errors = tool('--ratio', 'a third', *OUT)
    assert status == 2 and len(errors.splitlines()) == 3 and "--ratio: invalid float value: 'a third'" in errors
    assert 'blocks' in tool('--layout', 'depth', *OUT)[2].splitlines()[-1]


def test_broken_weights_are_refused(tool, tmp_path):
    net = varied(SMALL['MSRResNet'])
    net.body[1].conv1.weight.data[0] = float('nan')
    write_checkpoint(tmp_path / 'nan.pth', net.state_dict())
    status, _, errors = tool('--ratio', 0.3, *OUT, weights='nan.pth')
    assert status == 2 and 'not finite' in errors and 'body.1.conv1.weight' in errors
    assert 'Checkpoint none.pth does not exist' in tool('--ratio', 0.3, *OUT, weights='none.pth')[2]
    assert not Path('p.pth').exists()


def test_an_architecture_that_nothing_tells_is_refused(tool, edsr_file):
    status, _, errors = tool('--ratio', 0.3, *OUT, weights=edsr_file)
    assert status == 2 and '--arch' in errors and not Path('p.pth').exists()


@pytest.mark.parametrize(('num_in_ch', 'status'), [(1, 0), (4, 2)])
def test_images_are_made_grey_for_a_grey_network_and_refused_for_others(tool, image_pairs, num_in_ch, status):
    network = {**SMALL['MSRResNet'], 'num_in_ch': num_in_ch, 'num_out_ch': num_in_ch}
    write_checkpoint('other.pth', varied(network).state_dict())
    found, _, errors = tool('--ratio', 0.3, '--round-to', 1, *OUT, '--minutes', 0, '--calibration',
                            image_pairs / 'LRx4', weights='other.pth')
    assert found == status and Path('p.pth').exists() == (status == 0)
    assert status == 0 or 'images have 3 channels or 1, and the network takes 4' in errors


@pytest.mark.parametrize('name', ['p.pth', 'p.yml', 'p.json'])
def test_files_that_exist_are_written_over_by_force_only(tool, name):
    Path(name).write_text('mine')
    args = ('--ratio', 0.3, '--round-to', 1, *OUT, '--json', 'p.json')
    status, _, errors = tool(*args)
    assert status == 2 and f'{name} exists. Choose another name, or say --force' in errors
    assert [path.name for path in Path().iterdir()] == [name] and Path(name).read_text() == 'mine'
    assert tool(*args, '--force')[0] == 0
    assert Path(name).read_bytes() != b'mine'


def test_a_scan_prints_draws_and_writes_but_prunes_nothing(tool, image_pairs):
    status, output, errors = tool('--scan', '--round-to', 1, '--calibration', image_pairs / 'LRx4',
                                  '--plot', 'scan.png', '--json', 'scan.json')
    assert status == 0 and all(' of ' in line for line in errors.splitlines())  # progress
    figures = json.loads(Path('scan.json').read_text())
    lines = output.splitlines()
    for stage in figures['stages']:
        if stage['psnr'] is not None:
            assert any(stage['stage'] in line and f'{stage["psnr"]:.2f}' in line and '█' in line for line in lines)
        else:
            assert any(line.startswith('not scanned: ') and stage['stage'] in line for line in lines)
    assert [stage['stage'] for stage in figures['stages'] if stage['psnr']] == ['body.0', 'body.1']
    assert np.ptp(cv2.imread('scan.png')) > 100
    assert sorted(path.name for path in Path().iterdir()) == ['scan.json', 'scan.png']


def test_arguments_offer_what_pruning_knows():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    actions = {action.dest: action for action in parser._actions}
    assert {name: set(actions[name].choices) for name in CHOICES} == {name: set(words) for name, words in
                                                                      CHOICES.items()}
