"""The `.yml` beside a checkpoint: its `network_g:`, to paste into an options file and to open the checkpoint with."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from basicsr_kd.errors import CheckpointError
from basicsr_kd.utils.files import write_whole


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """The `.yml` that belongs to a checkpoint: the same folder and name."""
    return Path(path).with_suffix('.yml')


def in_one_line(options: dict[str, Any]) -> str:
    """Options in YAML on one line: `{type: EDSR, …}`."""
    return yaml.safe_dump(options, sort_keys=False, default_flow_style=True, width=float('inf')).strip()


def read_sidecar(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The network's options in the `.yml` beside a checkpoint; None if there is no such file.

    `like:` becomes the checkpoint itself, wherever both files have been moved since they were written.

    Raises:
        CheckpointError: The file cannot be read, or has no `network_g:` with a `type:`.
    """
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return None
    try:
        content = yaml.safe_load(sidecar.read_text('utf-8'))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        reason = ' '.join(str(error).split())
        raise CheckpointError(f'{sidecar}, which tells the architecture of {path}, cannot be read: {reason}') from None
    section = content.get('network_g') if isinstance(content, dict) else None
    if not isinstance(section, dict) or not isinstance(section.get('type'), str):
        raise CheckpointError(f'{sidecar}, which tells the architecture of {path}, has no section network_g: with a '
                              'type:, e.g. network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3}')
    return {**section, 'like': str(path)} if 'like' in section else section


def write_sidecar(path: str | os.PathLike[str], section: dict[str, Any]) -> None:
    """Write the `.yml` beside a checkpoint; the file is complete, or as it was before."""
    sidecar = sidecar_path(path)
    text = yaml.safe_dump({'network_g': section}, sort_keys=False, default_flow_style=None, allow_unicode=True)
    write_whole(sidecar, f'# The pruned network in {Path(path).name}: paste this section into an options file of '
                f'BasicSR.\n{text}')
