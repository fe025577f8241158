"""What bench_train.py has measured, as rows, tables, targets and a plot."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from basicsr_kd.report import markdown_table
from bench.networks import QUARTILES
from bench.parts import REST
from bench.steps import BASELINE, BF16, DEFAULT, FP32, FP32_CHANNELS_LAST, OURS, STANDARD, Step, compiled_bf16


@dataclass(frozen=True)
class Target:
    """What a step must reach, as a share of the baseline's seconds and peak memory."""

    step: Step
    seconds: float
    memory: float | None = None


def targets(compile_modes: Sequence[str], device: str) -> list[Target]:
    """All in fp32, the default and bf16; on GPUs also compiled."""
    compiled = [Target(compiled_bf16(mode), 0.35) for mode in compile_modes if device == 'cuda']
    return [Target(FP32, 0.93, 1.2), Target(FP32_CHANNELS_LAST, 0.93, 1.2), Target(DEFAULT, 0.80),
            Target(BF16, 0.52, 1.0), *compiled]


class Results:
    """The measured steps, the baseline first.

    Args:
        steps: Which they are.
        taken: Seconds, (turns, steps).
        peaks: GiB by step; None where not measured.
        flops: Operations of each step by number format.
        floors: Seconds by step that its operations take at the device's matrix rate.
        parts: Seconds of each step by part, none where it is compiled.
    """

    def __init__(self, steps: Sequence[Step], taken: np.ndarray, peaks: Sequence[float | None],
                 flops: Sequence[Mapping[str, int]], floors: Sequence[float],
                 parts: Sequence[Mapping[str, float] | None]) -> None:
        self.steps, self.taken, self.parts = list(steps), taken, parts
        self.rows: list[dict[str, Any]] = [
            asdict(step) | {'name': step.name, 'seconds': np.quantile(seconds, QUARTILES).tolist(),
                            'time_ratio': np.quantile(seconds / taken[:, 0], QUARTILES).tolist(),
                            'flops': dict(counts), 'floor_seconds': floor, 'peak_gib': peak,
                            'memory_ratio': peak / peaks[0] if peak and peaks[0] else None,
                            'parts': dict(its) if its else None}
            for step, seconds, peak, counts, floor, its in zip(steps, taken.T, peaks, flops, floors, parts,
                                                               strict=True)]

    def of(self, step: Step) -> dict[str, Any] | None:
        """Its row, if it was measured."""
        return self.rows[self.steps.index(step)] if step in self.steps else None

    def table(self, batch: int) -> str:
        """All steps; operations are a sample's."""
        return markdown_table(
            ['training step', 'seconds', 'time ratio', 'GFLOP a sample', 'FLOP floor, seconds', 'peak memory'],
            [[row['name'], f'{row["seconds"][1]:.3f}', _with_quartiles(row['time_ratio']),
              f'{sum(row["flops"].values()) / batch / 1e9:.1f}', f'{row["floor_seconds"]:.3f}',
              f'{row["peak_gib"]:.2f} GiB ({row["memory_ratio"]:.2f})' if row['memory_ratio'] else '-']
             for row in self.rows])

    def parts_table(self) -> str:
        """Seconds of each part of a step."""
        names = [name for name in dict.fromkeys(name for parts in self.parts if parts for name in parts)
                 if name != REST]
        return markdown_table(
            ['seconds of', *names, REST],
            [[step.name, *(f'{parts[name]:.3f}' if name in parts else '-' for name in [*names, REST])]
             for step, parts in zip(self.steps, self.parts, strict=True) if parts])

    def verdicts(self, wanted: Sequence[Target]) -> str:
        """Which targets hold."""
        lines = []
        for target in wanted:
            row = self.of(target.step)
            if row is None:
                lines.append(f'- {target.step.name}: not measured')
                continue
            found = [f'time {_with_quartiles(row["time_ratio"])}, {_verdict(row["time_ratio"][1], target.seconds)}']
            if target.memory is not None:
                ratio = row['memory_ratio']
                found.append(f'peak memory {ratio:.3f}, {_verdict(ratio, target.memory)}' if ratio else
                             'peak memory not measured')
            lines.append(f'- {target.step.name}: {"; ".join(found)}')
        return '\n'.join([f'Targets, as shares of {BASELINE.name}:', '', *lines])

    def plot(self, path: Path) -> None:
        """Seconds of all steps with quartiles, their floors as marks; writes a PNG."""
        figure = Figure(figsize=(9, 1.2 + 0.42 * len(self.rows)), dpi=110, layout='constrained')
        axes = figure.add_subplot()
        colours = [colormaps['tab10'](0 if row['model'] == OURS else 7) for row in self.rows]
        low, median, high = np.array([row['seconds'] for row in self.rows]).T
        places = np.arange(len(self.rows))
        axes.barh(places, median, xerr=[median - low, high - median], color=colours, capsize=2)
        axes.plot([row['floor_seconds'] for row in self.rows], places, 'k|', markersize=14, label='FLOP floor')
        for place, row in zip(places, self.rows, strict=True):
            axes.annotate(f' {row["time_ratio"][1]:.2f}', (max(row['seconds'][2], row['floor_seconds']), place),
                          va='center', fontsize=9)
        axes.set_yticks(places, [row['name'] for row in self.rows], fontsize=9)
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_xlim(left=0)
        axes.set_xlabel('seconds (quartiles), and ratio to the first row')
        axes.spines[['top', 'right']].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path)


def losses_note() -> str:
    """Which loss the steps have."""
    return (f"All steps but {STANDARD.model}'s have ESRGANModel's relativistic loss, KDGANModel's as well "
            '(train.relativistic: true) and feature distillation besides; with the standard loss KDGANModel runs the '
            'discriminator as often.')


def _verdict(ratio: float, limit: float) -> str:
    return f'<= {limit} {"holds" if ratio <= limit else "does not hold"}'


def _with_quartiles(ratio: Sequence[float]) -> str:
    return '{1:.3f} ({0:.3f}-{2:.3f})'.format(*ratio)
