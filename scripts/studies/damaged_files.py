"""Files of networks that are damaged, or meant to do harm: what becomes of each in `basicsr-kd infer`."""
import contextlib
import io
import json
import os
import random
import shutil
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import safetensors.torch
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from common.ncnn_files import write_ncnn

from basicsr_kd.archs.from_file import write_network_file
from basicsr_kd.cli.main import main
from basicsr_kd.pruning import prune
from basicsr_kd.report import markdown_table
from studies.in_child import end_of, in_child

SECONDS = 60
ENDS = ('refused', 'same', 'other', 'traceback', 'hung', 'crashed')
_WITH_SUMS = ('net.pth', 'pruned.pth')
"""Formats with checksums: what is read from them is right or refused."""


@dataclass(frozen=True)
class Tried:
    """A damaged file and what became of it.

    Args:
        file: which one was damaged.
        how: in which way.
        end: 'refused' in one line, 'same' (the result is the undamaged file's), 'other', 'traceback', 'hung',
            'crashed'.
        said: the last line.
    """
    file: str
    how: str
    end: str
    said: str


class FileBench:
    """Files of a small network in each format, a pruned one with its .yml, and an image.

    Args:
        folder: where they go; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / 'LR').mkdir(parents=True)
        cv2.imwrite(str(folder / 'LR' / 'a.png'), np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
        torch.manual_seed(0)
        net = SRVGGNetCompact(3, 3, 8, 2, 4)
        state = net.state_dict()
        torch.save({'params': state}, folder / 'net.pth')
        torch.save({'params': state}, folder / 'old.pth', _use_new_zipfile_serialization=False)
        safetensors.torch.save_file(state, folder / 'net.safetensors')
        write_ncnn(net, folder / 'ncnn')
        pruned = prune(EDSR(3, 3, num_feat=8, num_block=2, upscale=4), ratio=0.1, round_to=1).network
        write_network_file(folder / 'pruned.pth', pruned.state_dict(), {  # its .yml is needed to build it
            'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'upscale': 4})
        self.files = {name: (folder / name).read_bytes() for name in (
            'net.pth', 'old.pth', 'net.safetensors', 'pruned.pth', 'pruned.yml', 'ncnn.param', 'ncnn.bin')}
        with contextlib.redirect_stdout(io.StringIO()):  # here, so that the children find everything imported
            main(['infer', '--weights', str(folder / 'net.pth'), '--input', str(folder / 'LR'), '--output',
                  str(folder / 'out'), '--device', 'cpu'])
        self.expected = {name: self._result(name) for name in self.files}

    def tried(self, name: str, content: bytes, how: str) -> Tried:
        """What becomes of a file with another content; the others are as they were."""
        for other, whole in self.files.items():
            (self.folder / other).write_bytes(content if other == name else whole)
        status, said = self._infer(_network_of(name))
        end = end_of(status, said)
        if end == 'ran':
            found = self._output()
            end = 'same' if found is not None and np.array_equal(found, self.expected[name]) else 'other'
        lines = said.splitlines()
        if end == 'refused' and sum(line.startswith('basicsr-kd') for line in lines) != 1:
            end = 'traceback'  # or whatever else is no refusal
        return Tried(name, how, end, lines[-1] if lines else '')

    def _infer(self, name: str) -> tuple[int | None, str]:
        shutil.rmtree(self.folder / 'out', ignore_errors=True)
        arguments = ['infer', '--weights', name, '--input', 'LR', '--output', 'out', '--device', 'cpu',
                     '--runtime', 'torch']  # ncnn's own reader is not ours
        return in_child(lambda: main(arguments), self.folder, self.folder / 'infer.log', SECONDS)

    def _output(self) -> np.ndarray | None:
        return cv2.imread(str(self.folder / 'out' / 'a.png'), cv2.IMREAD_UNCHANGED)

    def _result(self, name: str) -> np.ndarray:
        status, said = self._infer(_network_of(name))
        found = self._output()
        assert status == 0 and found is not None, said
        return found


def _network_of(name: str) -> str:
    return {'pruned.yml': 'pruned.pth', 'ncnn.bin': 'ncnn.param'}.get(name, name)


def damaged(bench: FileBench, count: int, seed: int) -> Iterator[Tried]:
    """So many damaged files, one after the other, and then all that are meant to do harm."""
    rng = random.Random(seed)
    for _ in range(count):
        name = rng.choice(list(bench.files))
        how = rng.choice(list(_DAMAGES))
        yield bench.tried(name, _DAMAGES[how](bench.files[name], rng), how)
    for how, (name, content) in hostile(bench.folder / 'made').items():
        yield bench.tried(name, content, how)


def _flipped(content: bytes, rng: random.Random, count: int) -> bytes:
    changed = bytearray(content)
    for _ in range(count):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwritten(content: bytes, rng: random.Random, values: Callable[[int], bytes]) -> bytes:
    start = rng.randrange(len(content))
    length = rng.randint(1, max(1, len(content) // 20))
    return (content[:start] + values(length) + content[start + length:])[:len(content)]


_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    'a bit': lambda content, rng: _flipped(content, rng, 1),
    '20 bits': lambda content, rng: _flipped(content, rng, 20),
    'cut short': lambda content, rng: content[:rng.randrange(len(content))],
    'zeros': lambda content, rng: _overwritten(content, rng, bytes),
    'noise': lambda content, rng: _overwritten(content, rng, rng.randbytes),
    'a byte of its head': lambda content, rng: _flipped(content[:64], rng, 1) + content[64:],
    'a byte of its end': lambda content, rng: content[:-64] + _flipped(content[-64:], rng, 1),
    'more behind it': lambda content, rng: content + rng.randbytes(100),
    'twice': lambda content, rng: content * 2,
}


class _Harm:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ('touch harmed',)


def hostile(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Files that declare what they do not hold, would run code, or hold what no network can use."""
    folder.mkdir(exist_ok=True)
    state = SRVGGNetCompact(3, 3, 8, 2, 4).state_dict()
    bias = 'body.0.bias'

    def saved(content: Any) -> tuple[str, bytes]:
        torch.save(content, folder / 'a.pth')
        return 'net.pth', (folder / 'a.pth').read_bytes()

    def header(text: Any, length: int | None = None) -> tuple[str, bytes]:
        told = text if isinstance(text, bytes) else json.dumps(text).encode()
        return 'net.safetensors', struct.pack('<Q', len(told) if length is None else length) + told + bytes(64)

    def zipped(names: list[str]) -> tuple[str, bytes]:
        with zipfile.ZipFile(folder / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as file:
            for name in names:
                file.writestr(name, bytes(10**8))
        return 'net.pth', (folder / 'a.zip').read_bytes()

    return {
        'a command in its pickle': saved({'params': state, 'x': _Harm()}),
        'a layer of number 10^9': saved({'params': {**state, 'body.1000000000.weight': torch.ones(1)}}),
        'a tensor that says it has 10^12 values': saved({'params': {**state, bias: torch.ones(1).expand(10**12)}}),
        'values that are no numbers': saved({'params': {**state, bias: state[bias] / 0}}),
        '8 bits': saved({'params': {**state, bias: state[bias].to(torch.int8)}}),
        'complex values': saved({'params': {**state, bias: state[bias].to(torch.complex64)}}),
        'no tensors': saved({'params': {'a': 1}}),
        'an empty dict': saved({}),
        'a list': saved([state]),
        'a name with a line break and colour codes': saved({'params': {**state, 'a\n\x1b[31mb': torch.ones(1)}}),
        '20,000 tensors': saved({f'a.{index}': torch.ones(1) for index in range(20000)}),
        'dicts in dicts': saved(_nested(200)),
        'a header of 2^60 bytes': header({}, 2**60),
        'a header of no bytes': header({}, 0),
        'a shape of 10^18': header({'a': {'dtype': 'F32', 'shape': [10**9, 10**9], 'data_offsets': [0, 64]}}),
        'offsets that run backwards': header({'a': {'dtype': 'F32', 'shape': [16], 'data_offsets': [64, 0]}}),
        'an unknown kind of number': header({'a': {'dtype': 'Q7', 'shape': [16], 'data_offsets': [0, 64]}}),
        'brackets 100,000 deep': header(b'[' * 100_000),
        'a zip of zeros': zipped(['archive/data.pkl', 'archive/data/0', 'archive/version']),
        'a zip with names that lead elsewhere': zipped(['../../data.pkl']),
        'YAML that runs code': ('pruned.yml', b"network_g: !!python/object/apply:os.system ['touch harmed']"),
        'YAML that grows': ('pruned.yml', _billion_laughs()),
        'YAML of a million blocks': ('pruned.yml', b'network_g: {type: RRDBNet, num_block: 1000000, num_feat: 64}'),
        'YAML that is a list': ('pruned.yml', b'- 1\n- 2\n'),
    }


def _nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {'a': torch.ones(1)}
    for _ in range(depth):
        found = {'a': found}
    return found


def _billion_laughs() -> bytes:
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    lines += [f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]' for n in range(1, 10)]
    return ('\n'.join([*lines, 'network_g: *a9'])).encode()


def all_well(tried: list[Tried]) -> bool:
    """Whether each ended in one line or in a result, which is the right one where the format has checksums."""
    return all(one.end in ('refused', 'same') or one.end == 'other' and one.file not in _WITH_SUMS for one in tried)


def tried_table(tried: list[Tried]) -> str:
    """How many of each file ended how, and each that should not have ended so."""
    rows = []
    for file in dict.fromkeys(one.file for one in tried):
        counts = Counter(one.end for one in tried if one.file == file)
        rows.append([file, *(f'{counts[end]:,}' for end in ENDS)])
    bad = [f'- {one.file}, {one.how}: {one.end}: {one.said}' for one in tried if not all_well([one])]
    return '\n\n'.join([markdown_table([f'{len(tried):,} files', *ENDS], rows), *(['\n'.join(bad)] if bad else [])])

