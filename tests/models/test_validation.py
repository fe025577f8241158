"""Validation in a single process: BasicSR's values, files and best values, and the scores of whole sets."""
from __future__ import annotations

import random
import re
import shutil
import sys
import urllib.error
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_niqe, calculate_psnr
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from helpers.models import start, train, weights
from helpers.validation import Board, FlatInception, loader, random_alexnet, without_teacher
from torch import nn

from basicsr_kd.errors import MetricError, MissingExtraError
from basicsr_kd.metrics import lpips, set_scores
from basicsr_kd.metrics.fid import features, frechet_distance
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.set_scores import SetScores

PSNR = {'type': 'calculate_psnr', 'crop_border': 4}
NIQE = {'convert_to': 'gray', 'input_order': 'HWC'}  # BasicSR's options
SSIM = {'type': 'calculate_ssim', 'crop_border': 4, 'test_y_channel': True, 'better': 'higher'}


@pytest.fixture
def opt(kd_opt: dict[str, Any]) -> dict[str, Any]:
    return without_teacher(kd_opt)


@pytest.fixture(autouse=True)
def _no_backbone_is_kept() -> Any:
    lpips.lpips_network.cache_clear()
    yield
    lpips.lpips_network.cache_clear()


def images(opt: dict[str, Any], model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Result and ground truth of the validation images, as pixels, without the code that is tested here."""
    pairs = []
    for data in sorted(loader(opt), key=lambda data: data['lq_path'][0]):
        with torch.no_grad():
            output = model.net_g_ema(data['lq'])[0]
        pairs.append(tuple((image.clamp(0, 1) * 255).round().byte().flip(0).permute(1, 2, 0).numpy()
                           for image in (output, data['gt'][0])))
    return pairs


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*.png'))}


@pytest.mark.parametrize('ema_decay', [0.9, 0])
@pytest.mark.parametrize('is_train', [True, False])
def test_values_lines_and_files_are_those_of_basicsr(opt, teacher_file, tmp_path, log, is_train, ema_decay):
    opt['val']['metrics'] = {'psnr': PSNR, 'ssim': SSIM}
    opt['train']['ema_decay'] = ema_decay
    if not is_train:
        opt = {key: value for key, value in opt.items() if key != 'train'} | {'is_train': False}
        opt['path']['pretrain_network_g'] = str(teacher_file)
        opt['val'].pop('suffix')
    model = start(opt)
    stock_opt = {**opt, 'model_type': 'SRModel', 'network_g': model.opt['network_g'],
                 'path': {**opt['path'], 'visualization': str(tmp_path / 'stock')}, 'val': {**opt['val'], 'suffix': ''}}
    stock = build_model(stock_opt)
    if hasattr(model, 'net_g_ema'):
        for parameter in model.net_g_ema.parameters():
            parameter.data.add_(0.01)
    for net in ('net_g', 'net_g_ema'):
        if hasattr(model, net):
            getattr(stock, net).load_state_dict(weights(getattr(model, net)))
            getattr(stock, net).to(memory_format=torch.channels_last)  # for the same rounding as in ours
    when = 5 if is_train else 'tiny'

    lines, boards = [], (Board(), Board())
    for one, board in zip((stock, model), boards, strict=True):
        log.clear()
        SRModel.validation(one, loader(opt), when, board, True)
        lines.append(list(log))
    assert lines[0] == lines[1] and 'Validation pairs' in lines[0]
    assert list(model.metric_results) == ['psnr', 'ssim']
    for metric, value in stock.metric_results.items():  # BasicSR adds up in the order of the folder's listing
        assert model.metric_results[metric] == pytest.approx(value, rel=1e-12)
        best = model.best_metric_results['pairs'][metric]
        assert best == {**stock.best_metric_results['pairs'][metric], 'val': model.metric_results[metric]}
        assert boards[1].scalars[f'metrics/pairs/{metric}'] == [(model.metric_results[metric], when)]
    assert boards[0].scalars.keys() == boards[1].scalars.keys()
    saved = files(tmp_path / 'run' / 'visualization')
    assert saved == files(tmp_path / 'stock')
    assert set(saved) == ({f'{name}/{name}_5.png' for name in '012'} if is_train else
                          {f'pairs/{name}_tiny.png' for name in '012'})
    assert cv2.imdecode(np.frombuffer(next(iter(saved.values())), np.uint8), -1).shape == (144, 144, 3)


def test_a_suffix_takes_the_place_of_the_runs_name(opt, teacher_file, tmp_path):
    opt = {key: value for key, value in opt.items() if key != 'train'} | {'is_train': False}
    opt['path']['pretrain_network_g'] = str(teacher_file)
    opt['val'] = {'suffix': 'x4'}
    start(opt).validation(loader(opt), 'tiny', None, True)
    assert set(files(tmp_path / 'run')) == {f'visualization/pairs/{name}_x4.png' for name in '012'}


def test_ema_is_what_is_validated(opt):
    model = start(opt)
    train(model, 1, 2)
    pairs = images(opt, model)
    model.validation(loader(opt), 2, None, False)
    expected = np.mean([calculate_psnr(*pair, crop_border=4) for pair in pairs])
    assert model.metric_results['psnr'] == pytest.approx(expected, abs=1e-9)
    model.net_g_ema.load_state_dict(weights(model.net_g))
    model.validation(loader(opt), 2, None, False)
    assert abs(model.metric_results['psnr'] - expected) > 1e-4


def test_several_sets_and_their_best_values(opt, log):
    opt['val']['metrics'] = {'psnr': PSNR, 'error': {'type': 'calculate_ssim', 'crop_border': 4, 'better': 'lower'}}
    scores = iter([(30.0, 5.0), (20.0, 5.0), (29.0, 4.0), (21.0, 6.0)])
    model = start(opt)

    def validate(iteration: int, name: str) -> None:
        psnr, error = next(scores)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('basicsr_kd.models.validation.scores.calculate_metric',
                          lambda data, metric: psnr if metric['type'] == 'calculate_psnr' else error)
            model.validation(loader(opt, name=name), iteration, None, False)

    for iteration in (2, 4):
        for name in ('first', 'second'):
            validate(iteration, name)
    best = {name: {metric: (kept['val'], kept['iter']) for metric, kept in metrics.items()}
            for name, metrics in model.best_metric_results.items()}
    assert best == {'first': {'psnr': (30.0, 2), 'error': (4.0, 4)}, 'second': {'psnr': (21.0, 4), 'error': (5.0, 2)}}
    lines = [line for line in log if line.startswith(('Validation', '\t # '))]
    assert lines[6:] == ['Validation first', '\t # psnr: 29.0000\tBest: 30.0000 @ 2 iter',
                         '\t # error: 4.0000\tBest: 4.0000 @ 4 iter', 'Validation second',
                         '\t # psnr: 21.0000\tBest: 21.0000 @ 4 iter', '\t # error: 6.0000\tBest: 5.0000 @ 2 iter']


def test_the_order_of_a_folders_listing_does_not_matter(opt, monkeypatch):
    """It may be another on each machine of a run, which would then take some images twice and others never."""
    model = start(opt)
    seen = []
    monkeypatch.setattr('basicsr_kd.models.validation.scores.Scores.add',
                        lambda self, index, images: seen.append(index))
    monkeypatch.setattr('basicsr_kd.models.validation.images.imwrite',
                        lambda image, path: seen.append(Path(path).parent.name))
    shuffled = loader(opt)
    shuffled.dataset.paths = [shuffled.dataset.paths[index] for index in (2, 0, 1)]
    model.validation(shuffled, 1, None, True)
    assert seen == ['0', 0, '1', 1, '2', 2]


def test_tiles_give_the_values_of_whole_images(opt):
    opt['network_g'] = {'type': 'SRVGGNetCompact', 'num_feat': 4, 'num_conv': 1, 'upscale': 4}
    opt['val']['save_img'] = True
    whole = start(opt)
    opt['val'].update(tile=8, tile_overlap=4)
    tiled = start(opt)
    tiled.net_g_ema.load_state_dict(weights(whole.net_g_ema))
    sizes = []
    tiled.net_g_ema.register_forward_hook(lambda module, args, output: sizes.append(args[0].shape[2:]))
    for model in (whole, tiled):
        model.validation(loader(opt), 1, None, False)
    assert tiled.metric_results['psnr'] == pytest.approx(whole.metric_results['psnr'], abs=1e-3)
    assert set(sizes) == {(16, 16)} and len(sizes) > 3 * 4


def test_tiles_keep_whole_images_off_the_device(opt):
    opt['val'].update(tile=8, tile_overlap=4)
    model = start(opt)
    model.device = torch.device('meta')  # what is moved there is lost; the network stays on the CPU
    model.for_validation = nullcontext  # autocast knows no such device
    data = next(iter(loader(opt)))
    images = model.enlarge(data)
    assert np.array_equal(images['img2'], (data['gt'][0].flip(0).permute(1, 2, 0) * 255).round().byte().numpy())
    assert images['img'].shape == images['img2'].shape and images['img'].std() > 0


def test_the_ground_truth_is_never_moved_to_the_device(opt):
    model = start(opt)
    held = []
    model.net_g_ema.register_forward_hook(lambda *args: held.append(hasattr(model, 'gt')))
    model.validation(loader(opt), 1, None, False)
    assert held == [False] * 3 and 'psnr' in model.metric_results


def test_modes_are_as_before_also_of_frozen_parts_and_where_the_network_fails(opt):
    opt['train']['ema_decay'] = 0
    model = start(opt)
    model.net_g.train()
    frozen = next(module for module in model.net_g.modules() if isinstance(module, nn.Conv2d))
    frozen.eval()
    modes = {module: module.training for module in model.net_g.modules()}
    model.validation(loader(opt), 1, None, False)
    assert {module: module.training for module in model.net_g.modules()} == modes
    model.lq = torch.rand(1, 5, 8, 8)
    with pytest.raises(RuntimeError, match='channels'):
        model.test()
    assert {module: module.training for module in model.net_g.modules()} == modes


def test_training_goes_on_as_if_there_had_been_no_validation(opt, monkeypatch):
    monkeypatch.setattr(lpips, 'backbone_state', random_alexnet)
    monkeypatch.setattr(set_scores, 'inception_network', FlatInception.build)
    opt['val']['metrics'] = {'psnr': PSNR, 'lpips': {'type': 'calculate_lpips', 'crop_border': 0},
                             'fid': {'type': 'calculate_fid'}, 'kid': {'type': 'calculate_kid'}}
    opt['train']['ema_decay'] = 0  # so that it is the network in training that runs
    model = start(opt)
    train(model, 1, 1)
    for mode in (True, False):
        model.net_g.train(mode)
        states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        before = weights(model.net_g)
        model.validation(loader(opt), 1, None, False)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1]) and random.getstate() == states[2]
        assert all(module.training == mode for module in model.net_g.modules())
        assert all(torch.equal(before[name], tensor) for name, tensor in weights(model.net_g).items())
    assert set(model.metric_results) == {'psnr', 'lpips', 'fid', 'kid'}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """PyTorch's cache is empty and nothing can be downloaded; what was asked for."""
    asked: list[str] = []

    def download(url: str, *args: Any, **kwargs: Any) -> None:
        asked.append(url.rpartition('/')[2].partition('-')[0])
        raise urllib.error.URLError('no route to host')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    return asked


def test_a_metric_without_its_backbone_is_left_out_with_one_warning(opt, log, no_network):
    opt['val']['metrics'] = {'lpips': {'type': 'calculate_lpips', 'crop_border': 4}, 'psnr': PSNR,
                             'fid': {'type': 'calculate_fid'}}
    model = start(opt)
    for iteration in (2, 4):
        for name in ('first', 'second'):
            model.validation(loader(opt, name=name), iteration, None, False)
    assert set(model.metric_results) == {'psnr'}
    assert no_network == ['alexnet', 'pt_inception']  # asked for once each, at the first image
    for metric in ('lpips', 'fid'):
        warnings = [line for line in log if f'val.metrics.{metric}: left out, since the weights of' in line]
        assert len(warnings) == 1 and 'weights: PATH' in warnings[0] and 'https://' in warnings[0]
    assert sum('# psnr' in line for line in log) == 4 and not any('# lpips' in line for line in log)


def test_fid_and_kid_are_those_of_the_whole_set(opt, log, monkeypatch):
    network = FlatInception.build()
    monkeypatch.setattr(set_scores, 'inception_network', lambda weights, device: network)
    opt['val']['metrics'] = {'psnr': PSNR, 'fid': {'type': 'calculate_fid'},
                             'kid': {'type': 'calculate_kid', 'patch': 32}}
    model, board = start(opt), Board()
    pairs = images(opt, model)
    for iteration in (2, 4):
        model.validation(loader(opt), iteration, board, False)

    sides = [[torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None] / 255 for image in side]
             for side in zip(*pairs, strict=True)]
    fid = frechet_distance(*(features(network, side) for side in sides))
    assert model.metric_results['fid'] == pytest.approx(fid, rel=1e-6) and fid > 0
    by_hand = SetScores(['kid'], patch=32)
    for index, pair in enumerate(pairs):
        by_hand.add(index, *pair)
    kid = by_hand.results()['kid']
    assert model.metric_results['kid'] == kid.value
    assert kid.patches == 3 * 16
    assert board.scalars['metrics/pairs/kid'] == [(kid.value, 2), (kid.value, 4)]

    line = next(line for line in log if line.startswith('\t # kid'))
    assert re.match(r'\t # kid: -?\d+\.\d{4} \(95 % \[-?[\d.]+, -?[\d.]+\] on 48 patches; floor -?[\d.]+ '
                    r'\[-?[\d.]+, -?[\d.]+\]\)\tBest: -?[\d.]+ @ 2 iter$', line)
    assert f'[{kid.low:.4f}, {kid.high:.4f}]' in line and f'floor {kid.floor:.4f}' in line
    assert model.best_metric_results['pairs']['fid'] == {'better': 'lower', 'val': model.metric_results['fid'],
                                                         'iter': 4}
    warnings = [line for line in log if 'FID on 3 images' in line]
    assert len(warnings) == 1 and 'add it' not in warnings[0]  # although there were two validations


def test_fid_alone_is_warned_of_with_what_to_add(opt, log, monkeypatch):
    monkeypatch.setattr(set_scores, 'inception_network', FlatInception.build)
    opt['val']['metrics'] = {'fid': {'type': 'calculate_fid'}}
    start(opt).validation(loader(opt), 2, None, False)
    assert sum('FID on 3 images' in line and 'add it (type: calculate_kid in YAML' in line for line in log) == 1


@pytest.mark.parametrize('sizes, warned', [([40, 56, 36], 2), ([40, 36, 36], 3)])
def test_niqe_leaves_out_images_that_have_none(opt, log, tmp_path, sizes, warned):
    """Two blocks of 96x96 take 224 pixels here, and one that is not flat."""
    rng = np.random.default_rng(0)
    folders = {}
    for side, scale in (('lq', 1), ('gt', 4)):
        folders[f'dataroot_{side}'] = str(tmp_path / side)
        (tmp_path / side).mkdir()
        for index, size in enumerate(sizes):
            image = rng.integers(0, 256, (scale * size, scale * size, 3), dtype=np.uint8)
            image[:] = 120 if index == 2 else image
            cv2.imwrite(str(tmp_path / side / f'{index}.png'), image)
    opt['val']['metrics'] = {'niqe': {'type': 'calculate_niqe', 'crop_border': 4, 'better': 'lower', **NIQE},
                             'psnr': PSNR}
    opt['val']['save_img'] = True
    model = start(opt)
    for iteration in (2, 4):
        model.validation(loader(opt, **folders), iteration, None, True)
    result = cv2.imread(str(tmp_path / 'run' / 'visualization' / '1' / '1_4.png'))
    if warned == 2:
        assert model.metric_results['niqe'] == calculate_niqe(result, 4, **NIQE)
    else:
        assert set(model.metric_results) == {'psnr'}
    assert sum(f'niqe: NIQE is not defined on {warned} of 3 images' in line for line in log) == 1


def test_of_a_set_that_is_too_small_the_other_scores_remain(opt, log, monkeypatch):
    monkeypatch.setattr(set_scores, 'inception_network', FlatInception.build)
    opt['val']['metrics'] = {'kid': {'type': 'calculate_kid', 'patch': 128}, 'psnr': PSNR}  # one patch an image
    model = start(opt)
    model.validation(loader(opt), 2, None, False)
    assert set(model.metric_results) == {'psnr'}
    assert sum('KID is left out: it needs at least 3 images' in line for line in log) == 1


def test_lpips_is_on_the_models_device_and_lower_is_better(opt, monkeypatch):
    monkeypatch.setattr(lpips, 'backbone_state', random_alexnet)
    opt['val']['metrics'] = {'lpips': {'type': 'calculate_lpips', 'crop_border': 4}}
    model = start(opt)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)  # a GPU that this run does not use: num_gpu is 0
    model.validation(loader(opt), 2, None, False)
    network = lpips.lpips_network('alex', None, torch.device('cpu'))
    expected = np.mean([lpips.lpips_distance(network, *pair, 4) for pair in images(opt, model)])
    assert model.metric_results['lpips'] == pytest.approx(expected) and expected > 0
    assert model.best_metric_results['pairs']['lpips']['better'] == 'lower'


def test_a_ground_truth_of_another_size_is_an_error_that_names_the_image(opt, tmp_path):
    folders = {f'dataroot_{side}': str(tmp_path / side) for side in ('gt', 'lq')}
    for key, folder in folders.items():
        shutil.copytree(opt['datasets']['val'][key], folder)
    cv2.imwrite(str(tmp_path / 'gt' / '1.png'), cv2.imread(str(tmp_path / 'gt' / '1.png'))[:100])
    model = start(opt)
    with pytest.raises(MetricError, match=r'1\.png: the result is 144x144 pixels and the ground truth 144x100'):
        model.validation(loader(opt, **folders), 2, None, False)


def test_metrics_without_weights_are_scored_and_of_texture_the_nearest_to_1_is_best(opt, log):
    kinds = 'jod', 'haarpsi', 'mdsi', 'texture'
    opt['val']['metrics'] = {name: {'type': f'calculate_{name}', 'crop_border': 4} for name in kinds}
    model = start(opt)
    pairs = images(opt, model)
    model.validation(loader(opt), 1, None, save_img=False)
    for name in kinds:
        values = [image_score(name, *pair, border=4, channel='y') for pair in pairs]
        expected = np.median(values) if name == 'texture' else np.mean(values)
        assert model.metric_results[name] == pytest.approx(expected, rel=1e-3)
    assert {name: best['better'] for name, best in model.best_metric_results['pairs'].items() if name != 'texture'} == {
        'jod': 'higher', 'haarpsi': 'higher', 'mdsi': 'lower'}
    best = model.best_metric_results['pairs']['texture']
    best['val'] = 3.0
    for value, expected in ((0.5, 0.5), (1.2, 1.2), (1.3, 1.2), (0.9, 0.9), (0.7, 0.9)):
        model._update_best_metric_result('pairs', 'texture', value, 7)
        assert best['val'] == expected


def test_a_metric_whose_package_is_missing_is_refused_before_the_run(opt, monkeypatch):
    opt['val']['metrics'] = {'jod': {'type': 'calculate_jod', 'crop_border': 4}}
    monkeypatch.setitem(sys.modules, 'pycvvdp', None)
    with pytest.raises(MissingExtraError, match=r'val.metrics.jod \(JOD\) needs pycvvdp, which is not installed'):
        start(opt)
