"""Reading and writing checkpoints as plain tensors, whatever the file's age or wrapping.

Files are read with `weights_only=True` (no code in a checkpoint is ever run) and written to a temporary file that is
then renamed, so a run that is killed while saving leaves the last good file untouched.
"""
from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from basicsr_kd.errors import CheckpointError
from basicsr_kd.formats.esrgan_keys import rename_esrgan_keys
from basicsr_kd.formats.ncnn_layers import is_ncnn, pair_of
from basicsr_kd.formats.ncnn_networks import read_ncnn
from basicsr_kd.utils.files import replaced
from basicsr_kd.utils.tensor_checks import must_be_usable
from basicsr_kd.utils.text import some

# The keys under which other projects put the generator, tried in this order after BasicSR's own two.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'net', 'net_g', 'generator')
_PREFIXES = ('params_ema.', 'params.', 'module.', '_orig_mod.', 'generator.', 'net_g.', 'model.')
# First layers that identify a network behind any other prefix: RRDBNet, MSRResNet, EDSR, RCAN; SRVGGNetCompact;
# ESRGAN's own releases; FRNet.
_FIRST_LAYERS = ('conv_first.weight', 'body.0.weight', 'model.0.weight', 'fnet.encoder1.0.weight')
# Names that may stand beside the network's: other networks, the number of steps of an average.
_BESIDE = ('params.', 'discriminator.', 'net_d.', 'generator_ema.', 'n_averaged', 'step_counter')
# Compression shrinks weights to about a half; zeros, which would fill the memory, to a thousandth.
_UNPACKED = 50
# The words with which torch's unpickler refuses anything but tensors and plain containers.
_OBJECTS = re.compile(r'GLOBAL|[Uu]nsupported (global|class)')


def read_state_dict(path: str | os.PathLike[str], param_key: str | None = None) -> dict[str, Tensor]:
    """Read a network's tensors, with BasicSR's key names, from a `.pth` or `.safetensors` file or ncnn's two files.

    Prefixes that a wrapper put before all names of the network are removed (`module.` of DataParallel, `_orig_mod.` of
    torch.compile, `generator.` of mmagic, `net_g.` and `model.` of Lightning; any other prefix before a known network),
    old ESRGAN keys become those of BasicSR's RRDBNet, and half-precision tensors become float32.

    Args:
        path: The file; for ncnn, either of the two, `.param` or `.bin`.
        param_key: The key of the wanted state dict, e.g. `params_ema`. If it is not given, or is one of BasicSR's two
            but not in the file: `params_ema`, else `params`, else the state dict under a usual wrapper, else the file
            itself.

    Returns:
        Tensors by name, on the CPU, floating-point tensors as float32.

    Raises:
        CheckpointError: The file is missing, is not a checkpoint, holds pickled objects, no tensors or tensors that no
            network can use, or has no weights under a `param_key` that the user has named.
    """
    return read_named(path, param_key)[1]


def read_named(path: str | os.PathLike[str], param_key: str | None = None) -> tuple[str, dict[str, Tensor]]:
    """Like `read_state_dict`, but returns first the key of the file that holds the tensors; empty if there is no key.

    Raises:
        CheckpointError: As in `read_state_dict`.
    """
    path = Path(path)
    if not path.is_file() or not os.access(path, os.R_OK):
        found = ('is a folder' if path.is_dir() else 'may not be read by this user' if path.exists() else
                 'does not exist')
        raise CheckpointError(f"Checkpoint {path} {found}. Expected a .pth or .safetensors file, or ncnn's .param.")
    content = _load(path)
    key, picked = _pick(content, param_key, path)
    prefixes, state = _unwrapped({str(name): value.detach() for name, value in picked.items()
                                  if isinstance(value, Tensor)}, param_key)
    must_be_usable(state, path)
    return key or prefixes[:-1], rename_esrgan_keys({
        name: value.float() if value.is_floating_point() else value for name, value in state.items()})


def checkpoint_bytes(path: Path) -> int:
    """The size of a checkpoint on the disk, of ncnn's two files together."""
    return sum(file.stat().st_size for file in (pair_of(path) if is_ncnn(path) else [path]))


def write_checkpoint(path: str | os.PathLike[str],
                     params: Mapping[str, Tensor],
                     params_ema: Mapping[str, Tensor] | None = None) -> None:
    """Write `{'params': …, 'params_ema': …}` of plain CPU tensors, as BasicSR's `load_network` expects them.

    Args:
        path: The file; its folder is made if it is missing.
        params: The network's state dict.
        params_ema: The state dict of its moving average; left out of the file if None.
    """
    content = {'params': params} if params_ema is None else {'params': params, 'params_ema': params_ema}
    atomic_save({key: plain_tensors(state) for key, state in content.items()}, path)


def plain_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors for a file: on the CPU, contiguous, each with its own memory."""
    # clone(): a slice of a larger tensor would otherwise take the whole of that tensor into the file.
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def atomic_save(obj: Any, path: str | os.PathLike[str]) -> None:
    """`torch.save` into a temporary file in the same folder, then rename: `path` is complete, or as it was before."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary, open(temporary, 'wb') as file:
        torch.save(obj, file)
        file.flush()
        os.fsync(file.fileno())


def _load(path: Path) -> Any:
    if is_ncnn(path):
        return {name: torch.from_numpy(values) for name, values in read_ncnn(path).items()}
    return _load_safetensors(path) if path.suffix.lower() == '.safetensors' else _load_torch(path)


def _load_torch(path: Path) -> Any:
    try:
        content = path.read_bytes()  # once, for checksums and tensors
        _must_be_whole(path, content)
        return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        if _OBJECTS.search(str(error)):
            raise CheckpointError(
                f'Checkpoint {path} holds pickled Python objects, which can run code when opened and are refused. '
                "Save the weights alone, torch.save({'params': net.state_dict()}, path), and use that file.") from error
        raise CheckpointError(_not_a_checkpoint(path)) from error
    except RuntimeError as error:
        if 'TorchScript' in str(error):
            raise CheckpointError(f'Checkpoint {path} is a TorchScript program. Expected the weights alone: '
                                  'a .pth or .safetensors file with a state dict.') from error
        raise CheckpointError(_not_a_checkpoint(path)) from error
    except CheckpointError:
        raise
    except Exception as error:  # torch's readers raise errors of every kind on damaged files
        raise CheckpointError(_not_a_checkpoint(path)) from error


def _must_be_whole(path: Path, content: bytes) -> None:
    """Check the parts of a zip file by their checksums, which torch.load does not; older files have none.

    Raises:
        CheckpointError: A checksum differs: a bit has changed since the file was written.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(part.file_size for part in archive.infolist()) > _UNPACKED * len(content):
            raise CheckpointError(f'{path} ({len(content):,} bytes) is packed, and more than {_UNPACKED} times as '
                                  'large unpacked, which no weights are. Expected a .pth file written by torch.save.')
        for part in archive.infolist():
            try:
                if part.CRC:  # 0: not recorded
                    archive.read(part)
            except zipfile.BadZipFile as error:
                raise CheckpointError(f'{path} is damaged: what it holds is not what was written ({error}). Copy or '
                                      'download it again, or use an earlier one.') from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path, device='cpu')
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(_not_a_checkpoint(path)) from error


def _not_a_checkpoint(path: Path) -> str:
    size = path.stat().st_size
    lacks = f" Where it is ncnn's, {path.stem}.param belongs beside it." if path.suffix.lower() == '.bin' else ''
    return (f'{path} ({size:,} bytes) is not a checkpoint that can be read: it is damaged, cut short or another kind '
            'of file. Expected a .pth file written by torch.save or a .safetensors file; try downloading it again.'
            f'{lacks}')


def _pick(content: Any, param_key: str | None, path: Path) -> tuple[str, Mapping[str, Any]]:
    """The wanted state dict out of all that the file holds, and its key; '' if it is the file itself."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f'Checkpoint {path} holds a {type(content).__name__}. Expected a dict of tensors.')
    nested = [key for key, value in content.items() if _has_tensors(value)]
    if nested and param_key not in (None, 'params', 'params_ema', *nested):
        raise CheckpointError(f'Checkpoint {path} has no weights under param_key {param_key!r}. It has them under: '
                              f'{", ".join(map(str, nested))}.')
    for key in (param_key, 'params_ema', 'params', *_WRAPPERS):
        if key in nested:
            return str(key), content[key]
    if not _has_tensors(content):  # else it is the weights alone: a .safetensors file, ESRGAN's own releases
        found = some(map(repr, content), 5) or 'no keys at all'
        raise CheckpointError(f'Checkpoint {path} holds no tensors; at its top are {found}. Expected the '
                              'weights of a network, e.g. net_g_latest.pth (a .state file only serves to resume).')
    return '', content


def _unwrapped(state: dict[str, Tensor], param_key: str | None) -> tuple[str, dict[str, Tensor]]:
    """The prefixes of wrappers, one within the other, and the tensors without these prefixes and other networks."""
    first = [f'{param_key}.'] if param_key else []
    for prefix in (*first, *_PREFIXES, *_unknown_prefixes(state)):
        inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        beside = [name for name in state if not name.startswith((prefix, *_BESIDE))]
        # model.0 and so on are names of old ESRGAN networks; there `model.` is no wrapper
        if inside and not beside and not (prefix == 'model.' and any(name[0].isdigit() for name in inside)):
            further, state = _unwrapped(inside, None)
            return prefix + further, state
    return '', state


def _unknown_prefixes(state: Mapping[str, Tensor]) -> list[str]:
    """Possible prefixes before the first layer of a known network, shortest first; none if a name has no prefix."""
    if any(name in state for name in _FIRST_LAYERS):
        return []
    return sorted({name.removesuffix(first) for name in state for first in _FIRST_LAYERS if name.endswith(f'.{first}')},
                  key=len)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())
