"""What makes our models fast and leaves their results about the same: number format, memory order, compilation."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from basicsr_kd.models.checkpoints import Checkpoints
from basicsr_kd.models.compilation import compile_in_place
from basicsr_kd.models.memory_format import to_memory_format
from basicsr_kd.models.precision import autocast, half_precision


class Acceleration(Checkpoints):
    """Networks in half precision, channels_last and compiled, and steps that fp16's narrow range does not spoil.

    Weights, losses and optimizers stay in fp32. In fp16 small gradients would be zero, so losses are scaled up before
    their backward pass and gradients down again after it (`torch.amp.GradScaler`), by one scale for all networks.

    Options read here: `train.amp`, `train.channels_last`, `train.compile`, `val.amp`.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        train = opt.get('train') or {}
        device = torch.device('cuda' if opt['num_gpu'] != 0 else 'cpu')  # as BasicSR has it
        self.amp = half_precision(train.get('amp', 'fp32'), device, 'train.amp')
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp is torch.float16)
        self.memory_format = torch.channels_last if train.get('channels_last', True) else torch.contiguous_format
        section = train.get('compile')
        self.compile_mode = section['mode'] if isinstance(section, dict) else 'default' if section else None
        self.has_stepped = False
        super().__init__(opt)

    def prepare(self, net: nn.Module) -> nn.Module:
        """Move to the device, in the memory order of this run."""
        return to_memory_format(net.to(self.device), self.memory_format)

    def compile(self, net: nn.Module, repeats: bool = False) -> None:
        """Compile a network in place, if this run does that; see `compile_in_place`."""
        if self.compile_mode:
            compile_in_place(self.get_bare_model(net), self.compile_mode, repeats)

    def autocast(self) -> torch.autocast:
        """A context in the number format of training."""
        return autocast(self.device, self.amp)

    @contextmanager
    def for_validation(self) -> Iterator[None]:
        """A context in the number format of validation, where nothing is compiled: each size of image would be anew."""
        same = (self.opt.get('val') or {}).get('amp') == 'same'
        with torch.compiler.set_stance('force_eager') if self.compile_mode else nullcontext():
            with autocast(self.device, self.amp if same else None):
                yield

    def start_steps(self) -> None:
        """Before an iteration: what CUDA graphs gave in the last one is no longer needed."""
        if self.compile_mode:
            torch.compiler.cudagraph_mark_step_begin()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """A step by the gradients of losses that `scaler` has scaled; none where fp16 could not hold them."""
        self.scaler.step(optimizer)
        self.has_stepped = True

    def finish_steps(self) -> None:
        """After all steps of an iteration: the scale comes down where one was left out, and goes up in the long run."""
        if self.has_stepped:
            self.scaler.update()
        self.has_stepped = False

    def model_ema(self, decay: float = 0.999) -> None:
        """As BasicSR's, for all weights in one call."""
        averages = dict(self.net_g_ema.named_parameters())
        weights = dict(self.get_bare_model(self.net_g).named_parameters())
        get_ema_multi_avg_fn(decay)(list(averages.values()), [weights[name] for name in averages], None)

    def further_state(self) -> dict[str, Any]:
        state = super().further_state()
        if self.scaler.is_enabled():
            state['scaler'] = self.scaler.state_dict()
        return state

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        if self.scaler.is_enabled() and 'scaler' in resume_state:  # else the run was in another format before
            self.scaler.load_state_dict(resume_state['scaler'])
        super().resume_training(resume_state)
