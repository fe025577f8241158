"""Building the terms of a distiller from the options of distillation losses."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from basicsr_kd.distillation.distiller import DistillTerm
from basicsr_kd.options.distill import AdaptedOptions, DiscriminatorOptions, DistillOptions, LayersOptions


def build_terms(section: Sequence[DistillOptions], discriminator: Callable[[], nn.Module],
                size: int) -> list[DistillTerm]:
    """Build the losses of a `distill_opt`.

    Args:
        section: As `basicsr_kd.options.distill.distill_terms` gives it.
        discriminator: Gives the teacher's discriminator, frozen, if a loss needs it; called at most once.
        size: Height and width of the images that the discriminator takes.

    Raises:
        LayerError: The discriminator does not have a layer.
    """
    terms, net_d = [], None
    for options in section:
        arguments = options.loss
        loss = LOSS_REGISTRY.get(arguments.pop('type'))(**arguments)
        if isinstance(options, DiscriminatorOptions):
            net_d = net_d or discriminator()
            loss.attach(net_d, (size, size))
        if isinstance(options, LayersOptions):
            fits = isinstance(options, AdaptedOptions) and options.adapter_init == 'fit'
            terms.append(DistillTerm(loss, options.layers, options.depth_match, fits))
        else:
            terms.append(DistillTerm(loss))
    return terms
