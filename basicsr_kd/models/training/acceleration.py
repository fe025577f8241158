"""Speed for our models with about the same results: number format, memory order, compilation."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch._dynamo.config
import torch._functorch.config
from basicsr.archs.discriminator_arch import VGGStyleDiscriminator
from basicsr.utils import get_root_logger
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from basicsr_kd.models.training.checkpoints import Checkpoints
from basicsr_kd.utils.modes import HALF, fast_formats, full_fp32, without_tuning

_WITHOUT_CUDA_GRAPHS = {'reduce-overhead': 'default', 'max-autotune': 'max-autotune-no-cudagraphs'}


class Acceleration(Checkpoints):
    """Networks in half precision, in channels_last and compiled, with steps that are safe in fp16's narrow range.

    Weights, losses and optimizers stay in fp32. In fp16 small gradients would be zero, so losses are scaled up before
    their backward pass and gradients down again after it (`torch.amp.GradScaler`), by one scale for all networks.

    Options read here: `train.amp`, `train.channels_last`, `train.compile`, `val.amp`.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        train = opt.get('train') or {}
        device = torch.device('cuda' if opt['num_gpu'] != 0 else 'cpu')  # as in BasicSR
        self.amp = half_precision(train.get('amp', 'fp32'), device, 'train.amp')
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp is torch.float16)
        self.memory_format = torch.channels_last if train.get('channels_last', True) else torch.contiguous_format
        section = train.get('compile')
        self.compile_mode = section['mode'] if isinstance(section, dict) else 'default' if section else None
        self.has_stepped = False
        super().__init__(opt)

    def prepare(self, net: nn.Module) -> nn.Module:
        """Move a network to the device, in the memory order of this run."""
        return to_memory_format(net.to(self.device), self.memory_format)

    def compile(self, net: nn.Module, repeats: bool = False) -> None:
        """Compile a network in place, if this run compiles; see `compile_in_place`."""
        if self.compile_mode:
            compile_in_place(self.get_bare_model(net), self.compile_mode, repeats)

    def autocast(self) -> torch.autocast:
        """A context in the number format of training."""
        return autocast(self.device, self.amp)

    @contextmanager
    def for_validation(self) -> Iterator[None]:
        """A context in the number format of validation; fp32 is exact, as in `basicsr-kd evaluate`.

        Nothing is compiled or tuned in it, since each new size of image would start that again.
        """
        same = (self.opt.get('val') or {}).get('amp') == 'same'
        with torch.compiler.set_stance('force_eager') if self.compile_mode else nullcontext():
            with full_fp32(), without_tuning(), autocast(self.device, self.amp if same else None):
                yield

    def start_steps(self) -> None:
        """To be called before an iteration: outputs of CUDA graphs from the last one are no longer needed."""
        if self.compile_mode:
            torch.compiler.cudagraph_mark_step_begin()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Make a step with the gradients of losses scaled by `scaler`; none if the gradients overflowed in fp16."""
        self.scaler.step(optimizer)
        self.has_stepped = True

    def finish_steps(self) -> None:
        """To be called after all steps of an iteration: the scale falls after a skipped step, else it slowly rises."""
        if self.has_stepped:
            self.scaler.update()
        self.has_stepped = False

    def model_ema(self, decay: float = 0.999) -> None:
        """Like BasicSR's `model_ema`, but for all weights in one call."""
        averages = dict(self.net_g_ema.named_parameters())
        weights = dict(self.get_bare_model(self.net_g).named_parameters())
        get_ema_multi_avg_fn(decay)(list(averages.values()), [weights[name] for name in averages], None)

    def further_state(self) -> dict[str, Any]:
        state = super().further_state()
        if self.scaler.is_enabled():
            state['scaler'] = self.scaler.state_dict()
        return state

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        if self.scaler.is_enabled() and 'scaler' in resume_state:  # else the run had another format before
            self.scaler.load_state_dict(resume_state['scaler'])
        super().resume_training(resume_state)


def half_precision(amp: str, device: torch.device, key: str) -> torch.dtype | None:
    """The format that `amp` (fp32, bf16 or fp16) names; None for fp32.

    A device without instructions for bf16 would be many times slower in it than in fp32, so it gets fp32 instead.

    Args:
        amp: The format's name.
        device: The device to run on.
        key: The option that names the format, for the log.
    """
    if amp == 'bf16' and 'bf16' not in fast_formats(device):
        where = 'this GPU' if device.type == 'cuda' else 'this CPU (it wants AVX-512)'
        get_root_logger().warning(f'{key}: PyTorch has no fast bf16 on {where}; it is fp32.')
        return None
    return HALF.get(amp)


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """A context in this format; None: fp32, even inside another such context."""
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def compile_in_place(net: nn.Module, mode: str, repeats: bool = False) -> None:
    """Let a network run compiled from its next call on; a copy of it does not. Hooks must be set before that call.

    Args:
        net: The bare network.
        mode: As in `torch.compile`.
        repeats: Whether the network runs several times before one backward pass, or has several backward passes after
            one run. Then CUDA graphs, and memory that the first backward pass may overwrite, cannot be used.
    """
    # The limit counts graphs of one code, which all networks of a class share; networks over the limit silently run
    # uncompiled, such as in the ninth stage of gradual pruning.
    torch._dynamo.config.cache_size_limit += 1  # `recompile_limit` from PyTorch 2.7 on, which keeps this name
    if repeats:
        torch._functorch.config.donated_buffer = False  # PyTorch's own advice for retained graphs
        mode = _WITHOUT_CUDA_GRAPHS.get(mode, mode)
    net.compile(mode=mode)


def to_memory_format(net: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Give a network's weights a memory order, in place, even if part of the network needs another order."""
    if isinstance(net, VGGStyleDiscriminator):
        # this network flattens with view(), which needs the memory order n, c, h, w instead of channels_last
        last_norm = net.bn5_1 if net.input_size == 256 else net.bn4_1
        last_norm.register_forward_hook(lambda module, args, output: output.contiguous())
    return net.to(memory_format=memory_format)
