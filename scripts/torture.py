"""Hardships at length, on the smallest networks; the figures of docs/reliability.md.

  python scripts/torture.py --runs          a training killed 30 times, and one watched for 2,000 iterations: 15 minutes
  python scripts/torture.py --options       3,000 options files with something changed, each started: an hour

Everything is generated, and written to --output with each training's log; Linux only. Ends with status 1 where
something was lost that should not have been, or an options file ended in anything but a line or a training.
"""
import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from studies.killed_runs import RunsStudy
from studies.mutated_options import Bench, Outcome, as_json, mutations, outcome_table, run
from tqdm import tqdm

from basicsr_kd.utils.files import write_whole


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument('--runs', action='store_true', help='trainings that are killed and watched')
    kind.add_argument('--options', action='store_true', help='options files with something changed')
    parser.add_argument('--kills', type=int, default=30, help='SIGKILLs at random moments (default: 30)')
    parser.add_argument('--iterations', type=int, default=2000, help='of each training (default: 2000)')
    parser.add_argument('--count', type=int, default=3000, help='options files (default: 3000)')
    parser.add_argument('--seed', type=int, default=0, help='of random moments and changes (default: 0)')
    parser.add_argument('--output', type=Path, default=Path('results/torture'),
                        help='a folder that does not exist (default: results/torture)')
    args = parser.parse_args(argv)
    if args.kills < 1 or args.iterations < 100 or args.count < 1:
        parser.error('--kills and --count must be 1 or more, --iterations 100 or more')
    if args.output.exists():
        parser.error(f'--output: {args.output} exists; choose another one or remove it')
    return args


def torture_runs(args: argparse.Namespace) -> bool:
    """Trainings; whether nothing was lost."""
    study = RunsStudy(args.output.resolve(), args.iterations)
    watched = study.watch()
    print(watched.table(), end='\n\n', flush=True)
    killed = study.kill(args.kills, args.seed)
    print(killed.table())
    write_whole(args.output / 'runs.json', json.dumps({'watched': asdict(watched), 'killed': asdict(killed)}, indent=2))
    write_whole(args.output / 'runs.md', f'{watched.table()}\n\n{killed.table()}\n')
    return killed.nothing_lost


def torture_options(args: argparse.Namespace) -> bool:
    """Options files; whether each was refused in a line, or trained.."""
    folder = args.output.resolve()
    bench = Bench(folder)
    outcomes: list[Outcome] = []
    for mutation in tqdm(mutations(bench.files(), args.count, args.seed), desc='options', unit='file'):
        outcomes.append(run(mutation, folder))
        if len(outcomes) % 50 == 0 or len(outcomes) == args.count:
            write_whole(folder / 'options.json', json.dumps(as_json(outcomes), indent=1))
            write_whole(folder / 'options.md', outcome_table(outcomes) + '\n')
    print(outcome_table(outcomes))
    return all(outcome.end in ('refused', 'ran') for outcome in outcomes)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if not (torture_options(args) if args.options else torture_runs(args)):
        sys.exit(1)


if __name__ == '__main__':
    main()
