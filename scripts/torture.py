"""Hardships at length, on the smallest networks; the figures of docs/reliability.md.

  python scripts/torture.py --runs          a training killed 30 times, and one watched for 2,000 iterations: 15 minutes

Everything is generated, and written to --output with each training's log; Linux only. Ends with status 1 where
something was lost that should not have been.
"""
import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from studies.killed_runs import RunsStudy

from basicsr_kd.utils.files import write_whole


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', action='store_true', required=True, help='trainings that are killed and watched')
    parser.add_argument('--kills', type=int, default=30, help='SIGKILLs at random moments (default: 30)')
    parser.add_argument('--iterations', type=int, default=2000, help='of each training (default: 2000)')
    parser.add_argument('--seed', type=int, default=0, help='of the random moments (default: 0)')
    parser.add_argument('--output', type=Path, default=Path('results/torture'),
                        help='a folder that does not exist (default: results/torture)')
    args = parser.parse_args(argv)
    if args.kills < 1 or args.iterations < 100:
        parser.error('--kills must be 1 or more, --iterations 100 or more')
    if args.output.exists():
        parser.error(f'--output: {args.output} exists; choose another one or remove it')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    study = RunsStudy(args.output.resolve(), args.iterations)
    watched = study.watch()
    print(watched.table(), end='\n\n', flush=True)
    killed = study.kill(args.kills, args.seed)
    print(killed.table())
    write_whole(args.output / 'runs.json', json.dumps({'watched': asdict(watched), 'killed': asdict(killed)}, indent=2))
    write_whole(args.output / 'runs.md', f'{watched.table()}\n\n{killed.table()}\n')
    if not killed.nothing_lost:
        sys.exit(1)


if __name__ == '__main__':
    main()
