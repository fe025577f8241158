"""Pictures of validation side by side in TensorBoard: what each panel shows, and that training does not notice."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.models import same, start, train, weights
from helpers.validation import Board, loader, without_teacher
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.errors import OptionsError
from basicsr_kd.metrics.bicubic import bicubic
from basicsr_kd.models.validation.panels import Pictures, side_by_side

GAP, CAPTION = 4, 20


@pytest.fixture
def opt(kd_opt: dict[str, Any]) -> dict[str, Any]:
    kd_opt['train']['distill_opt']['layers'] = ['conv_first', 'conv_body']
    kd_opt['val']['pictures'] = 2
    kd_opt['logger']['use_tb_logger'] = True
    return kd_opt


def panels(picture: np.ndarray, width: int) -> list[np.ndarray]:
    """The images in a picture, (h, width, 3) BGR without their captions, each of which is not blank."""
    count, rest = divmod(picture.shape[1], GAP + width)
    assert rest == 0
    found = [picture[:, left + GAP:left + GAP + width, ::-1] for left in range(0, picture.shape[1], GAP + width)]
    assert len(found) == count and all(panel[:CAPTION].min() < 128 and panel[:CAPTION].max() == 255 for panel in found)
    return [panel[CAPTION:] for panel in found]


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


def test_each_panel_is_what_its_caption_says(opt, teacher_file, image_pairs):
    model, board = start(opt), Board()
    train(model, 1, 1)
    model.validation(loader(opt), 1, board, False)
    train(model, 2, 2)
    model.validation(loader(opt), 2, board, False)

    assert list(board.images) == [('pairs/0', 1), ('pairs/1', 1), ('pairs/0', 2), ('pairs/1', 2)]
    teacher = build_from_file(str(teacher_file)).eval()
    for (tag, step), picture in board.images.items():
        hr, lr = (cv2.imread(str(image_pairs / kind / f'{tag[-1]}.png')) for kind in ('HR', 'LRx4'))
        found = panels(picture, 144)
        assert len(found) == 4 and np.array_equal(found[3], hr)
        assert difference(found[0], bicubic(lr, 4)) <= 1
        for net, panel in [(teacher, found[1])] + ([(model.net_g_ema, found[2])] if step == 2 else []):
            with torch.no_grad():
                output = net(torch.from_numpy(lr[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(255)))[0]
            expected = (output.clamp(0, 1) * 255).round().byte().flip(0).permute(1, 2, 0).numpy()
            assert difference(panel, expected) <= 1
    first, second = (panels(board.images['pairs/0', step], 144) for step in (1, 2))
    assert [difference(one, other) > 0 for one, other in zip(first, second, strict=True)] == [False, False, True, False]


def test_the_teacher_runs_once_an_image_and_training_does_not_notice(opt):
    seen, ends = [], []
    for pictures in (2, 0):
        opt['val']['pictures'] = pictures
        torch.manual_seed(0)
        model = start(opt)
        model.net_teacher.register_forward_hook(lambda module, args, output: seen.append(tuple(args[0].shape)))
        for iteration in (1, 2, 3):
            train(model, iteration, iteration)
            model.validation(loader(opt), iteration, Board(), False)
        assert not model.net_teacher.training
        ends.append(weights(model.net_g))
    assert seen.count((1, 3, 36, 36)) == 2  # in three validations; all else is training
    assert same(*ends)


def test_without_teacher_and_ground_truth_there_are_fewer_panels(opt):
    opt = without_teacher(opt)
    board = Board()
    model = start(opt)
    model.validation(loader(opt), 1, board, False)
    model.validation(loader(opt, name='photos', type='SingleImageDataset'), 1, board, False)
    assert {tag: len(panels(picture, 144)) for (tag, _), picture in board.images.items()} == {
        'pairs/0': 3, 'pairs/1': 3, 'photos/0': 2, 'photos/1': 2}
    assert all(np.array_equal(panels(board.images[f'pairs/{index}', 1], 144)[1],
                              panels(board.images[f'photos/{index}', 1], 144)[1]) for index in (0, 1))


@pytest.mark.parametrize(('size', 'seen', 'shown', 'first'), [
    ((91, 66), (80, 64), (48, 48), (20, 8)), ((53, 200), (52, 80), (48, 48), (0, 76)),
    ((18, 7), (16, 4), (16, 4), (0, 0)), ((3, 2), (3, 2), (3, 2), (0, 0)),
])
def test_of_a_large_image_the_middle_is_shown_and_little_more_is_enlarged(size, seen, shown, first):
    sizes = []

    def nearest(image: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(image.shape[2:]))
        return image.repeat_interleave(4, 2).repeat_interleave(4, 3)

    lq = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    result = (nearest(lq)[0] * 255).round().byte().flip(0).permute(1, 2, 0).numpy()
    picture = Pictures(4, 14, nearest).picture('a', lq, {'img': result, 'img2': result})

    assert sizes[-1] == seen
    found = panels(picture, 4 * shown[1])
    (top, left), (height, width) = first, shown
    expected = result[4 * top:4 * (top + height), 4 * left:4 * (left + width)]
    assert all(np.array_equal(panel, expected) for panel in found[1:]) and len(found) == 4
    if min(size) > 3:  # bicubic's middle of each square is near its pixel
        assert np.corrcoef(found[0].ravel(), expected.ravel())[0, 1] > 0.8


def test_grey_results_are_shown():
    grey = np.full((8, 8), 100, np.uint8)
    picture = Pictures(4, 0, None).picture('a', torch.full((1, 1, 2, 2), 0.4), {'img': grey})
    assert [np.unique(panel).tolist() for panel in panels(picture, 8)] == [[102], [100]]


def test_captions_tell_the_panels_apart():
    one = side_by_side({name: np.zeros((8, 96, 3), np.uint8) for name in ('bicubic', 'teacher', 'ground truth')})
    captions = [one[:CAPTION, left:left + 100] for left in (0, 100, 200)]
    assert all(not np.array_equal(captions[index], captions[index - 1]) for index in range(3))


def test_tensorboard_has_them(opt, tmp_path):
    opt = without_teacher(opt)
    writer = SummaryWriter(str(tmp_path / 'tb'))
    start(opt).validation(loader(opt), 3, writer, False)
    writer.close()
    events = EventAccumulator(str(tmp_path / 'tb')).Reload()
    assert events.Tags()['images'] == ['pairs/0', 'pairs/1']
    event, = events.Images('pairs/1')
    picture = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert event.step == 3 and picture.shape == (CAPTION + 144, 3 * (GAP + 144), 3)
    truth = cv2.imread(str(Path(opt['datasets']['val']['dataroot_gt'], '1.png')))
    assert np.array_equal(picture[CAPTION:, -144:], truth)


def test_in_test_there_are_none(opt, teacher_file):
    opt = {key: value for key, value in opt.items() if key not in ('train', 'teacher')} | {'is_train': False}
    opt['path']['pretrain_network_g'] = str(teacher_file)
    opt['logger']['use_tb_logger'] = False
    board = Board()
    start(opt).validation(loader(opt), 'tiny', board, False)
    assert not board.images


def test_pictures_without_tensorboard_are_refused(opt):
    opt['logger']['use_tb_logger'] = False
    with pytest.raises(OptionsError, match='val.pictures: found 2, .* logger.use_tb_logger is not set; set it'):
        start(opt)
