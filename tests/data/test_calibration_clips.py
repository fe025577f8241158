"""Calibration of networks that go from frame to frame: clips in, as the network sees them in a stream."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from helpers.coordinate_clips import LEFT, TIME, TOP, values, write_clip
from helpers.models import start

from basicsr_kd.archs import FRNet
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.data.clips import find_clips
from basicsr_kd.data.run_inputs import calibration_images, calibration_root
from basicsr_kd.data.tecogan_degradation import gaussian_downsample_padded
from basicsr_kd.errors import OptionsError
from basicsr_kd.options.prune import CalibrationOptions
from basicsr_kd.preflight.pruning import check_calibration
from basicsr_kd.pruning import PruningError, prune, read_calibration, read_calibration_for

BD, BI = (FRNet(nf=8, nb=3, degradation=degradation) for degradation in ('BD', 'BI'))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Clips of 3 and 25 frames of 60x72 pixels, whose pixels tell where they come from."""
    write_clip(tmp_path / 'GT' / 'a', frames=3)
    write_clip(tmp_path / 'GT' / 'b', frames=25)
    return tmp_path / 'GT'


def numbers(clips: torch.Tensor) -> list[list[int]]:
    """The frames that clips are made of."""
    return (clips[:, :, TIME].mean((2, 3)) * 25.5).round().int().tolist()


@pytest.mark.parametrize('num', [16, 3])
def test_long_clips_count_for_several_and_short_ones_turn_round(root, num):
    clips = read_calibration_for(BD, root, num=num)
    assert clips.shape == (3, 10, 3, 8, 8) and clips.dtype == torch.float32
    assert numbers(clips) == [[0, 1, 2, 1, 0, 1, 2, 1, 0, 1], list(range(10)), list(range(10, 20))]
    assert numbers(read_calibration_for(BD, root, num=1)) == numbers(clips)[:1]
    assert torch.equal(read_calibration_for(BD, root, num=num), clips)


def test_low_resolution_is_that_of_whole_frames_in_their_middle(root):
    clip = read_calibration_for(BD, root / 'b', num=1, size=8)[0]
    path = sorted((root / 'b').iterdir())[4]
    frame = torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).movedim(2, 0).float() / 255
    # The 8 pixels stand on every 4th of 40 x 40 without their border of 4: rows from 10 + 4, columns from 16 + 4.
    blurred = gaussian_downsample_padded(frame[:, 2:58])
    torch.testing.assert_close(clip[4], blurred[:, 3:11, 5:13])  # rows 2 + 4 * 3 and columns 4 * 5


def test_another_blur_another_scale_and_grey(root):
    assert not torch.equal(read_calibration_for(BD, root, num=1, sigma=1.0), read_calibration_for(BD, root, num=1))
    assert read_calibration_for(FRNet(nf=8, nb=1, scale=2), root, num=1).shape[-2:] == (24, 24)
    assert read_calibration_for(FRNet(1, 1, nf=8, nb=1), root, num=1).shape == (1, 10, 1, 8, 8)
    with pytest.raises(PruningError, match='images have 3 channels or 1, and the network takes 4'):
        read_calibration_for(FRNet(4, 4, nf=8, nb=1), root)


def test_what_cannot_be_made_is_taken_as_it_is(root):
    clips = read_calibration_for(BI, root, size=40)
    assert clips.shape == (3, 10, 3, 40, 40)
    found = values(clips[1, 7])
    assert set(found[TIME].flat) == {70}
    np.testing.assert_array_equal(found[[TOP, LEFT]], np.mgrid[10:50, 16:56])


def test_one_clip_and_an_lmdb(root, tmp_path, capsys):
    assert torch.equal(read_calibration_for(BD, root / 'b'), read_calibration_for(BD, root)[1:])
    paths = sorted(str(path.relative_to(root)) for path in root.rglob('*.png'))
    make_lmdb_from_imgs(str(root), str(tmp_path / 'GT.lmdb'), paths, [path.removesuffix('.png') for path in paths])
    assert torch.equal(read_calibration_for(BD, tmp_path / 'GT.lmdb'), read_calibration_for(BD, root))


def test_networks_of_images_get_images(root):
    net = torch.nn.Conv2d(3, 3, 3)
    assert torch.equal(read_calibration_for(net, root, 2, 24), read_calibration(root, 2, 24))


def test_clips_that_cannot_be_used_are_named(root, tmp_path):
    with pytest.raises(PruningError, match='calibration: .*nowhere does not exist'):
        read_calibration_for(BD, tmp_path / 'nowhere')
    with pytest.raises(PruningError, match='size is 4. Expected a whole number of at least 8'):
        read_calibration_for(BD, root, size=4)
    write_clip(root / 'c', frames=2, height=39)
    with pytest.raises(PruningError, match=r'c/00000000.png has 72 x 39 pixels. Expected sides of at least 40'):
        read_calibration_for(BD, root)
    (root / 'a/00000001.png').write_bytes((root / 'a/00000001.png').read_bytes()[:60])
    with pytest.raises(PruningError, match='a/00000001.png is not an image that can be read'):
        read_calibration_for(BD, root / 'a')
    (root / 'a/00000001.png').unlink()
    with pytest.raises(PruningError, match='calibration: .*a: number 1 is missing'):
        read_calibration_for(BD, root)


def test_images_are_those_of_the_training_set_unless_told_otherwise(prune_opt):
    net, opt = torch.nn.Conv2d(3, 3, 3), prune_opt
    assert calibration_root(net, CalibrationOptions(), opt) == (
        opt['datasets']['train']['dataroot_lq'], 'datasets.train.dataroot_lq')
    assert calibration_root(net, CalibrationOptions(dataroot='~/photos'), opt) == (
        str(Path.home() / 'photos'), 'calibration.dataroot')
    del opt['datasets']['train']['dataroot_lq']
    assert calibration_root(net, CalibrationOptions(), opt)[0] is None


def test_clips_are_those_that_are_trained_on_with_the_blur_of_the_options(frvsr_opt, tmp_path):
    for name in ('000', '011', '017'):
        write_clip(tmp_path / 'REDS' / name, frames=2)
    frvsr_opt['datasets']['train'].update(dataroot_gt=str(tmp_path / 'REDS'), val_partition='REDS4')
    frvsr_opt['degradation'] = {'type': 'BD', 'sigma': 1.2}
    expected = read_calibration_for(BD, tmp_path / 'REDS', sigma=1.2,
                                    clips=find_clips(tmp_path / 'REDS')[2:])
    assert torch.equal(calibration_images(BD, CalibrationOptions(), frvsr_opt), expected)
    given = calibration_images(BD, CalibrationOptions(dataroot=str(tmp_path / 'REDS'), num=2), frvsr_opt)
    assert given.shape == (2, 10, 3, 8, 8)


@pytest.mark.parametrize(('net', 'wanted'), [(BD, 'ground truth'), (BI, 'low resolution')])
def test_clips_of_other_sets_have_to_be_given(frvsr_opt, net, wanted):
    frvsr_opt['datasets']['train']['type'] = 'REDSRecurrentDataset'
    with pytest.raises(OptionsError, match=f'prune: reconstruct looks at clips of {wanted}, .* prune.calibration'):
        check_calibration(net, 'reconstruct', CalibrationOptions(), 'prune', frvsr_opt)


def test_a_run_prunes_by_the_clips_it_will_train_on(frvsr_opt, tmp_path):
    torch.manual_seed(0)
    write_checkpoint(tmp_path / 'frnet.pth', BD.state_dict())
    frvsr_opt['path']['pretrain_network_g'] = str(tmp_path / 'frnet.pth')
    frvsr_opt['prune'] = {'target': 'srnet', 'layout': 'blocks', 'keep': 2, 'reconstruct': True,
                          'calibration': {'num': 2}}
    model = start(frvsr_opt)
    images = calibration_images(BD, CalibrationOptions(num=2), frvsr_opt)
    expected = prune(BD, target='srnet', layout='blocks', keep=2, reconstruct=True, calibration=images).network
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.net_g.state_dict()[name], tensor), name


def test_the_command_prunes_and_scans_on_clips(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_checkpoint('frnet.pth', BD.state_dict())
    common = ['prune', '--weights', 'frnet.pth', '--layout', 'blocks', '--calibration', 'GT', '--calibration-num', '2']
    assert main([*common, '--scan']) == 0
    assert '2 clips of 10 frames of 8x8' in capsys.readouterr().out
    assert main([*common, '--target', 'srnet', '--keep', '2', '--out', 'p.pth']) == 0
    assert main([*common[:-4], '--calibration', 'GT/none', '--scan']) == 2
    assert 'GT/none does not exist' in capsys.readouterr().err
