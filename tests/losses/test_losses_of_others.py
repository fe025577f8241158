"""A distillation loss that somebody else registers."""
from __future__ import annotations

import pytest
from basicsr.utils.registry import LOSS_REGISTRY
from helpers.models import start, train

from basicsr_kd import options
from basicsr_kd.errors import OptionsError
from basicsr_kd.losses.distill_loss import DistillLoss


class Mine(DistillLoss):
    """The difference to some power, on features that adapters bring to the teacher's channels."""

    adapts = True

    def __init__(self, loss_weight: float = 1.0, power: float = 2) -> None:
        super().__init__(loss_weight)
        self.power = power

    def layer_loss(self, student, teacher):
        return (student - teacher).abs().pow(self.power).mean()


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(LOSS_REGISTRY._obj_map, 'Mine', Mine)


def test_it_trains(kd_opt):
    kd_opt['train']['distill_opt'] = [{'type': 'Mine', 'power': 1.5, 'adapter_lr': 1e-3, 'layers': ['conv_body']},
                                      {'type': 'ResponseDistillLoss'}]
    model = start(kd_opt)
    train(model, 1, 2)
    assert model.log_dict['l_g_distill_Mine'] > 0
    assert [p.shape[1] for p in model.distiller.adapter_parameters(0) if p.dim() == 4] == [4]  # of the student


def test_options_are_filled_in_and_checked(kd_opt):
    kd_opt['train']['distill_opt'] = {'type': 'Mine', 'power': 3}
    options.validate(kd_opt, True)
    assert kd_opt['train']['distill_opt'] == {
        'type': 'Mine', 'power': 3, 'loss_weight': 1.0, 'layers': None, 'depth_match': 'exact',
        'adapter_init': 'random', 'adapter_lr': None}
    kd_opt['train']['distill_opt'] = {'type': 'Mine', 'adapter_lr': -1}
    with pytest.raises(OptionsError, match=r'train.distill_opt.adapter_lr: found -1'):
        options.validate(kd_opt, True)


def test_its_arguments_may_have_any_name(kd_opt, monkeypatch):
    made = []

    class Named(Mine):
        """With the names that its options have for themselves."""

        def __init__(self, loss_weight: float = 1.0, kind: str = 'a', arguments: int = 0) -> None:
            super().__init__(loss_weight)
            made.append((kind, arguments))

    monkeypatch.setitem(LOSS_REGISTRY._obj_map, 'Named', Named)
    kd_opt['train']['distill_opt'] = {'type': 'Named', 'kind': 'b', 'arguments': 2}
    options.validate(kd_opt, True)
    assert kd_opt['train']['distill_opt']['kind'] == 'b' and kd_opt['train']['distill_opt']['arguments'] == 2
    start(kd_opt)
    assert set(made) == {('b', 2)}


def test_an_argument_that_it_does_not_take(kd_opt):
    kd_opt['train']['distill_opt'] = {'type': 'Mine', 'powre': 3}
    with pytest.raises(OptionsError, match=r"train.distill_opt.powre: unknown argument of Mine; did you mean 'power'"):
        start(kd_opt)


def test_a_loss_on_another_base_is_none(kd_opt):
    kd_opt['train']['distill_opt'] = {'type': 'L1Loss'}
    with pytest.raises(OptionsError, match=r"train.distill_opt.type: found 'L1Loss'. Possible: FeatureDistillLoss"):
        options.validate(kd_opt, True)
