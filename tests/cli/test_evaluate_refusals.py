"""What `basicsr-kd evaluate` refuses, in one line and before anything is written."""
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.discriminator_arch import VGGStyleDiscriminator
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.evaluate import SETS, B, files, small_inception, written

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.evaluation.methods import Bicubic


@pytest.fixture
def bad_input(folder):
    """Files and folders that are not what they should be."""
    torch.save({'params': VGGStyleDiscriminator(3, 2).state_dict()}, 'net_d.pth')
    for name, net in {'x2': SRVGGNetCompact(3, 3, 4, 1, 2), 'two': SRVGGNetCompact(2, 2, 4, 1, 4)}.items():
        write_checkpoint(f'{name}.pth', net.state_dict())
    for file in ('a/net', 'b/net', 'a_net'):
        write_checkpoint(f'{file}.pth', SRVGGNetCompact(3, 3, 4, 1, 4).state_dict())
    Path('text.pth').write_text('not a checkpoint')
    Path('exists.json').touch()
    Path('empty').mkdir()
    shutil.copytree('Set/LR', 'others')
    for path in Path('others').iterdir():
        path.rename(path.with_stem(f'other{path.stem}'))
    shutil.copytree('Set/LR', 'odd')
    cv2.imwrite('odd/b.png', np.zeros((9, 9, 3), np.uint8))


HR = ('--hr', 'Set/HR')


@pytest.mark.parametrize(('args', 'said'), [
    (HR, 'nothing to compare. Give --weights FILE'),
    ((*B, *HR), '--lr is missing'),
    ((*B, *HR, '--lr', 'Set/LR', 'Set/LR'), '--lr has 2 and --hr 1'),
    ((*B, *SETS, '--names', 'a', 'b'), '--names has 2 and --hr 1'),
    ((*B, '--hr', 'Set/HR', 'Set/HR', '--lr', 'Set/LR', 'Set/LR'), 'two sets have one name: Set, Set. Name them'),
    (('--sr', 'Set/HR', *HR), '--border is missing'),
    ((*B, *SETS, '--border', '-1'), '--border is -1. Expected at least 0'),
    ((*B, *SETS, '--lr-size', '3'), '--lr-size is 3. Expected at least 16'),
    ((*B, *SETS, '--border', '60'), 'Set/HR/b.png is 160x128 pixels, of which 60 on each side are left out'),
    ((*B, *SETS, '--metrics', 'lpips', '--lpips-weights', 'no.pth'), '--lpips-weights: no.pth is no file'),
    ((*B, *SETS, '--device', 'cuda:99'), '--device cuda:99 cannot be used: '),
    ((*B, *SETS, '--device', 'qpu'), '--device qpu cannot be used: '),
    ((*B, *SETS, '--device', 'meta'), '--device meta cannot be used: '),
    ((*B, *SETS, '--names', '../../x'), "--names: '../../x' is no name of a set"),
    ((*B, *SETS, '--names', '..'), "--names: '..' is no name of a set"),
    (('--weights', 'a/net.pth', 'b/net.pth', 'a_net.pth', *SETS, '--save-images', 'images'),
     'The images of a/net and a_net would both be saved in images/a_net'),
    ((*B, *SETS, '--json', 'exists.json'), 'exists.json exists. Choose another name, or say --force'),
    ((*B, *SETS, '--save-images', 'Set'), 'Set is not empty. Choose another folder'),
    ((*B, *SETS, '--save-images', 'exists.json'), 'exists.json is a file'),
    ((*B, '--hr', 'none', '--lr', 'Set/LR'), 'none does not exist. Expected a folder of images'),
    ((*B, *HR, '--lr', 'empty'), 'There is no image in empty'),
    ((*B, *HR, '--lr', 'others'), "nothing in others for 'a', 'b', 'c'; nothing in Set/HR for 'othera', 'otherb', 'o"),
    ((*B, *HR, '--lr', 'odd'), 'Set/HR/b.png is 160x128 and odd/b.png 9x9. Expected the first to be 4 times as large'),
    ((*B, '--hr', 'Set/LR', '--lr', 'Set/HR'), 'Expected the first, the ground truth, to be the larger one'),
    (('--sr', 'odd', *SETS), 'odd/a.png is 37x35. Expected 148x140, 4 times the size of Set/LR/a.png'),
    (('--sr', 'odd', '--hr', 'Set/HR', 'odd', '--border', '4'), 'odd/Set is no folder. Expected one for each of the'),
    (('--weights', 'none.pth', *SETS), 'Checkpoint none.pth does not exist'),
    (('--weights', 'text.pth', *SETS), 'text.pth (16 bytes) is not a checkpoint that can be read'),
    (('--weights', 'net_d.pth', *SETS), 'net_d.pth is no RRDBNet, SRVGGNetCompact'),
    (('--weights', 'x2.pth', *SETS), 'x2.pth enlarges 2 times, and the ground truth is 4 times as large as LR'),
    (('--weights', 'two.pth', *SETS), 'two.pth enlarges images neither of three channels nor of one'),
    (('--weights', 'a/net.pth', *SETS, '--param-key', 'mine'), 'has no weights under param_key'),
    (('--weights', 'x2.pth', 'x2.pth', *SETS), 'Two methods would both be called x2'),
])
def test_a_refusal_is_one_line_and_nothing_is_written(tool, bad_input, args, said):
    before = files()
    json_file = () if '--json' in args else ('--json', 'out.json')

    status, output, errors = tool(*args, *json_file)

    assert (status, output) == (2, '')
    assert errors.startswith('basicsr-kd evaluate: ') and errors.count('\n') == 1 and said in errors, errors
    assert files() == before


def test_files_that_exist_are_written_over_by_force(tool):
    Path('out.json').write_text('mine')
    assert tool(*B, *SETS, '--json', 'out.json')[0] == 2 and Path('out.json').read_text() == 'mine'
    assert tool(*B, *SETS, '--json', 'out.json', '--save-images', 'Set', '--force')[0] == 0
    assert written()['sets'] and Path('Set/bicubic/Set/a.png').exists()


def test_a_metric_that_is_none_is_told_with_what_is_possible(tool):
    status, _, errors = tool(*B, *SETS, '--metrics', 'psnr', 'vmaf')
    assert status == 2 and 'kid' in errors.splitlines()[-1]


def test_set_metrics_alone_on_too_few_images_are_refused(tool, monkeypatch):
    Path('inception.pth').touch()
    monkeypatch.setattr('basicsr_kd.evaluation.scorer.inception_network', small_inception)
    for kind in ('HR', 'LR'):
        for name in 'bc':
            Path(f'Set/{kind}/{name}.png').unlink()

    status, output, errors = tool(*B, *SETS, '--metrics', 'fid', 'kid', '--inception-weights', 'inception.pth')

    assert (status, output) == (2, '') and 'There is nothing to measure: FID needs at least 2 images, found 1' in errors


def test_ctrl_c_is_one_line(tool, monkeypatch):
    def interrupted(self, pair, lr):
        raise KeyboardInterrupt
    monkeypatch.setattr(Bicubic, 'run', interrupted)

    assert tool(*B, *SETS) == (130, '', 'basicsr-kd: interrupted\n')


def test_nothing_left_to_measure_is_refused(tool):
    status, output, errors = tool('--weights', 'bicubic', *SETS, '--json', 'out.json', '--metrics', 'lpips')
    assert (status, output) == (2, '') and 'nothing is left to measure. LPIPS left out: ' in errors
    assert not Path('out.json').exists()
