"""Layer names, taps, adapters and the distiller that joins them."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from torch import nn
from torch.utils.checkpoint import checkpoint

from basicsr_kd.distillation.distiller import Distiller, DistillTerm
from basicsr_kd.distillation.layers import evenly, match_layers, pair_layers
from basicsr_kd.distillation.taps import FeatureTaps
from basicsr_kd.errors import LayerError, TapError
from basicsr_kd.losses import FeatureDistillLoss, ResponseDistillLoss

IMAGE = torch.rand(2, 3, 8, 8)


def rrdb(feat: int = 8, blocks: int = 3) -> RRDBNet:
    return RRDBNet(3, 3, num_feat=feat, num_block=blocks, num_grow_ch=4)


def test_one_star_stays_within_a_level():
    assert match_layers('body.*', rrdb()) == ['body.0', 'body.1', 'body.2']
    assert match_layers('body.*.rdb1', rrdb()) == ['body.0.rdb1', 'body.1.rdb1', 'body.2.rdb1']


def test_two_stars_cross_levels():
    assert match_layers('**.conv5', rrdb()) == [f'body.{b}.rdb{d}.conv5' for b in range(3) for d in (1, 2, 3)]


def test_a_dot_is_a_dot():
    with pytest.raises(LayerError):
        match_layers('body?0', rrdb())


def test_a_name_that_matches_nothing_is_told_with_the_closest():
    with pytest.raises(LayerError, match=r"'conv_fist' matches no module of the student \(RRDBNet\).*conv_first"):
        match_layers('conv_fist', rrdb(), 'student')


def test_a_list_means_the_same_modules_in_both():
    assert pair_layers(['conv_first', 'body.*'], rrdb(4), rrdb(8)) == [
        (name, name) for name in ('conv_first', 'body.0', 'body.1', 'body.2')]


def test_a_glob_over_different_depths_asks_for_pairs():
    with pytest.raises(LayerError, match='matches 2 modules of the student .* matches 3 of the teacher'):
        pair_layers(['body.*'], rrdb(blocks=2), rrdb(blocks=3))


def test_a_mapping_pairs_different_names():
    pairs = pair_layers({'body.0': 'body.2', 'conv_*': 'conv_*'}, rrdb(blocks=1), rrdb(blocks=3))
    assert pairs[0] == ('body.0', 'body.2') and ('conv_body', 'conv_body') in pairs


def test_taps_give_what_the_modules_gave():
    net = rrdb()
    taps = FeatureTaps(net, ['conv_first', 'body.1'])
    with taps:
        net(IMAGE)
    features = taps.take()
    first = net.conv_first(IMAGE)
    assert torch.equal(features['conv_first'], first)
    assert torch.equal(features['body.1'], net.body[1](net.body[0](first)))


def test_taps_keep_nothing_outside_their_context():
    net = rrdb()
    taps = FeatureTaps(net, ['conv_first'])
    net(IMAGE)
    with pytest.raises(TapError, match='conv_first of RRDBNet did not run'):
        taps.take()


def test_a_feature_overwritten_in_place_is_cloned_after_the_probe():
    net = MSRResNet(3, 3, num_feat=4, num_block=1, upscale=4)  # an in-place activation follows conv_first
    taps = FeatureTaps(net, ['conv_first'])
    with taps:
        net(IMAGE)
    with pytest.raises(TapError, match='overwritten'):
        taps.take()
    taps.probe(IMAGE)
    with taps:
        net(IMAGE)
    assert torch.equal(taps.take()['conv_first'], net.conv_first(IMAGE))


def test_a_module_that_runs_twice_is_refused():
    net = rrdb()
    with pytest.raises(TapError, match='lrelu of RRDBNet runs more than once'):
        FeatureTaps(net, ['lrelu']).probe(IMAGE)


def test_a_module_without_a_feature_map_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    with pytest.raises(TapError, match=r'expected a tensor \(n, c, h, w\)'):
        FeatureTaps(net, ['1']).probe(IMAGE)


def test_probing_works_on_the_meta_device():
    with torch.device('meta'):
        net = rrdb()
    assert FeatureTaps(net, ['body.0']).probe(IMAGE.to('meta')) == {'body.0': (2, 8, 8, 8)}


def distilled(layers) -> tuple[RRDBNet, RRDBNet, Distiller]:
    student, teacher = rrdb(4), rrdb(8).requires_grad_(False)
    return student, teacher, Distiller(student, teacher, [DistillTerm(FeatureDistillLoss(), layers)], IMAGE)


def run(student, teacher, distiller) -> list[torch.Tensor]:
    with torch.no_grad(), distiller.teacher:
        teacher(IMAGE)
    with distiller.student:
        student(IMAGE)
    return distiller.loss_terms()


def test_the_loss_is_that_of_adapted_features():
    student, teacher, distiller = distilled(['conv_first', 'body.2'])
    (loss,) = run(student, teacher, distiller)
    by_hand = 0.0
    features = [(student.conv_first(IMAGE), teacher.conv_first(IMAGE))]
    features.append((student.body(features[0][0]), teacher.body(features[0][1])))
    for name, (s, t) in zip(('conv_first', 'body.2'), features, strict=True):
        by_hand += (distiller.adapters.of(f'0.{name}')(s) - t).square().mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_student_and_adapters_get_a_gradient_and_the_teacher_none():
    student, teacher, distiller = distilled(['conv_first', 'body.*', 'conv_body'])
    sum(run(student, teacher, distiller)).backward()
    assert all(p.grad is not None for p in distiller.adapters.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    reached = {name.split('.')[0] for name, p in student.named_parameters() if p.grad is not None}
    assert reached == {'conv_first', 'body', 'conv_body'}


def test_adapters_have_the_teachers_channels():
    _, _, distiller = distilled(['body.0'])
    adapter = distiller.adapters.of('0.body.0')
    assert (adapter.in_channels, adapter.out_channels, adapter.kernel_size) == (4, 8, (1, 1))


def test_each_term_has_adapters_of_its_own():
    student, teacher = rrdb(4), rrdb(8)
    terms = [DistillTerm(FeatureDistillLoss(), ['body.0']), DistillTerm(FeatureDistillLoss('l1'), ['body.0', 'body.1'])]
    distiller = Distiller(student, teacher, terms, IMAGE)
    assert [len(distiller.adapter_parameters(term)) for term in (0, 1)] == [2, 4]
    assert len(run(student, teacher, distiller)) == 2


def test_probing_leaves_batchnorm_and_the_mode_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    FeatureTaps(net, ['0']).probe(IMAGE)
    assert net.training and net[1].num_batches_tracked == 0
    net[1].eval()  # frozen
    FeatureTaps(net, ['0']).probe(IMAGE)
    with pytest.raises(RuntimeError, match='channels'):
        FeatureTaps(net, ['0']).probe(IMAGE.repeat(1, 2, 1, 1))
    assert [module.training for module in net.modules()] == [True, True, False]


def test_a_student_layer_has_one_partner():
    with pytest.raises(LayerError, match="'body.0' of the student is paired more than once"):
        pair_layers({'body.0': 'body.1', 'body.*': 'body.*'}, rrdb(), rrdb())


def test_maps_of_different_size_are_told_with_both_sizes():
    student, teacher = MSRResNet(3, 3, num_feat=4, num_block=1, upscale=3), rrdb(8)
    term = DistillTerm(FeatureDistillLoss(), {'conv_hr': 'conv_up1'})
    with pytest.raises(LayerError, match='conv_hr.*conv_up1.*24x24 and 16x16'):
        Distiller(student, teacher, [term], IMAGE)


def test_networks_of_different_families_can_be_paired():
    student, teacher = EDSR(3, 3, num_feat=4, num_block=2, upscale=4), rrdb(8)
    term = DistillTerm(FeatureDistillLoss(), {'conv_after_body': 'conv_body'})
    distiller = Distiller(student, teacher, [term], IMAGE)
    assert run(student, teacher, distiller)[0].item() > 0


def test_output_of_the_network_is_a_layer_of_its_own():
    student, teacher = rrdb(4), rrdb(8)
    distiller = Distiller(student, teacher, [DistillTerm(ResponseDistillLoss())], IMAGE)
    assert not distiller.has_adapters and distiller.adapter_parameters(0) == []
    with torch.no_grad(), distiller.teacher:
        wanted = teacher(IMAGE)
    with distiller.student:
        output = student(IMAGE)
    (loss,) = distiller.loss_terms()
    torch.testing.assert_close(loss, (output - wanted).abs().mean())


def test_outputs_of_another_size_are_told():
    with pytest.raises(LayerError, match='the student at its output and of the teacher at its output differ in size'):
        Distiller(RRDBNet(3, 3, scale=2, num_feat=4, num_block=1, num_grow_ch=4), rrdb(),
                  [DistillTerm(ResponseDistillLoss())], IMAGE)


@pytest.mark.parametrize(('few', 'many', 'expected'), [
    (6, 23, [3, 7, 11, 14, 18, 22]), (3, 5, [1, 2, 4]), (1, 4, [3]), (2, 2, [0, 1]), (3, 4, [0, 2, 3])])
def test_blocks_at_even_distances_end_where_the_same_share_of_the_depth_ends(few, many, expected):
    assert evenly(few, many) == expected


def test_even_depth_pairs_the_block_of_a_shallow_student_with_those_of_a_deep_teacher():
    student, teacher = rrdb(blocks=2), rrdb(blocks=5)
    assert pair_layers(['conv_first', 'body.*'], student, teacher, 'even') == [
        ('conv_first', 'conv_first'), ('body.0', 'body.2'), ('body.1', 'body.4')]
    assert pair_layers({'body.*': 'body.*'}, student, teacher, 'even') == [('body.0', 'body.2'), ('body.1', 'body.4')]
    with pytest.raises(LayerError, match="'body.0' of the student is paired more than once"):
        pair_layers(['body.*', 'body.0'], student, teacher, 'even')
    with pytest.raises(LayerError, match='matches 5 modules of the student .* 2 of the teacher'):
        pair_layers(['body.*'], teacher, student, 'even')


@pytest.mark.parametrize('use_reentrant', [False, True])
def test_features_inside_gradient_checkpointing(use_reentrant):
    """Without reentry they have their gradient, and the run that backward repeats is not recorded; with it not."""
    class Checkpointed(RRDBNet):
        def forward(self, x):
            return checkpoint(super().forward, x.requires_grad_(), use_reentrant=use_reentrant)

    torch.manual_seed(0)
    teacher = rrdb()
    plain = rrdb(4)
    student = Checkpointed(3, 3, num_feat=4, num_block=3, num_grow_ch=4)
    student.load_state_dict(plain.state_dict())
    gradients = []
    for net in (plain, student):
        torch.manual_seed(1)
        distiller = Distiller(net, teacher, [DistillTerm(FeatureDistillLoss(), ['body.*'])], IMAGE.clone())
        with torch.no_grad(), distiller.teacher:
            teacher(IMAGE)
        with distiller.student:
            output = net(IMAGE.clone())
        if net is student and use_reentrant:
            with pytest.raises(TapError, match='body.0 carries no gradient.*use_reentrant=False'):
                distiller.loss_terms()
            return
        (distiller.loss_terms()[0] + output.mean()).backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


def test_fitted_adapters_start_as_the_least_squares_map():
    torch.manual_seed(0)
    student, teacher = rrdb(4), rrdb(8)
    image = torch.rand(4, 3, 16, 16)
    losses = {}
    for fits in (False, True):
        term = DistillTerm(FeatureDistillLoss(), ['body.*'], fit_adapters=fits)
        distiller = Distiller(student, teacher, [term], image)
        with torch.no_grad(), distiller.teacher:
            teacher(image)
        with distiller.student:
            student(image)
        losses[fits] = distiller.loss_terms()[0].item()
    features = []
    for net in (student, teacher):
        taps = FeatureTaps(net, ['body.0'])
        with torch.no_grad(), taps:
            net(image)
        features.append(taps.take()['body.0'].movedim(1, -1).flatten(0, -2).double().numpy())
    inputs = np.c_[features[0], np.ones(len(features[0]))]
    solution = np.linalg.lstsq(inputs, features[1], rcond=None)[0]
    conv = distiller.adapters.of('0.body.0')
    found = inputs @ np.r_[conv.weight.detach().numpy()[:, :, 0, 0].T, conv.bias.detach().numpy()[None]]
    best, ours = (((out - features[1])**2).mean() for out in (inputs @ solution, found))
    assert ours == pytest.approx(best, rel=1e-2) and losses[True] < 0.2 * losses[False]
    assert not distiller.to_fit
