"""One distillation step of the real thing: the 23-block, 16.7 M teacher, pruned by 0.3, and a 16-feature student."""
from __future__ import annotations

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.models import start

PAIRS = ['conv_first', *(f'body.{block}' for block in range(23)), 'conv_body']


def test_a_step_of_the_papers_student(kd_opt, tmp_path):
    torch.save({'params': RRDBNet(3, 3).state_dict()}, tmp_path / 'ESRGAN_x4.pth')
    kd_opt['teacher'] = {'path': str(tmp_path / 'ESRGAN_x4.pth'), 'prune': {'ratio': 0.3}}
    kd_opt['network_g'] = {'type': 'SlimRRDBNet', 'num_feat': 16}
    kd_opt['network_d'] = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 64}
    model = start(kd_opt)
    teacher = sum(p.numel() for p in model.net_teacher.parameters())
    assert abs(teacher - 11_688_591) < 0.005 * 11_688_591
    assert sum(p.numel() for p in model.net_g.parameters()) == 6_538_115
    assert model.distiller.pairs == [[(name, name) for name in PAIRS]]
    before = [p.detach().clone() for p in model.net_g.parameters()]
    model.feed_data({'lq': torch.rand(1, 3, 32, 32), 'gt': torch.rand(1, 3, 128, 128)})
    model.optimize_parameters(1)
    assert all(torch.isfinite(torch.tensor(value)) for value in model.get_current_log().values())
    assert all(not torch.equal(old, new) for old, new in zip(before, model.net_g.parameters(), strict=True))
    assert all(p.grad is not None for p in model.distiller.adapters.parameters())
