"""Compiled training: the same results and files, nothing compiled in validation, and machines that cannot."""
from __future__ import annotations

import copy
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from helpers.models import same, start, train, weights
from helpers.validation import loader
from helpers.video import train as train_on_clips
from helpers.warm import run_processes
from torch import nn
from torch._dynamo.utils import counters

from basicsr_kd.archs import SlimRRDBNet
from basicsr_kd.errors import OptionsError
from basicsr_kd.models.training.acceleration import compile_in_place
from basicsr_kd.options import validate
from basicsr_kd.preflight.devices import check_compiler
from basicsr_kd.runs.distributed import leave_process_group

COMPILE = nn.Module.compile


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Graphs are found and guarded but run as they are, as code takes most of the time. Gives the modes asked for."""
    modes: list[str] = []
    compile_module = nn.Module.compile

    def compile_less(net: nn.Module, mode: str) -> None:
        modes.append(mode)
        compile_module(net, backend='eager')

    monkeypatch.setattr(nn.Module, 'compile', compile_less)
    monkeypatch.setattr('basicsr_kd.preflight.devices.check_compiler', lambda device: None)
    torch._dynamo.reset()
    counters.clear()
    return modes


def both_logs(opt: dict[str, Any], train: Any, iterations: int) -> tuple[Any, list[dict[str, float]]]:
    """The compiled model, and the last losses without and with compilation."""
    logs = []
    for compiled in (False, True):
        torch.manual_seed(3)
        again = copy.deepcopy(opt)
        again['train']['compile'] = compiled
        model = start(again)
        train(model, 1, iterations)
        logs.append(model.get_current_log())
    return model, logs


def test_losses_and_names_stay(kd_opt, traced, tmp_path):
    model, logs = both_logs(kd_opt, train, 3)
    assert logs[1] == {name: pytest.approx(value, rel=1e-3, abs=1e-5) for name, value in logs[0].items()}
    assert len(traced) == 3 and not counters['graph_break']  # student, teacher, discriminator
    model.save(0, 1)
    for label, net in (('net_g', model.net_g), ('net_d', model.net_d)):
        saved = torch.load(tmp_path / 'run' / 'models' / f'{label}_1.pth', weights_only=True)
        assert same(saved['params'], weights(net)) and not any('_orig_mod' in name for name in saved['params'])


def test_validation_compiles_nothing(kd_opt, traced):
    kd_opt['train'].update(ema_decay=0, compile=True)
    model = start(kd_opt)
    train(model, 1, 1)
    compiled = counters['stats']['unique_graphs']
    assert compiled > 2
    model.validation(loader(kd_opt), 1, None, False)
    assert counters['stats']['unique_graphs'] == compiled and model.metric_results
    train(model, 2, 3)
    assert counters['stats']['unique_graphs'] == compiled


def test_clips(teco_opt, traced):
    model, logs = both_logs(teco_opt, train_on_clips, 2)
    assert logs[1] == {name: pytest.approx(value, rel=1e-3, abs=1e-5) for name, value in logs[0].items()}
    assert len(traced) == 2


def test_a_network_that_is_pruned_further_is_compiled_anew(prune_opt, traced):
    prune_opt['prune'] = {'ratio': 0.5, 'round_to': 1, 'importance': 'l2', 'steps': 2, 'every': 1}
    _, logs = both_logs(prune_opt, train, 2)
    assert logs[1] == {name: pytest.approx(value, rel=1e-2, abs=1e-4) for name, value in logs[0].items()}
    assert len(traced) == 3  # generator, discriminator, generator


@torch._dynamo.config.patch(recompile_limit=3, fail_on_recompile_limit_hit=True)
def test_no_stage_of_gradual_pruning_runs_eager(prune_opt, traced):
    """PyTorch counts the graphs of all networks with the same code, and by default runs a ninth one as it is."""
    prune_opt['prune'] = {'ratio': 0.5, 'round_to': 1, 'importance': 'random', 'steps': 6, 'every': 1}
    prune_opt['train'].update(compile=True, total_iter=6)
    prune_opt['train'].pop('gan_opt')
    train(start(prune_opt), 1, 6)
    assert len(traced) == 6


def test_the_discriminator_is_kept_out_of_cuda_graphs(kd_opt, traced):
    """Its second pass would overwrite what the first has kept for the backward pass, which comes twice."""
    for mode, expected in (('reduce-overhead', 'default'), ('max-autotune', 'max-autotune-no-cudagraphs')):
        kd_opt['train']['compile'] = {'mode': mode}
        traced.clear()
        start(kd_opt)
        assert traced == [mode, mode, expected]  # teacher, student, discriminator


@pytest.mark.skipif(shutil.which('g++') is None, reason='needs a C++ compiler')
def test_generated_code_takes_two_passes_and_two_backward_passes():
    """Those of a discriminator, whose graph the generator's gradient has gone through before its own."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.2))
    plain = copy.deepcopy(net)
    compile_in_place(net, 'default', repeats=True)
    found = []
    for one in (plain, net):
        torch.manual_seed(1)
        image, gt = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8)
        real, fake = one(gt), one(image)
        (wanted,) = torch.autograd.grad(fake.sigmoid().sum(), image, retain_graph=True)
        (real.square().mean() + fake.sigmoid().mean()).backward()
        found.append([wanted, *(parameter.grad for parameter in one.parameters())])
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(weights(net), weights(plain))  # BatchNorm's statistics too


def test_a_machine_without_a_compiler_is_told():
    code = ('from basicsr_kd.preflight.devices import check_compiler\n'
            'from basicsr_kd.options.convert import OptionsError\n'
            "try:\n    check_compiler('cpu')\nexcept OptionsError as error:\n    print(error)")
    found = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'CXX': 'no-such-compiler', 'PATH': ''},
                           capture_output=True, text=True, check=True)
    (line,) = found.stdout.splitlines()
    assert line.startswith('train.compile: PyTorch cannot compile on this machine (')
    assert 'install a C++ compiler' in line and line.endswith('or use compile: false')


def one_compiled_process(rank: int, opt: dict[str, Any], folder: Path) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=1)
    torch._dynamo.reset()
    nn.Module.compile = functools.partialmethod(COMPILE, backend='aot_eager')  # its graphs, without generated code
    logs = []
    for compiled in (False, True):
        torch.manual_seed(3)
        opt['train']['compile'] = compiled
        model = start({**opt, 'dist': True})
        train(model, 1, 2)
        logs.append(dict(model.get_current_log()))
    assert logs[1] == {name: pytest.approx(value, rel=1e-3, abs=1e-5) for name, value in logs[0].items()}
    leave_process_group()


def test_a_student_of_more_than_a_bucket_of_ddp_learns_by_layers(kd_opt, tmp_path):
    """Of DDP's first bucket of 1 MB, at whose end its compiler splits the graph of the student."""
    kd_opt['network_g'].update(num_feat=64, num_grow_ch=32, num_block=1)
    kd_opt['train'].pop('gan_opt')
    assert sum(weight.numel() for weight in SlimRRDBNet(num_feat=64, num_block=1).parameters()) > 2**18
    run_processes(one_compiled_process, (kd_opt, tmp_path), 1)


def test_an_old_pytorch_is_told(monkeypatch):
    monkeypatch.delattr(torch.compiler, 'set_stance')
    with pytest.raises(OptionsError, match='train.compile: needs PyTorch 2.6 or later'):
        check_compiler('cpu')


def test_an_unknown_mode_is_told(kd_opt):
    kd_opt['train']['compile'] = {'mode': 'fast'}
    with pytest.raises(OptionsError, match="train.compile.mode: found 'fast'. Possible: default, reduce-overhead"):
        validate(kd_opt, is_train=True)
