"""Pruning of FRNet: blocks of SRNet, channels of FNet."""
import copy
import math

import pytest
import torch
from helpers.networks import count, largest_difference, masked

from basicsr_kd.archs import FRNet
from basicsr_kd.distillation.inheritance import inherit
from basicsr_kd.pruning import PruningError, Request, check_prune, prune
from basicsr_kd.pruning.blocks import left_out
from basicsr_kd.pruning.reconstruction.reconstruct import last_steps, run_step
from basicsr_kd.pruning.sensitivity import scan

CLIPS = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net():
    net = FRNet(nf=8, nb=3).eval()
    with torch.no_grad():
        for parameter in net.srnet.parameters():  # every block matters
            parameter.uniform_(-0.2, 0.2)
    return net


@pytest.mark.parametrize('gone', [0, 1, 2])
@pytest.mark.parametrize('images', [CLIPS, CLIPS[:, 0]], ids=['clips', 'images'])
def test_a_block_whose_last_convolution_is_zero_goes_and_nothing_changes(net, gone, images):
    last = net.srnet.resblocks[gone].conv[2]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    report = prune(net, keep=2, layout='blocks', target='srnet', calibration=images)
    assert f'removed: srnet.resblocks.{gone}' in report.table()
    assert len(report.network.srnet.resblocks) == 2
    assert largest_difference(net, report.network, CLIPS) < 1e-6
    other = prune(net, keep=1, layout='blocks', calibration=images).network  # one that counts went too
    assert largest_difference(net, other, CLIPS) > 1e-3


def test_a_block_taken_out_is_the_block_with_a_zero_last_convolution(net):
    pruned = prune(net, keep=2, layout='blocks', target='srnet', select='last').network
    for parameter in net.srnet.resblocks[2].conv[2].parameters():
        torch.nn.init.zeros_(parameter)
    assert largest_difference(net, pruned, CLIPS) < 1e-6


@pytest.mark.parametrize(('keep', 'params'), [(9, 2_515_237), (5, 2_219_813), (1, 1_924_389)])
def test_the_papers_way_removes_the_last_blocks_of_the_real_network(keep, params):
    net = FRNet()
    report = prune(net, keep=keep, layout='blocks', target='srnet', select='last')
    assert count(report.network) == report.params_after == params
    assert torch.equal(report.network.srnet.resblocks[keep - 1].conv[2].weight,
                       net.srnet.resblocks[keep - 1].conv[2].weight)
    stages = {stage.name: stage for stage in report.stages}
    assert [name for name, stage in stages.items() if stage.new_name is None] == [
        f'srnet.resblocks.{block}' for block in range(keep, 10)]
    assert sum(stage.params_before for stage in stages.values()) == count(net)


@pytest.mark.parametrize('degradation', ['BD', 'BI'])
@pytest.mark.parametrize('layout', ['width', 'growth'])
def test_fnet_alone_loses_channels(degradation, layout):
    net = FRNet(nf=8, nb=2, degradation=degradation).eval()
    report = prune(net, ratio=0.5, layout=layout, target='fnet', round_to=4)
    assert count(report.network.fnet) == report.reached
    assert report.reached == pytest.approx(0.5 * count(net.fnet), rel=0.03)
    assert count(report.network.srnet) == count(net.srnet)
    assert report.skipped == {'fnet.flow.2': 'a warp reads them'}
    kept = {path: channels for path, channels in report.kept.items() if path.startswith('fnet.')}
    assert largest_difference(masked(net, kept), report.network, CLIPS) < 1e-5
    if layout == 'width':
        widths = {len(channels) for channels in kept.values()}
        assert max(widths) < 128 and widths > {32, 64}  # one width for those that were wider


@pytest.mark.parametrize('scale', [4, 2])
@pytest.mark.parametrize('degradation', ['BD', 'BI'])
def test_a_flow_stays_a_flow(degradation, scale):
    net = FRNet(nf=8, nb=2, degradation=degradation, scale=scale)
    report = prune(net, ratio=0.9, target='fnet.flow', round_to=1)
    assert report.network.fnet.flow[2].out_channels == 2
    assert 'left whole: fnet.flow.2 (a warp reads them)' in report.table()


def test_the_residual_stream_of_srnet_and_both_together(net):
    for layout in ('width', 'balanced'):
        report = prune(net, ratio=0.3, layout=layout, target='srnet', round_to=1)
        assert count(report.network.fnet) == count(net.fnet)
        assert report.network.srnet.resblocks[1].conv[2].out_channels < 8
        assert largest_difference(masked(net, report.kept), report.network, CLIPS) < 1e-5
    with pytest.raises(PruningError, match=r'fnet has no residual stream of its own.* growth .* or width \(all equal'):
        check_prune(net, Request(ratio=0.3, layout='balanced', target='fnet'))


def test_channels_of_fnet_that_nothing_reads_go_by_taylor_on_clips(net):
    with torch.no_grad():
        net.fnet.flow[0].weight[:, ::2] = 0  # half of what decoder3.2 writes
        net.fnet.flow[2].weight.mul_(10)
    report = prune(net, ratio=0.4, target='fnet.decoder3.2', round_to=1, calibration=CLIPS)
    assert set(range(1, 64, 2)) < set(report.kept['fnet.decoder3.2'])
    by_size = prune(net, ratio=0.4, target='fnet.decoder3.2', round_to=1)
    assert not set(range(1, 64, 2)) < set(by_size.kept['fnet.decoder3.2'])


@pytest.mark.parametrize('request_', [{'keep': 2, 'layout': 'blocks', 'target': 'srnet'},
                                      {'ratio': 0.3, 'target': 'fnet.decoder3', 'round_to': 1}], ids=['blocks', 'fnet'])
def test_what_stays_is_refitted_on_clips_and_the_stream_gains(net, request_):
    with torch.no_grad():
        net.fnet.flow[2].weight.mul_(10)
    clips = torch.rand(6, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    reports = [prune(net, **request_, calibration=clips[:4], reconstruct=refit) for refit in (False, True)]
    for seen in (clips[:4], clips[4:]):
        errors = [(report.network(seen) - net(seen)).square().mean().item() for report in reports]
        assert errors[1] < 0.8 * errors[0]
    assert any(note.startswith('refitted ') for note in reports[1].notes)


def test_the_last_step_of_a_clip_is_what_the_sequence_makes_last(net):
    steps = last_steps(net, CLIPS)
    assert torch.equal(steps[:, :3], CLIPS[:, -1]) and torch.equal(steps[:, 3:6], CLIPS[:, -2])
    torch.testing.assert_close(run_step(net, steps), net(CLIPS)[:, -1], rtol=0, atol=1e-6)


def test_blocks_that_stay_are_refitted_on_images(net):
    images = CLIPS.flatten(0, 1)
    plain, refitted = (prune(net, keep=2, layout='blocks', target='srnet', calibration=images, reconstruct=refit)
                       for refit in (False, True))
    errors = [(report.network(images) - net(images)).square().mean().item() for report in (plain, refitted)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize('images', [CLIPS, CLIPS[:, 0]], ids=['clips', 'images'])
def test_a_scan_names_the_parts_of_both_networks(net, images):
    whole, blocks = net(images), scan(net, images, layout='blocks')
    assert [cost.stage for cost in blocks] == [f'srnet.resblocks.{index}' for index in range(3)]
    assert all(cost.before == 2 * (8 * 8 * 9 + 8) for cost in blocks)
    for block, cost in enumerate(blocks):
        with left_out(net, [f'srnet.resblocks.{block}']), torch.no_grad():
            error = (net(images) - whole).square().mean().item()
        assert cost.psnr == pytest.approx(-10 * math.log10(error), abs=0.01)
    channels = {cost.stage: cost for cost in scan(net, images, round_to=4)}
    assert channels['srnet.conv_out'].reason and channels['fnet.flow.2'].reason == 'a warp reads them'
    assert channels['fnet.decoder1.2'].after == pytest.approx(0.7 * channels['fnet.decoder1.2'].before, rel=0.05)


def test_a_student_inherits_blocks_and_features(net):
    student = FRNet(nf=6, nb=2).eval()
    inherit(student, net)
    assert torch.equal(student.fnet.flow[0].weight, net.fnet.flow[0].weight)
    whole = copy.deepcopy(net)
    del whole.srnet.resblocks[0]  # of three: see `evenly`
    same_depth = FRNet(nf=8, nb=2).eval()
    inherit(same_depth, net)
    assert largest_difference(same_depth, whole, CLIPS) < 1e-6
