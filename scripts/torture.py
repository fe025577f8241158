"""Hardships at length, on the smallest networks; the figures of docs/reliability.md.

  python scripts/torture.py --runs          a training killed 30 times, and one watched for 2,000 iterations: 15 minutes
  python scripts/torture.py --options       3,000 options files with something changed, each started: an hour
  python scripts/torture.py --files         3,000 damaged files of networks, each tried in infer: 15 minutes
  python scripts/torture.py --data          300 trainings, each with a damaged image somewhere: 15 minutes

Everything is generated, and written to --output with each training's log; Linux only. Ends with status 1 where
something was lost that should not have been, or anything ended otherwise than in a line or in what it should do.
"""
import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studies import damaged_files, damaged_images
from studies.killed_runs import RunsStudy
from studies.mutated_options import Bench as OptionsBench
from studies.mutated_options import Outcome, as_json, mutations, outcome_table, run
from tqdm import tqdm

from basicsr_kd.utils.files import write_whole


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument('--runs', action='store_true', help='trainings that are killed and watched')
    kind.add_argument('--options', action='store_true', help='options files with something changed')
    kind.add_argument('--files', action='store_true', help='damaged and hostile files of networks')
    kind.add_argument('--data', action='store_true', help='damaged images in every place of a training')
    parser.add_argument('--kills', type=int, default=30, help='SIGKILLs at random moments (default: 30)')
    parser.add_argument('--iterations', type=int, default=2000, help='of each training (default: 2000)')
    parser.add_argument('--count', type=int, help='options files, files or trainings (default: 3000, of --data 300)')
    parser.add_argument('--seed', type=int, default=0, help='of random moments and changes (default: 0)')
    parser.add_argument('--output', type=Path, default=Path('results/torture'),
                        help='a folder that does not exist (default: results/torture)')
    args = parser.parse_args(argv)
    args.count = args.count or (300 if args.data else 3000)
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
    bench = OptionsBench(folder)
    outcomes: list[Outcome] = []
    for mutation in tqdm(mutations(bench.files(), args.count, args.seed), desc='options', unit='file'):
        outcomes.append(run(mutation, folder))
        if len(outcomes) % 50 == 0 or len(outcomes) == args.count:
            write_whole(folder / 'options.json', json.dumps(as_json(outcomes), indent=1))
            write_whole(folder / 'options.md', outcome_table(outcomes) + '\n')
    print(outcome_table(outcomes))
    return all(outcome.end in ('refused', 'ran') for outcome in outcomes)


def torture_files(args: argparse.Namespace) -> bool:
    """Files of networks; whether each was refused in a line, or did what it should."""
    bench = damaged_files.FileBench(args.output.resolve())
    tried = list(tqdm(damaged_files.damaged(bench, args.count, args.seed), desc='files', unit='file'))
    return _written(args, tried, damaged_files)


def torture_data(args: argparse.Namespace) -> bool:
    """Trainings with a damaged image; whether each was refused in a line, ended in one, or ran."""
    bench = damaged_images.ImageBench(args.output.resolve())
    tried = list(tqdm(damaged_images.damaged(bench, args.count, args.seed), desc='trainings', total=args.count))
    return _written(args, tried, damaged_images)


def _written(args: argparse.Namespace, tried: list[damaged_files.Tried], study: Any) -> bool:
    table = study.tried_table(tried)
    write_whole(args.output / 'tried.json', json.dumps([asdict(one) for one in tried], indent=1))
    write_whole(args.output / 'tried.md', table + '\n')
    print(table)
    return study.all_well(tried)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    kinds = {'runs': torture_runs, 'options': torture_options, 'files': torture_files, 'data': torture_data}
    if not next(work for name, work in kinds.items() if getattr(args, name))(args):
        sys.exit(1)


if __name__ == '__main__':
    main()
