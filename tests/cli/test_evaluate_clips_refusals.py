"""`basicsr-kd evaluate` on clips: what it refuses before any work, in one line."""
from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.video import write_clip

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys, clips):
    """Runs the command among clips and networks of all kinds; the line on stderr, which is all that there is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'no_cache'))
    for name in ('Vid/GT', 'both', 'fewer', 'one', 'large'):
        shutil.copytree(clips, name)
    for clip in ('walk', 'city'):
        for path in sorted(Path('Vid/GT', clip).iterdir()):
            Path('Vid/LR', clip).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f'Vid/LR/{clip}/{path.name}', cv2.imread(str(path))[::4, ::4])
    shutil.copytree('Vid/LR', 'lr_fewer')
    shutil.copytree('Vid/LR', 'lr_gap')
    shutil.copytree('Vid/LR', 'lr_cut')
    shutil.copytree('Vid/GT/walk', 'images')
    cv2.imwrite('both/still.png', np.zeros((80, 80, 3), np.uint8))
    for folder in ('fewer', 'lr_fewer'):
        Path(folder, 'walk/0006.png').unlink()
    Path('lr_gap/walk/0003.png').unlink()
    Path('lr_cut/walk/0003.png').write_bytes(Path('lr_cut/walk/0003.png').read_bytes()[:100])
    write_clip(Path('one/still'), 1, seed=0)
    for path in Path('large/walk').iterdir():
        cv2.imwrite(str(path), np.zeros((96, 80, 3), np.uint8))
    write_clip(Path('short/blink'), 5, seed=0)
    write_clip(Path('tiny/speck'), 6, seed=0, side=40)
    write_clip(Path('half/GT/walk'), 7, seed=7)
    write_clip(Path('half/LR/walk'), 7, seed=7, side=40)
    for file, net in {'frnet': FRNet(nf=4, nb=1), 'frnet_x2': FRNet(nf=4, nb=1, scale=2),
                      'x2': SRVGGNetCompact(3, 3, 4, 1, 2)}.items():
        write_checkpoint(f'{file}.pth', net.state_dict())

    def run(*args) -> str:
        before = {path for path in Path().rglob('*') if path.is_file()}
        assert main(['evaluate', *args, '--no-speed', '--json', 'out.json', '--save-images', 'saved']) == 2
        output, errors = capsys.readouterr()
        assert output == '' and errors.startswith('basicsr-kd evaluate: ') and errors.count('\n') == 1
        assert {path for path in Path().rglob('*') if path.is_file()} == before
        return errors
    return run


NET = ('--weights', 'frnet.pth')
VID = ('--hr', 'Vid/GT')
CLIPS = (*VID, '--lr', 'Vid/LR')


@pytest.mark.parametrize(('args', 'said'), [
    ((*NET, '--hr', 'both'), 'both has images (still.png) and a folder of images (city/0000.png). Expected images'),
    ((*NET, '--hr', 'Vid/GT', 'images'), 'Vid/GT has folders of frames, which are clips, and images has none'),
    ((*NET, '--hr', 'images', '--lr', 'Vid/LR/walk'), 'frnet.pth goes from frame to frame, and images has images'),
    ((*NET, '--hr', 'one'), 'one/still has 1 frame(s): one/still/0000.png. Expected at least two'),
    ((*NET, *VID, '--lr', 'lr_fewer'), 'Clip walk has 7 frames in Vid/GT and 6 in lr_fewer. Expected as many'),
    ((*NET, *VID, '--lr', 'lr_gap'), 'lr_gap/walk: number 3 is missing, 0004.png follows 0002.png'),
    ((*NET, *VID, '--lr', 'lr_cut'), 'lr_cut/walk/0003.png cannot be read as an image'),
    ((*NET, *VID, '--lr', 'half/LR'), 'have different clips, only one of them has city'),
    ((*NET, '--hr', 'Vid/LR', '--lr', 'Vid/GT'), 'has 80 x 80 pixels'),
    (('--sr', 'fewer', *VID), 'Clip walk has 7 frames in Vid/GT and 6 in fewer. Expected as many'),
    (('--sr', 'half/GT', *VID), 'Vid/GT and half/GT have different clips, only one of them has city'),
    (('--sr', 'large', *VID), 'large/walk/0000.png has 80 x 96 pixels, and Vid/GT/walk/0000.png has 80 x 80 pixels'),
    (('--sr', 'images', *VID), 'There is no folder in images'),
    (('--sr', 'fewer', '--hr', 'Vid/GT', 'half/GT'), 'fewer/Vid is no folder. Expected one for each of the sets Vid'),
    (('--weights', 'x2.pth', *CLIPS), 'x2.pth enlarges 2 times, and the ground truth is 4 times as large as LR'),
    (('--weights', 'frnet_x2.pth', 'frnet.pth', *VID), '--lr is missing, and networks enlarge 2 and 4 times'),
    (('--weights', 'bicubic', *VID), '--lr is missing, and there is no network, so nothing tells how much smaller'),
    ((*NET, '--hr', 'Vid/GT', 'half/GT', '--lr', 'Vid/LR', 'half/LR'), 'half/GT is 2 times as large as half/LR'),
    ((*NET, '--hr', 'short'), 'nothing to measure in short: its longest clip, blink, has 5 frames, and TecoGAN'),
    ((*NET, '--hr', 'tiny'), 'tiny/speck/0000.png: the frames are 40x40 pixels. Expected at least 48x48'),
    ((*NET, *CLIPS, '--tile', '16'), '--tile is for networks of images, and frnet.pth goes from frame to frame'),
    ((*NET, *CLIPS, '--metrics', 'psnr', 'ssim', 'niqe'), '--metrics ssim niqe: Vid/GT has clips. Possible for clips: '
                                                          'psnr, lpips, tof, tlp, fid, kid, jod, jod20.'),
    ((*NET, *CLIPS, '--border', '4'), '--border is for images, and Vid/GT has clips, of which --protocol says'),
    ((*NET, *CLIPS, '--channel', 'rgb'), '--channel is for images'),
    ((*NET, *CLIPS, '--lpips-net', 'vgg'), '--lpips-net is for images'),
    ((*NET, *CLIPS, '--skip-bad'), '--skip-bad is for images'),
    (('--weights', 'bicubic', '--hr', 'images', '--lr', 'Vid/LR/walk', '--protocol', 'official'),
     '--protocol is for clips, and images has images'),
    (('--weights', 'bicubic', '--hr', 'images', '--lr', 'Vid/LR/walk', '--metrics', 'tof'),
     '--metrics tof: images has images. Possible for images: psnr, ssim, lpips, fid, kid, niqe, '),
    ((*NET, *CLIPS, '--metrics', 'lpips', 'tlp', '--lpips-weights', 'frnet.pth'), 'nothing is left to measure. LPIPS'),
])
def test_a_refusal_is_one_line_and_nothing_is_written(refused, args, said):
    assert said in ' '.join(refused(*args).split())
