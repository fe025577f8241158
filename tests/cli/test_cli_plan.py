"""`basicsr-kd plan`: which way of pruning suits a budget."""
import json
import re
import shlex

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.networks import count, varied_rrdbnet
from torch.utils.flop_counter import FlopCounterMode

from basicsr_kd.archs import FRNet
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.errors import PruningError
from basicsr_kd.metrics import timing
from basicsr_kd.pruning.planning import plan as plan_module
from basicsr_kd.pruning.planning.candidates import find_candidates, read_budget
from basicsr_kd.pruning.planning.plan import front
from basicsr_kd.pruning.planning.planner import Found, Planner


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder with images and a small RRDBNet, in PyTorch: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(plan_module, 'REFITTED', 2)  # it takes most of the time
    write_checkpoint(tmp_path / 'net.pth', varied_rrdbnet(num_feat=16, num_block=4, num_grow_ch=8).state_dict())
    (tmp_path / 'lr').mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        cv2.imwrite(f'lr/{index}.png', rng.integers(0, 256, (32, 32, 3), np.uint8))

    def run(*args, weights='net.pth'):
        try:
            status = main(['plan', '--weights', weights, '--calibration', 'lr', '--calibration-size', '32', '--runtime',
                           'torch', '--size', '16', '--round-to', '4', *map(str, args)])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capsys.readouterr()

    return run


def test_a_plan_and_what_it_says_to_do(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, 'REFITTED', 5)
    status, output, errors = tool('--budget', 'params=0.7', '--out', 'plan')
    assert status == 0, errors
    assert re.search(r'^8 ways of pruning; about \d+ minutes?\. Times: torch', errors, re.M)
    kept = json.loads((tmp_path / 'plan' / 'plan.json').read_text())['found']
    assert 3 <= len(kept) <= 5 and all(0.5 < one['params'] < 0.7 * 1.05 for one in kept)
    assert (tmp_path / 'plan' / 'plan.png').stat().st_size > 1000
    assert (tmp_path / 'plan' / 'plan.md').read_text() in output
    best = max(kept, key=lambda one: one['scores']['psnr'])
    assert f'The best, with gradient steps ({best["name"]}):' in output
    assert 'blocks: its steps leave 76 % of params, more than the budget' in output

    commands = re.findall(r'^basicsr-kd (prune .*)$', output, re.M)
    assert len(commands) == len(best['steps'])
    for command in commands:  # they run, and give what was planned
        words = shlex.split(command)
        words[words.index('--minutes') + 1] = '0'
        assert main(words) == 0
    share = count(build_from_file('net_pruned.pth')) / count(build_from_file('net.pth'))
    assert share == pytest.approx(best['params'], abs=0.02)
    section = yaml.safe_load(output[output.index('prune:'):].split('\n\n')[0])['prune']
    assert section['reconstruct'] is True if isinstance(section, dict) else section[-1]['reconstruct'] is True

    monkeypatch.setattr(Planner, 'measure', lambda *args: pytest.fail('measured again'))
    status, again, _ = tool('--budget', 'params=0.7', '--out', 'plan')  # goes on from what is kept
    assert status == 0 and again.endswith(output)


def test_time_for_files_that_other_programs_open(tool, tmp_path, monkeypatch):
    def work(call):
        with FlopCounterMode(display=False) as counter:
            call()
        return counter.get_total_flops() / 1e9

    monkeypatch.setattr(timing, '_seconds', work)  # a clock that no other program disturbs
    status, output, errors = tool('--budget', 'latency=0.8', '--opens', 'spandrel', '--out', 'plan')
    assert status == 0, errors
    kept = json.loads((tmp_path / 'plan' / 'plan.json').read_text())['found']
    assert kept and all(one['plain'] for one in kept)
    assert all('PrunedRRDBNet' not in line for line in output.splitlines())
    assert 'growth, obs: its widths are unequal, which only this package builds' in output
    assert all(one['time'] < 0.8 * 1.05 for one in kept)


def test_other_networks(tool, tmp_path):
    torch.manual_seed(0)
    write_checkpoint(tmp_path / 'chain.pth', SRVGGNetCompact(3, 3, 16, 4, upscale=2).state_dict())
    status, output, errors = tool('--budget', 'macs=0.8', '--out', 'plan', weights='chain.pth')
    assert status == 0, errors
    assert 'balanced, taylor: SRVGGNetCompact has no residual stream' in output
    assert 'growth, taylor' in output


@pytest.mark.parametrize(('args', 'words'), [
    (('--budget', 'time=0.5'), "budget 'time=0.5'. Expected what is to be left: latency=0.5"),
    (('--budget', 'latency=3'), 'Expected what is to be left'),
    (('--budget', 'size=3M'), 'size=30MB'),
    (('--budget', 'size=300MB'), 'nothing has to go'),
    (('--budget', 'params=0.0001'), 'no way of pruning reaches the budget'),
    (('--budget', 'params=0.5', '--dtype', 'fp16'), 'dtype is fp16, and torch on this cpu'),
])
def test_refusals(tool, args, words):
    status, output, errors = tool(*args, '--out', 'plan')
    assert (status, output) == (2, '') and words in errors.splitlines()[-1]


def test_networks_that_start_with_a_pixel_unshuffle_and_such_as_need_arch(tool, tmp_path):
    write_checkpoint(tmp_path / 'x2.pth', varied_rrdbnet(num_feat=16, num_block=2, num_grow_ch=8, scale=2).state_dict())
    assert tool('--budget', 'params=0.8', '--out', 'x2', weights='x2.pth')[0] == 0
    write_checkpoint(tmp_path / 'edsr.pth', EDSR(3, 3, 16, 2, upscale=2).state_dict())
    arch = '{type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: 16, num_block: 2, upscale: 2}'
    status, output, errors = tool('--budget', 'params=0.8', '--out', 'edsr', '--arch', arch, weights='edsr.pth')
    assert status == 0, errors
    assert f"--arch '{arch}'" in output and '--calibration-size 32' in output


def test_other_widths_are_another_plan(tool, tmp_path):
    write_checkpoint(tmp_path / 'chain.pth', SRVGGNetCompact(3, 3, 16, 4, upscale=2).state_dict())
    assert tool('--budget', 'params=0.7', '--out', 'plan', weights='chain.pth')[0] == 0
    first = (tmp_path / 'plan' / 'plan.json').read_text()
    assert tool('--budget', 'params=0.7', '--out', 'plan', '--round-to', 8, weights='chain.pth')[0] == 0
    assert json.loads((tmp_path / 'plan' / 'plan.json').read_text())['of'] != json.loads(first)['of']


def test_clips_are_refused(tool, tmp_path):
    write_checkpoint(tmp_path / 'frnet.pth', FRNet(nf=8, nb=1).state_dict())
    status, output, errors = tool('--budget', 'params=0.7', '--out', 'plan', weights='frnet.pth')
    assert (status, output) == (2, '') and 'plans are made for networks of single images' in errors


def test_budgets():
    def read(text):
        budget = read_budget(text, params=1_000_000, macs=10**9)
        return budget.of, budget.share

    assert read('params=0.3') == ('params', 0.3)
    assert read('params=250k') == ('params', 0.25)
    assert read('macs=0.2G') == ('macs', 0.2)
    assert read('size=1MB') == ('params', 0.25)
    assert read('latency=0.5') == ('latency', 0.5)
    with pytest.raises(PruningError):
        read('params=0.5.5')


def test_which_ways():
    assert len({one.name for one in find_candidates(varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=4))}) == 8


def test_the_front():
    def found(name, time, psnr):
        return Found(name, [], 1, 1, time, 0, {'psnr': psnr}, 0, False)

    ones = [found('near', 0.6, 40), found('fast', 0.4, 30), found('neither', 0.7, 35)]
    assert [one.name for one in front(ones)] == ['near', 'fast']
