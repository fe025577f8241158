"""What only a GPU can show of a training: number formats, compilation, CUDA graphs, memory."""
from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import pytest
import torch
import torch.distributed as dist
from helpers.entry import stock_options, write_images, write_options
from helpers.models import start, train
from helpers.networks import TINY
from helpers.realesrgan import photo_options, train_on_photos, write_photos

from basicsr_kd.runs.distributed import leave_process_group
from basicsr_kd.runs.out_of_memory import out_of_memory
from basicsr_kd.utils.modes import full_fp32

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')]


@pytest.fixture
def gpu_opt(kd_opt):
    kd_opt['num_gpu'] = 1
    return kd_opt


def weights(model):
    return torch.cat([parameter.detach().flatten().cpu() for parameter in model.net_g.parameters()])


def steps_of(optimizer: torch.optim.Optimizer) -> int:
    """How many steps it has taken; fp16 leaves out those whose gradients its scale makes too large."""
    return int(next(iter(optimizer.state.values()))['step'])


@pytest.mark.parametrize('amp', ['bf16', 'fp16'])
def test_half_precision_trains_about_as_fp32(gpu_opt, amp):
    models = []
    for name in ('fp32', amp):
        gpu_opt['train']['amp'] = name
        torch.manual_seed(0)
        models.append(start(copy.deepcopy(gpu_opt)))
        # a scale that holds from the start
        models[-1].scaler = torch.amp.GradScaler('cuda', init_scale=2.0**8, enabled=name == 'fp16')
        train(models[-1], 1, 4)
        assert [steps_of(models[-1].optimizer_g), steps_of(models[-1].optimizer_d)] == [4, 4], name
    assert models[1].scaler.is_enabled() == (amp == 'fp16')
    expected, found = (model.get_current_log() for model in models)
    assert found['l_g_pix'] == pytest.approx(expected['l_g_pix'], rel=0.02)
    assert found['l_d_real'] == pytest.approx(expected['l_d_real'], rel=0.1)


@pytest.mark.parametrize('mode', ['default', 'reduce-overhead'])
def test_a_compiled_training_is_that_of_the_same_networks(gpu_opt, mode):
    models = []
    for compile_ in (False, {'mode': mode}):
        gpu_opt['train'].update(compile=compile_, channels_last=True)
        torch.manual_seed(0)
        models.append(start(copy.deepcopy(gpu_opt)))
        train(models[-1], 1, 3)
    expected, found = (model.get_current_log() for model in models)
    assert found == {name: pytest.approx(value, rel=0.02, abs=1e-4) for name, value in expected.items()}
    torch.testing.assert_close(weights(models[1]), weights(models[0]), rtol=0, atol=5e-3)


def test_the_error_of_a_full_gpu_names_levers():
    with pytest.raises(torch.cuda.OutOfMemoryError) as error:
        torch.empty(2**46, dtype=torch.uint8, device='cuda')
    assert 'amp' in out_of_memory(error.value)


def test_a_step_is_that_of_a_cpu(kd_opt):
    """In fp32 in full, without EMA and warm-up; the teacher too."""
    kd_opt['teacher']['amp'] = 'fp32'
    logs, learned = [], []
    for gpus in (0, 1):
        torch.manual_seed(0)
        model = start({**copy.deepcopy(kd_opt), 'num_gpu': gpus})
        with full_fp32():
            train(model, 1, 1)
        logs.append(dict(model.get_current_log()))
        learned.append(weights(model))
    assert logs[1] == {name: pytest.approx(value, rel=1e-3, abs=1e-5) for name, value in logs[0].items()}
    # Adam's first step is the learning rate whatever the gradient, so where that is about 0 its sign may differ
    assert ((learned[1] - learned[0]).abs() < 1e-5).float().mean() > 0.99


def one_process(rank: int, opt: dict[str, Any], folder: Path) -> None:
    backend = 'nccl' if opt['num_gpu'] else 'gloo'
    dist.init_process_group(backend, init_method=f'file://{folder}/meeting', rank=rank, world_size=1)
    logs = []
    for compiled in (False, True):
        torch.manual_seed(0)
        opt['train']['compile'] = compiled
        model = start({**opt, 'dist': True})
        train(model, 1, 2)
        logs.append(dict(model.get_current_log()))
    assert logs[1] == {name: pytest.approx(value, rel=0.02, abs=1e-4) for name, value in logs[0].items()}
    leave_process_group()


def test_a_process_of_nccl_compiles_a_student_of_6_mb_that_learns_by_layers(gpu_opt, tmp_path):
    gpu_opt['network_g'].update(num_feat=64, num_grow_ch=32, num_block=2)
    torch.multiprocessing.spawn(one_process, (gpu_opt, tmp_path), nprocs=1)


def test_real_esrgan_is_pruned_in_two_stages_and_its_jpeg_stays_on_the_gpu(prune_opt, tmp_path):
    photos = write_photos(tmp_path / 'photos')
    opt = photo_options({**prune_opt, 'num_gpu': 1}, photos, 'PruneRealESRGANModel')
    opt['prune'].update(importance='taylor', calibration={'num': 2, 'size': 16}, steps=2, every=1)
    model = start(opt)
    train_on_photos(model, 1, 3)
    assert all(torch.isfinite(torch.tensor(list(model.get_current_log().values()))))
    assert {table.device.type for table in model.degradation.jpeger.parameters()} == {model.device.type}


def test_two_epochs_under_torchrun_start_their_workers_once(tmp_path, teacher_file):
    write_images(tmp_path / 'data', count=4)
    options = stock_options('kd', tmp_path / 'data', iterations=80)  # of 40 images an epoch
    options.update(model_type='KDGANModel', num_gpu='auto', teacher={'path': str(teacher_file)},
                   network_g={**TINY, 'type': 'SlimRRDBNet', 'num_feat': 4})
    options['train']['distill_opt'] = {'type': 'FeatureDistillLoss'}
    options['datasets']['train']['num_worker_per_gpu'] = 2
    options['logger'].update(use_tb_logger=False, save_checkpoint_freq=80)
    options['val']['val_freq'] = 80
    path = write_options(tmp_path / 'kd.yml', options)
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=1', '-m', 'basicsr_kd.train', '-opt',
               str(path), '--launcher', 'pytorch']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'destroy_process_group' not in done.stderr  # nccl's warning at the end
    assert (tmp_path / 'experiments' / 'kd' / 'models' / 'net_g_80.pth').is_file()
