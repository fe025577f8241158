"""TecoGANModel's validation: clips stream through EMA's weights, sets keep apart, metrics know their protocol."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.utils import tensor2img
from helpers.models import same, start, weights
from helpers.validation import FlatInception
from helpers.video import train, write_clip

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.data.tecogan_degradation import gaussian_downsample_padded
from basicsr_kd.deploy.stream import run_stream
from basicsr_kd.errors import BackboneError, OptionsError
from basicsr_kd.metrics import set_scores
from basicsr_kd.metrics.clip_protocol import PROTOCOLS
from basicsr_kd.metrics.clip_scores import ClipScores
from basicsr_kd.metrics.jod import jod_of_clip
from basicsr_kd.metrics.set_scores import SetScores


def loader(opt: dict[str, Any], phase: str = 'val') -> Any:
    """A set's, as BasicSR's train.py builds it."""
    return build_dataloader(build_dataset(opt['datasets'][phase]), opt['datasets'][phase])


def enlarged(net: FRNet, folder: Path) -> list[np.ndarray]:
    """What the network makes of a clip, by its sequence form: five frames in front, which are dropped."""
    frames = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
    gt = torch.stack([torch.from_numpy(frame[..., ::-1].copy()).movedim(2, 0).float() / 255 for frame in frames])
    lq = gaussian_downsample_padded(gt)
    with torch.no_grad():
        output = net(torch.cat([lq[1:6].flip(0), lq])[None])[0, 5:]
    return [tensor2img([frame]) for frame in output]


def expected_scores(net: FRNet, clips: Path, protocol: str = 'official') -> dict[str, Any]:
    scores = ClipScores({'psnr', 'tof'}, PROTOCOLS[protocol])
    for folder in sorted(clips.iterdir()):
        for index, (result, path) in enumerate(zip(enlarged(net, folder), sorted(folder.iterdir()), strict=True)):
            scores.add(folder.name, index, result, cv2.imread(str(path)))
    return scores.results()


def test_a_stream_is_the_sequence_form():
    net = FRNet(nf=8, nb=1).eval()
    clip = torch.rand(2, 9, 3, 16, 24)
    with torch.no_grad():
        expected = net(torch.cat([clip[:, 1:6].flip(1), clip], 1))[:, 5:]
    found = torch.stack(list(run_stream(net, clip.unbind(1))), 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_stream_of_few_frames_has_fewer_in_front():
    net = FRNet(nf=8, nb=1).eval()
    clip = torch.rand(1, 3, 3, 8, 8)
    with torch.no_grad():
        expected = net(clip[:, [2, 1, 0, 1, 2]])[:, 2:]
    torch.testing.assert_close(torch.stack(list(run_stream(net, clip.unbind(1))), 1), expected, rtol=0, atol=1e-5)
    assert len(list(run_stream(net, clip[:, :1].unbind(1)))) == 1


def test_a_stream_reads_no_further_ahead_than_its_front():
    read = []

    def frames():
        for index in range(20):
            read.append(index)
            yield torch.rand(1, 3, 8, 8)

    stream = run_stream(FRNet(nf=8, nb=1).eval(), frames())
    for index in range(10):
        next(stream)
        assert read[-1] == max(5, index)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize('protocol', ['official', 'training'])
def test_scores_are_those_of_emas_frames(frvsr_opt, clips, protocol, log):
    frvsr_opt['val']['protocol'] = protocol
    model = start(frvsr_opt)
    train(model, 1, 2)
    expected = expected_scores(model.net_g_ema, clips, protocol)
    model.validation(loader(frvsr_opt), 2, None, save_img=False)
    average = {'official': 'frames', 'training': 'clips'}[protocol]
    for name in ('psnr', 'tof'):
        assert model.metric_results[name] == pytest.approx(expected[name][average], rel=1e-3)
    assert sum(f'mean over {average}; over ' in line for line in log) == 2
    model.validation(loader(frvsr_opt), 3, None, save_img=False)
    assert log.count('Metrics of clips: ' + PROTOCOLS[protocol].describe({'psnr', 'tof'})) == 1
    assert model.best_metric_results['clips']['tof']['better'] == 'lower'


def test_jod_of_clips_is_told_their_frame_rate(frvsr_opt, clips, log):
    frvsr_opt['val'].update(protocol='training', frame_rate=12, metrics={'jod': {'type': 'calculate_jod'}})
    model = start(frvsr_opt)
    model.validation(loader(frvsr_opt), 1, None, save_img=False)
    expected = []
    for folder in sorted(clips.iterdir()):
        truth = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
        pair = (np.stack(images)[..., ::-1].copy() for images in (enlarged(model.net_g_ema, folder), truth))
        expected.append(jod_of_clip('jod', *pair, 12))
    assert model.metric_results['jod'] == pytest.approx(np.mean(expected), abs=1e-2)
    assert any('JOD at 12 frames a second: higher is better' in line for line in log)
    frvsr_opt['val'].pop('frame_rate')
    with pytest.raises(OptionsError, match='val.frame_rate is missing: frames a second of the clips, which val'):
        start(frvsr_opt)


def test_fid_is_over_the_frames_of_all_clips(frvsr_opt, clips, log, monkeypatch):
    monkeypatch.setattr(set_scores, 'inception_network', FlatInception.build)
    frvsr_opt['val']['metrics']['fid'] = {'type': 'calculate_fid'}
    model = start(frvsr_opt)
    expected = SetScores(['fid'])
    for folder in sorted(clips.iterdir()):
        for index, (result, path) in enumerate(zip(enlarged(model.net_g_ema, folder), sorted(folder.iterdir()),
                                                   strict=True)):
            expected.add(f'{folder.name}{index:02d}', result, cv2.imread(str(path)))
    model.validation(loader(frvsr_opt), 1, None, save_img=False)
    frames = sum(len(list(folder.iterdir())) for folder in clips.iterdir())
    assert model.metric_results['fid'] == pytest.approx(expected.results()['fid'], rel=1e-3)
    assert any(f'({frames} frames)' in line for line in log)
    assert any(line.startswith(f'FID on {frames} images') for line in log)


def test_kid_is_over_the_frames_of_all_clips_and_has_its_own_patches(frvsr_opt, clips, log, monkeypatch):
    monkeypatch.setattr(set_scores, 'inception_network', FlatInception.build)
    frvsr_opt['val']['metrics'] |= {'fid': {'type': 'calculate_fid'}, 'kid': {'type': 'calculate_kid', 'patch': 40}}
    model = start(frvsr_opt)
    expected = SetScores(['kid'], patch=40)
    for folder in sorted(clips.iterdir()):
        for index, (result, path) in enumerate(zip(enlarged(model.net_g_ema, folder), sorted(folder.iterdir()),
                                                   strict=True)):
            expected.add(f'{folder.name}{index:02d}', result, cv2.imread(str(path)))
    model.validation(loader(frvsr_opt), 1, None, save_img=False)
    kid = expected.results()['kid']
    assert list(model.metric_results) == ['psnr', 'tof', 'fid', 'kid'] and kid.patches == 4 * 15
    assert model.metric_results['kid'] == pytest.approx(kid.value, rel=1e-2)
    assert any(f'on {kid.patches} patches' in line for line in log)
    assert not any('KID has no such bias: add it' in line for line in log)  # it is there


def test_fid_is_left_out_where_inception_cannot_be_had(frvsr_opt, log, monkeypatch):
    def nowhere(weights, device):
        raise BackboneError('no Inception here')

    monkeypatch.setattr(set_scores, 'inception_network', nowhere)
    frvsr_opt['val']['metrics']['fid'] = {'type': 'calculate_fid'}
    model = start(frvsr_opt)
    for iteration in (1, 2):
        model.validation(loader(frvsr_opt), iteration, None, save_img=False)
    assert 'fid' not in model.metric_results and model.metric_results['psnr'] > 0
    assert sum('val.metrics.fid: left out, since no Inception here' in line for line in log) == 1


def test_training_goes_on_as_if_nothing_had_been_validated(teco_opt):
    models = []
    for validates in (False, True):
        torch.manual_seed(3)
        models.append(start(teco_opt))
        train(models[-1], 1, 1)
        if validates:
            models[-1].validation(loader(teco_opt), 1, None, save_img=False)
        train(models[-1], 2, 2)
    assert models[1].net_g.training and not models[1].net_g_ema.training
    for net in ('net_g', 'net_g_ema', 'net_d'):
        assert same(weights(getattr(models[0], net)), weights(getattr(models[1], net)))


def test_several_sets_keep_their_own_results(frvsr_opt, tmp_path):
    write_clip(tmp_path / 'other' / 'sea', 6, seed=5, side=96)
    frvsr_opt['datasets']['val_2'] = {**frvsr_opt['datasets']['val'], 'name': 'other',
                                      'dataroot_gt': str(tmp_path / 'other')}
    model = start(frvsr_opt)
    results = []
    for phase in ('val', 'val_2', 'val'):
        model.validation(loader(frvsr_opt, phase), 1, None, save_img=False)
        results.append(model.metric_results)
    assert results[0] == results[2] != results[1]
    assert set(model.best_metric_results) == {'clips', 'other'}


def test_frames_are_saved_under_their_names_and_no_ground_truth_is_needed(frvsr_opt, clips, tmp_path):
    low = tmp_path / 'low'
    for folder in clips.iterdir():
        (low / folder.name).mkdir(parents=True)
        for path in folder.iterdir():
            cv2.imwrite(str(low / folder.name / path.name), cv2.imread(str(path))[::4, ::4])
    frvsr_opt['datasets']['val'].pop('dataroot_gt')
    frvsr_opt['datasets']['val']['dataroot_lq'] = str(low)
    frvsr_opt['val'].pop('metrics')
    model = start(frvsr_opt)
    model.validation(loader(frvsr_opt), 3, None, save_img=True)
    saved = tmp_path / 'run' / 'visualization' / 'clips'
    assert sorted(path.name for path in (saved / 'walk').iterdir()) == [f'{frame:04d}_3.png' for frame in range(7)]
    assert cv2.imread(str(saved / 'city' / '0007_3.png')).shape == (80, 80, 3)


def test_a_test_run_names_frames_as_the_ground_truth(frvsr_opt, clips, tmp_path):
    model = start(frvsr_opt)
    model.save(0, -1)
    frvsr_opt.update(is_train=False, datasets={'test_1': {**frvsr_opt['datasets']['val'], 'phase': 'test'}})
    frvsr_opt.pop('network_g')
    frvsr_opt['path'].update(pretrain_network_g=str(tmp_path / 'run' / 'models' / 'net_g_latest.pth'),
                             param_key_g='params_ema')
    tested = start(frvsr_opt)
    tested.validation(loader(frvsr_opt, 'test_1'), 'tiny', None, save_img=True)
    saved = tmp_path / 'run' / 'visualization' / 'clips'
    expected = enlarged(model.net_g_ema, clips / 'walk')
    for path, frame in zip(sorted((clips / 'walk').iterdir()), expected, strict=True):
        assert np.abs(cv2.imread(str(saved / 'walk' / path.name)).astype(int) - frame).max() <= 1
    assert set(tested.metric_results) == {'psnr', 'tof'}


def test_metrics_whose_network_is_not_there_are_left_out_and_the_others_stay(frvsr_opt, monkeypatch, log):

    def missing(*args):
        raise BackboneError('no AlexNet')

    monkeypatch.setattr('basicsr_kd.metrics.clip_scores.lpips_network', missing)
    frvsr_opt['val']['metrics'].update(lpips={'type': 'calculate_lpips'}, tlp={'type': 'calculate_tlp'})
    model = start(frvsr_opt)
    for iteration in (1, 2):
        model.validation(loader(frvsr_opt), iteration, None, save_img=False)
        assert set(model.metric_results) == {'psnr', 'tof'}
    told = [line for line in log if 'AlexNet' in line]
    assert told == ['val.metrics.lpips, val.metrics.tlp: left out, since no AlexNet']


def test_a_clip_too_short_for_the_protocol_is_named(frvsr_opt, tmp_path, log):
    write_clip(tmp_path / 'short' / 'blink', 3, seed=1)
    frvsr_opt['datasets']['val']['dataroot_gt'] = str(tmp_path / 'short')
    model = start(frvsr_opt)
    model.validation(loader(frvsr_opt), 1, None, save_img=False)
    assert model.metric_results == {}
    assert any('clip blink is left out of the scores: it has 3 frames' in line for line in log)


def test_the_generator_is_tested_where_there_is_no_average(frvsr_opt, clips):
    frvsr_opt['train']['ema_decay'] = 0
    model = start(copy.deepcopy(frvsr_opt))
    train(model, 1, 1)
    model.validation(loader(frvsr_opt), 1, None, save_img=False)
    net = copy.deepcopy(model.net_g).eval()
    assert model.metric_results['psnr'] == pytest.approx(expected_scores(net, clips)['psnr']['frames'], rel=1e-5)


def test_a_clip_with_a_broken_frame_is_left_out_by_name(frvsr_opt, tmp_path, log):
    for number, name in enumerate(('whole', 'broken')):
        write_clip(tmp_path / 'two' / name, 9, number)
    frame = sorted((tmp_path / 'two' / 'broken').iterdir())[3]
    content = frame.read_bytes()
    frame.write_bytes(content[:60] + bytes(len(content) - 60))
    frvsr_opt['datasets']['val']['dataroot_gt'] = str(tmp_path / 'two')
    model = start(frvsr_opt)
    model.validation(loader(frvsr_opt), 2, None)
    alone = copy.deepcopy(model.metric_results)
    assert any(f'{frame} cannot be read as an image, so clip broken is left out' in line for line in log)
    for path in (tmp_path / 'two' / 'broken').iterdir():
        path.unlink()
    (tmp_path / 'two' / 'broken').rmdir()
    model.validation(loader(frvsr_opt), 3, None)
    assert model.metric_results == alone and alone['psnr'] > 0
