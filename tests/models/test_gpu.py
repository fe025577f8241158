"""What only a GPU can show of a training: number formats, compilation, CUDA graphs, memory."""
import copy

import pytest
import torch
from helpers.models import start, train

from basicsr_kd.runs.out_of_memory import out_of_memory

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
