"""What pruning gives back."""
from __future__ import annotations

from dataclasses import dataclass

from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedRRDBNet
from basicsr_kd.pruning.cost import LR_SIZE


@dataclass(frozen=True)
class PruneResult:
    """A pruned network and how it came about.

    Args:
        network: the pruned network, float32 on the CPU, in the mode (train or eval) of the original.
        kept: module path of every convolution that could lose output channels, to those that stay, sorted; an empty
            list where the convolution is gone.
        widths_before: the same paths, to the output channels they had.
        params_before: parameters of the original.
        params_after: parameters of ``network``.
        macs_before: multiply-accumulate operations of the original's convolutions for a 64 x 64 input.
        macs_after: those of ``network``.
        target: the budget, in parameters or MACs.
        request: the options of the pruning in words, for the log.
        of: what the budget counts, 'params' or 'macs'.
    """
    network: PrunedRRDBNet
    kept: dict[str, list[int]]
    widths_before: dict[str, int]
    params_before: int
    params_after: int
    macs_before: int
    macs_after: int
    target: float
    request: str
    of: str

    def table(self) -> str:
        """One line a block with its growth channels (conv1 to conv4 of each dense block), then the totals."""
        rows = [['', 'rdb1', 'rdb2', 'rdb3']]
        for block in range(len(self.network.body)):
            rows.append([f'body.{block}', *(self._dense_block(f'body.{block}.rdb{dense}') for dense in (1, 2, 3))])
        sizes = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f'Pruned ({self.request}); growth channels of conv1 to conv4, before -> after:']
        lines += ['  ' + ' | '.join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()
                  for row in rows]
        lines.append(f'parameters: {_change(self.params_before, self.params_after)}')
        lines.append(f'MACs of the convolutions, {LR_SIZE[1]}x{LR_SIZE[0]} input: '
                     f'{_change(self.macs_before, self.macs_after)}')
        reached = self.macs_after if self.of == 'macs' else self.params_after
        if abs(reached - self.target) > 0.005 * self.target:
            lines.append(f'The budget was {round(self.target):,} {self.of}; steps of this round_to came no nearer than '
                         f'{reached:,}. A smaller round_to does.')
        return '\n'.join(lines)

    def _dense_block(self, path: str) -> str:
        convs = [f'{path}.conv{index}' for index in (1, 2, 3, 4)]
        before = [self.widths_before.get(conv, 0) for conv in convs]
        after = [len(self.kept.get(conv, [])) for conv in convs]
        old, new = (' '.join(f'{width:2d}' for width in widths) for widths in (before, after))
        return old if before == after else f'{old} -> {new}'


def _change(before: int, after: int) -> str:
    return f'{before:,} -> {after:,} ({100 * after / before:.1f} %)'
