"""The YAML sections of distillation: `teacher:`, `student:`, `train.distill_opt` and its schedule. No torch here."""
from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.options.convert import Section, convert
from basicsr_kd.options.our_models import bases_of
from basicsr_kd.options.prune import CalibrationOptions, PruneOptions

Criterion = Literal['l1', 'l2', 'charbonnier']
_NOT_EMPTY = msgspec.Meta(min_length=1)
_BASE = 'basicsr_kd.losses.distill_loss.DistillLoss'
_NOT_THE_LOSS = ('layers', 'depth_match', 'adapter_init', 'adapter_lr')  # where and how it is applied: the distiller's


class TeacherOptions(Section):
    """Where the frozen teacher comes from."""
    path: str  # its file
    network: dict[str, Any] | None = None  # default: read off the file
    param_key: str | None = None  # which of the weights of that file
    amp: Literal['bf16', 'fp16', 'fp32'] = 'bf16'  # of its forward pass; its features are compared in fp32
    prune: PruneOptions | list[PruneOptions] | None = None  # what is taken away of it first
    cache: Literal['outputs'] | None = None  # its outputs for whole images are made once; no forward pass in a step
    cache_path: str | None = None  # folder for them; default: the user's cache folder
    cache_border: Annotated[int, msgspec.Meta(ge=0)] = 8  # low-resolution pixels at a crop's edge without such a loss


class StudentOptions(Section):
    """How the student starts; all but `init` say how it inherits."""
    init: Literal['random', 'teacher'] = 'random'  # random, or the most important channels of the teacher
    importance: Literal['taylor', 'l2'] = 'taylor'  # how channels are chosen: by calibration images or by weights
    reconstruct: bool = False  # whether layers are refitted on calibration images
    calibration: CalibrationOptions = msgspec.field(default_factory=CalibrationOptions)  # the images

    @property
    def why_images(self) -> str:
        """Why calibration images are needed, '' where they are not."""
        if self.init == 'random':
            return ''
        return 'reconstruct: true' if self.reconstruct else 'importance: taylor' if self.importance == 'taylor' else ''


class ScheduleOptions(Section):
    """A factor on all distillation terms: up to 1 over `warmup_iter`, then from 1 to `end` at `train.total_iter`."""
    type: Literal['constant', 'linear', 'cosine'] = 'constant'  # how the factor goes down
    warmup_iter: Annotated[int, msgspec.Meta(ge=0)] = 0  # iterations in which it rises
    end: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # what it is at the end

    def factor(self, current_iter: int, total_iter: int) -> float:
        """The factor at an iteration, 1 … `total_iter`."""
        if current_iter < self.warmup_iter:
            return current_iter / self.warmup_iter
        if self.type == 'constant':
            return 1.0
        done = min((current_iter - self.warmup_iter) / max(total_iter - self.warmup_iter, 1), 1.0)
        left = 1 - done if self.type == 'linear' else (1 + math.cos(math.pi * done)) / 2
        return self.end + (1 - self.end) * left


class DistillOptions(Section):
    """One distillation loss, without `layers` where it compares the networks' outputs."""
    loss_weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0  # factor on the loss

    @property
    def loss(self) -> dict[str, Any]:
        """The type and the loss's own arguments, as BasicSR writes losses."""
        own = {name: value for name, value in msgspec.structs.asdict(self).items() if name not in _NOT_THE_LOSS}
        kind, arguments = own.pop('kind', type(self).__struct_config__.tag), own.pop('arguments', {})
        return {'type': kind, **own, **arguments}


class LayersOptions(DistillOptions):
    """A loss on feature maps."""
    # default: see distillation.layers.default_pairs
    layers: Annotated[list[str], _NOT_EMPTY] | Annotated[dict[str, str], _NOT_EMPTY] | None = None
    depth_match: Literal['exact', 'even'] = 'exact'  # of named layers


class AdaptedOptions(LayersOptions):
    """A loss on feature maps that the student's adapters bring to the teacher's channels."""
    adapter_init: Literal['random', 'fit'] = 'random'  # fit: the least-squares map of the first batch's features
    adapter_lr: Annotated[float, msgspec.Meta(gt=0)] | None = None  # default: the learning rate of optim_g


class FeatureOptions(AdaptedOptions, tag_field='type', tag='FeatureDistillLoss'):
    """The paper's loss."""
    criterion: Criterion = 'l2'  # how features are compared
    reduction: Literal['mean', 'norm'] = 'mean'  # mean over elements, or norm of the difference
    normalize: bool = False  # whether each layer is divided by the scale of the teacher's features


class ResponseOptions(DistillOptions, tag_field='type', tag='ResponseDistillLoss'):
    """The outputs."""
    criterion: Criterion = 'l1'  # how outputs are compared
    # how many times as strong the teacher's fine detail is made first; an error alone makes a student soft
    detail: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0


class AttentionOptions(LayersOptions, tag_field='type', tag='AttentionTransferLoss'):
    """Where the features are strong."""


class AffinityOptions(LayersOptions, tag_field='type', tag='FeatureAffinityLoss'):
    """Which positions have similar features."""


class DiscriminatorOptions(AdaptedOptions, tag_field='type', tag='DiscriminatorFeatureLoss'):
    """What the teacher's discriminator makes of the features."""
    discriminator_layers: Annotated[list[str], _NOT_EMPTY] | None = None  # default: by the discriminator's type
    criterion: Criterion = 'l1'  # how features are compared


class OutputsOfOthers(DistillOptions, kw_only=True):
    """A loss of somebody else, on top of `basicsr_kd.losses.distill_loss.DistillLoss`, on the outputs."""
    kind: str  # filled in: the type
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)  # its own


class LayersOfOthers(LayersOptions, kw_only=True):
    """The same on feature maps."""
    kind: str  # filled in: the type
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)  # its own


class AdaptedOfOthers(AdaptedOptions, kw_only=True):
    """The same on feature maps that adapters bring to the teacher's channels."""
    kind: str  # filled in: the type
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)  # its own


_FILLED_IN = {'kind', 'arguments'}
AnyDistillOptions = FeatureOptions | ResponseOptions | AttentionOptions | AffinityOptions | DiscriminatorOptions


def distill_terms(section: Any) -> list[DistillOptions]:
    """A validated `distill_opt`, mapping or list, as a list; none for a missing section."""
    if section is None:
        return []
    return [_term(term, 'train.distill_opt') for term in (section if isinstance(section, list) else [section])]


def with_defaults(section: Any) -> Any:
    """A `distill_opt`, mapping or list, with all defaults filled in.

    Raises:
        OptionsError: a key or value that is not possible.
    """
    if section is None:
        return None
    if not isinstance(section, list):
        return _flat(_term(section, 'train.distill_opt'))
    return [_flat(_term(term, f'train.distill_opt[{index}]')) for index, term in enumerate(section)]


def _flat(term: DistillOptions) -> dict[str, Any]:
    own = {name: value for name, value in msgspec.to_builtins(term).items() if name not in _FILLED_IN}
    return own | term.loss


def _term(section: Any, key: str) -> DistillOptions:
    found = section.get('type') if isinstance(section, dict) else None
    kind = found if isinstance(found, str) else ''
    bases: tuple[Any, ...] = bases_of('LOSS_REGISTRY', kind)
    ours = {struct.__struct_config__.tag for struct in get_args(AnyDistillOptions)}
    if kind in ours or not any(f'{base.__module__}.{base.__name__}' == _BASE for base in bases):
        return convert(section, AnyDistillOptions, key, {'train.distill_opt': AnyDistillOptions})
    struct: Any = OutputsOfOthers if bases[0].of_outputs else AdaptedOfOthers if bases[0].adapts else LayersOfOthers
    given = {name: value for name, value in section.items() if name in {*struct.__struct_fields__} - _FILLED_IN}
    rest = {name: value for name, value in section.items() if name not in (*given, 'type')}
    return convert({**given, 'kind': kind, 'arguments': rest}, struct, key, {'train.distill_opt': struct})


def check_distillation(opt: dict[str, Any], train: dict[str, Any]) -> list[str]:
    """What no single key can tell: which of KDGANModel's sections go together.

    Returns:
        Warnings, a line each.

    Raises:
        OptionsError: A section that needs another, or two that say the same.
    """
    terms = distill_terms(train['distill_opt'])
    student = msgspec.convert(opt.get('student') or {}, StudentOptions)
    from_teacher = student.init == 'teacher'
    warnings = []
    if opt.get('teacher') is None:
        for found, key in ((terms, 'train.distill_opt'), (from_teacher, 'student.init: teacher')):
            if found:
                raise OptionsError(f'{key} needs the section `teacher:` (path: the trained network to learn from)')
    elif not terms and not from_teacher:
        warnings.append('teacher: not used, neither train.distill_opt nor student.init: teacher is given')
    cache = (opt.get('teacher') or {}).get('cache')
    inside = [term.loss['type'] for term in terms if isinstance(term, LayersOptions)]
    if cache and inside:
        raise OptionsError(f'teacher.cache: outputs keeps what the teacher makes of images, and {inside[0]} of '
                           'train.distill_opt compares what is inside the networks. Take ResponseDistillLoss alone, or '
                           'leave teacher.cache out')
    if cache and not terms:
        warnings.append('teacher.cache: not used, train.distill_opt is not given')
    if not from_teacher:
        ignored = [name for name in StudentOptions.__struct_fields__
                   if name != 'init' and getattr(student, name) != getattr(StudentOptions(), name)]
        warnings += [f'student.{name}: not used, student.init is random' for name in ignored]
    total = int(train['total_iter'])
    schedule = msgspec.convert(train['distill_schedule'], ScheduleOptions)
    if not terms:
        warnings += [f'train.{key}: not used, train.distill_opt is not given' for key, changed in (
            ('distill_schedule', schedule != ScheduleOptions()), ('distill_every', train['distill_every'] != 1))
            if changed]
    if schedule.type == 'constant' and schedule.end:
        warnings.append('train.distill_schedule.end: not used, type: constant does not go down')
    if schedule.warmup_iter >= total:
        raise OptionsError(f'train.distill_schedule.warmup_iter: found {schedule.warmup_iter:,}, expected less than '
                           f'train.total_iter ({total:,})')
    if any(isinstance(term, DiscriminatorOptions) for term in terms):
        if not train.get('gan_opt'):
            raise OptionsError("train.distill_opt: DiscriminatorFeatureLoss needs the teacher's discriminator: "
                               'train.gan_opt, network_d and path.pretrain_network_d')
        if not opt['path'].get('pretrain_network_d'):
            raise OptionsError("path.pretrain_network_d is missing: the teacher's discriminator, whose features "
                               'DiscriminatorFeatureLoss compares; one that has learned nothing would not do')
    return warnings
