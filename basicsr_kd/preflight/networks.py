"""The checks of `basicsr_kd.preflight` that need networks. They are built on the meta device: without memory."""
from __future__ import annotations

from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from basicsr_kd.archs.build import differences, for_shapes
from basicsr_kd.archs.from_file import network_section, read_architecture
from basicsr_kd.archs.probe import probe_image
from basicsr_kd.archs.recognise import number_differences
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.data.run_inputs import training_patch
from basicsr_kd.errors import CheckpointError, OptionsError
from basicsr_kd.options.prune import prune_steps
from basicsr_kd.options.realesrgan import gt_size, gt_size_key
from basicsr_kd.options.video import is_video
from basicsr_kd.preflight.arguments import check_arguments
from basicsr_kd.preflight.clips import must_take_clips
from basicsr_kd.preflight.input_sizes import better_size
from basicsr_kd.preflight.pruning import check_pruning
from basicsr_kd.preflight.values import check_numbers_of_network
from basicsr_kd.runs.resume import resumes


def check_training_networks(opt: dict[str, Any]) -> nn.Module:
    """Check that generator, discriminator and pruning fit their files and each other.

    Returns:
        The generator, `network_g`, without memory where possible and without the blocks that `prune:` removes.

    Raises:
        OptionsError, CheckpointError: See `basicsr_kd.preflight.check`.
    """
    for key in ('network_g', 'network_d'):
        check_numbers_of_network(opt.get(key), key)
    net_g = build_for_check(opt['network_g'], 'network_g', training_patch(opt, torch.device('cpu')), opt['scale'])
    must_take_clips(net_g, 'network_g', opt)
    _check_pretrained(net_g, opt, 'g')
    if opt['train'].get('gan_opt'):
        _check_discriminator(opt)
    if opt.get('prune') and (not resumes(opt) or opt.get('teacher') or prune_steps(opt['prune'])[0].steps > 1):
        return check_pruning(net_g, opt['prune'], 'prune', opt)  # a resumed run: more stages, or a teacher
    return net_g


def read_test_network(opt: dict[str, Any]) -> nn.Module:
    """Set `network_g` to the network in the file to test.

    The shapes in the file or the `.yml` beside it tell which network it is; if not, it is `network_g`, perhaps pruned.

    Returns:
        The network, without memory where possible.

    Raises:
        OptionsError, CheckpointError: See `basicsr_kd.preflight.check`.
    """
    path, network = opt['path']['pretrain_network_g'], opt.get('network_g')
    state = read_weights(path, opt['path'].get('param_key_g'), 'path.pretrain_network_g')
    try:
        network = read_architecture(state, path)
    except CheckpointError as error:
        if network is None:
            raise OptionsError(f'network_g is missing, and {error}') from None
        check_arguments(network, ARCH_REGISTRY, 'network_g')
    try:  # equal widths are few words in the log, others a list of hundreds
        opt['network_g'] = network_section(state, path, network)
    except (CheckpointError, ValueError) as error:
        raise OptionsError(f'path.pretrain_network_g: {path} does not fit network_g: {error}') from None
    image = probe_image(network.get('base', network).get('num_in_ch', 3), torch.device('cpu'))  # base: of PrunedNet
    net_g = build_for_check(opt['network_g'], 'network_g', image, opt['scale'])
    must_take_clips(net_g, 'network_g', opt)
    return net_g


def build_for_check(network: Any, key: str, image: Tensor, scale: int | None = None) -> nn.Module:
    """Build a network from BasicSR options and run it on an image (n, c, h, w), without memory for weights if possible.

    BasicSR's `build_network` is not used: it opens the logger, which must wait for the folder of its file.

    Args:
        network: The section of the options file.
        key: The section's name in the options file.
        image: An input of the network; only its shape matters.
        scale: How many times larger the output must be; None for a discriminator.

    Raises:
        OptionsError: A type or an argument is unknown, the network refuses an argument, or its scale is another.
    """
    arch = check_arguments(network, ARCH_REGISTRY, key)
    check_numbers_of_network(network, key)  # also of teacher.network
    arguments = {name: value for name, value in network.items() if name != 'type'}
    net, output = _build_and_run(arch, arguments, key, image)
    if scale is not None:
        must_enlarge(output, image, scale, key)
    return net


def must_enlarge(output: Any, image: Tensor, scale: int, key: str) -> None:
    """Check that a network's output for an image (n, c, h, w) is an image (n, c, scale·h, scale·w).

    Raises:
        OptionsError: The output is no image, or has another size.
    """
    if not isinstance(output, Tensor) or output.dim() != 4:
        found = f'a tensor {tuple(output.shape)}' if isinstance(output, Tensor) else f'a {type(output).__name__}'
        raise OptionsError(f'{key}: gives {found}, expected images (n, c, h, w)')
    (height, width), found_size = image.shape[2:], output.shape[2:]
    if tuple(found_size) != (scale * height, scale * width):
        raise OptionsError(f'{key}: enlarges {found_size[1] / width:g} times, but scale: is {scale} (found '
                           f'{found_size[0]}x{found_size[1]} for an image of {height}x{width}, expected '
                           f'{scale * height}x{scale * width})')


def _build_and_run(arch: Any, arguments: dict[str, Any], key: str, image: Tensor) -> tuple[nn.Module, Tensor]:
    def run(image: Tensor) -> tuple[nn.Module, Tensor]:
        def work(device: str) -> tuple[nn.Module, Tensor]:
            net = arch(**arguments)
            return net, net(image.to(device))
        return for_shapes(work)

    try:
        return run(image)
    except Exception as error:  # whatever a network's own code raises
        raise OptionsError(f'{key}: {arch.__name__} cannot be built and run on an input of shape {tuple(image.shape)}: '
                           f'{str(error) or type(error).__name__}{better_size(run, image)}') from None


def _check_pretrained(net: nn.Module, opt: dict[str, Any], which: str) -> None:
    path = opt['path'].get(f'pretrain_network_{which}')
    prunes = which == 'g' and bool(opt.get('prune'))
    if path and not resumes(opt) and (prunes or opt['path'].get(f'strict_load_{which}', True)):
        state = read_weights(path, opt['path'].get(f'param_key_{which}'), f'path.pretrain_network_{which}')
        must_fit(net, state, f'path.pretrain_network_{which}: {path}', f'network_{which}')


def _check_discriminator(opt: dict[str, Any]) -> None:
    size = gt_size(opt)
    channels = 27 if is_video(opt) else opt['network_d'].get('num_in_ch', 3)  # three frames, in three forms
    image = torch.zeros(2, channels, size, size)
    try:
        net_d = build_for_check(opt['network_d'], 'network_d', image)
    except OptionsError as error:
        raise OptionsError(f'{error} (its images are those of {gt_size_key(opt)}: {size})') from None
    _check_pretrained(net_d, opt, 'd')


def must_fit(net: nn.Module, state: dict[str, Tensor], found: str, key: str) -> None:
    """Check that a file's tensors fit a network.

    Raises:
        OptionsError: A tensor does not fit; the text names the first.
    """
    differs = differences(net, state)
    if differs:
        raise OptionsError(f'{found} does not fit {key} ({type(net).__name__}): '
                           f'{"; ".join([*number_differences(net, state), differs[0]])}')


def read_weights(path: str, param_key: str | None, key: str) -> dict[str, Tensor]:
    """`read_state_dict` of a file that an option names.

    Raises:
        OptionsError: The file cannot be read, or holds what no network can use.
    """
    try:
        return read_state_dict(path, param_key)
    except CheckpointError as error:
        raise OptionsError(f'{key}: {error}') from None
