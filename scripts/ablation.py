"""Compare ways to compress a network: every arm of a YAML file, trained with every seed, measured and put in tables.

  python scripts/ablation.py --photos BSDS400 --jobs 2 \\
      --sets Set5=datasets/Set5/HR,datasets/Set5/LRx4 Set14=datasets/Set14/HR,datasets/Set14/LRx4
  python scripts/ablation.py --arms Factorial --seeds 0 --iterations 60    a first look at one group, some minutes
  python scripts/ablation.py --report                                      tables and pictures again, from results.json

An arm is a set of changes to one options file (scripts/ablation.yml says how), a run is an arm with a seed: BasicSR's
train.py on one CPU thread, --jobs of them side by side. 20 of the photos are held out of training, always the same;
defaults, weights and layers are chosen on those, --sets only report.

What is finished is kept: the same command goes on where it was stopped, an arm whose options changed runs again, a new
set of images is measured on the networks that are there. Results: table.md, curves.png, plane_<set>.png and
results.json with every figure of every run and image; the networks and their logs are in runs/.

Cost of scripts/ablation.yml: a run takes under two minutes of one core that has nothing else to do, all 24 arms with 3
seeds about an hour with --jobs 2 (50 minutes here), photos and results 300 MB. A run that was stopped starts afresh.
"""
import argparse
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from common.measure import named_folders
from common.trainings import RunError
from studies.ablation.data import check_data, prepare_data
from studies.ablation.evaluate import Evaluator, read_sets
from studies.ablation.jobs import HELD_OUT, REFERENCES, Jobs, places, study_options, write_untrained
from studies.ablation.plan import AblationError, Run, chosen_arms, read_study, runs_of
from studies.ablation.report import report
from studies.ablation.results import Results
from studies.ablation.run import Trainings
from tqdm import tqdm

from basicsr_kd.errors import BasicSRKDError, CheckpointError

FAILURES = (RunError, CheckpointError, OSError)
HERE = Path(__file__).resolve().parent


def set_folders(args: argparse.Namespace) -> dict[str, tuple[Path, Path]]:
    """HR and LR folders by set: the held-out photos, and `NAME=HRDIR,LRDIR`."""
    folders = {HELD_OUT: (args.data / HELD_OUT / 'HR', args.data / HELD_OUT / 'LRx4')}
    for option in args.sets:
        name, hr, lr = named_folders(option)
        folders[name] = hr, lr
    return folders


def ablate(args: argparse.Namespace) -> int:
    """Do what is left to do and report; returns the number of runs that failed."""
    study = read_study(args.study)
    arms = chosen_arms(study, args.arms)
    if args.photos:
        prepare_data(args.photos, args.data, study.held_out, study.sub_size)
    check_data(args.data)
    folders = {name: (hr.resolve(), lr.resolve()) for name, (hr, lr) in set_folders(args).items()}
    sets = read_sets(folders)
    results = Results(args.output)
    lock = results.claim({'iterations': args.iterations, 'data': str(args.data.resolve())},
                         {name: [str(hr), str(lr)] for name, (hr, lr) in folders.items()})
    trainings = Trainings(inherited=[lock])
    where = places(study, args.output, args.data)
    write_untrained(study, args.output / 'untrained.pth')
    options = study_options(study, args.iterations, where)
    jobs = Jobs(study, Evaluator(sets, trainings.stopped), trainings, args.output, where)
    runs = [run for seed in args.seeds or study.seeds for arm in arms
            for run in runs_of(study, arm, options[arm], [seed])]
    try:
        failed = work_off(jobs, runs, results, args.jobs, args.again)
    finally:
        print(report(study, options, results))
    return failed


def report_only(args: argparse.Namespace) -> int:
    """Tables and pictures of what is in the output folder.

    Raises:
        AblationError: there is nothing in it.
    """
    study, results = read_study(args.study), Results(args.output)
    if not results.runs:
        raise AblationError(f'there are no results in {args.output}; run it without --report first.')
    where = places(study, args.output, Path(results.settings['data']))
    print(report(study, study_options(study, results.settings['iterations'], where), results))
    return 0


def work_off(jobs: Jobs, runs: Sequence[Run], results: Results, workers: int, again: bool) -> int:
    """Train and measure what is not in the results yet, some at a time; returns how many runs failed."""
    known = {run.key: results.runs[run.key] for run in runs if results.trained(run) and not again}
    left = [run for run in runs if run.key not in known or jobs.missing(known[run.key])]
    failed = 0
    with ThreadPoolExecutor(workers) as pool, tqdm(
            total=sum(run.iterations for run in left if run.key not in known), unit='it', smoothing=0,
            bar_format='{desc} {bar} {n_fmt}/{total_fmt} iterations, {elapsed}, {remaining} left') as bar:
        bar.set_description(f'0/{len(left)} runs')
        futures: dict[Any, Run | str] = {}
        for title in REFERENCES:
            if jobs.missing(results.references.get(title)):
                futures[pool.submit(jobs.reference, title, results.references.get(title))] = title
        for run in left:
            futures[pool.submit(jobs.run, run, known.get(run.key), bar)] = run
        done = 0
        try:
            for future in as_completed(futures):
                subject = futures[future]
                try:
                    row = future.result()
                except FAILURES as error:
                    failed += 1
                    tqdm.write(f'{subject if isinstance(subject, str) else subject.key} failed: {error}')
                else:
                    keep(results, subject, row)
                done += isinstance(subject, Run)
                bar.set_description(f'{done}/{len(left)} runs')
        except BaseException:
            jobs.trainings.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def keep(results: Results, subject: Run | str, row: Mapping[str, Any]) -> None:
    """Put what was measured into the file, and a line on screen."""
    if isinstance(subject, str):
        results.references[subject] = dict(row)
    else:
        results.runs[subject.key] = dict(row)
        psnr = row['curve'][-1][1]
        tqdm.write(f'{subject.key}: {psnr:.2f} dB on the held-out photos, {row["seconds"]:.0f} s of training')
    results.write()


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', nargs='?', type=Path, default=HERE / 'ablation.yml',
                        help='YAML file with the arms (default: scripts/ablation.yml)')
    parser.add_argument('--photos', type=Path, metavar='DIR', help='high-resolution photos, for the first call')
    parser.add_argument('--data', type=Path, default=Path('datasets/ablation'), metavar='DIR',
                        help='where they are kept, cut and shrunk (default: datasets/ablation)')
    parser.add_argument('--sets', nargs='+', default=[], metavar='NAME=HRDIR,LRDIR',
                        help='further sets of images to measure on: the same file names in both folders')
    parser.add_argument('--arms', nargs='+', metavar='NAME', help='only these arms or groups (default: all)')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='N', help='default: those of the YAML file')
    parser.add_argument('--iterations', type=int, metavar='N', help='of every run (default: what the YAML file says)')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='runs at a time, a core each (default: 1)')
    parser.add_argument('--again', action='store_true', help='train what is finished again')
    parser.add_argument('--output', type=Path, default=Path('results/ablation'), metavar='DIR',
                        help='default: results/ablation')
    parser.add_argument('--report', action='store_true', help='only make tables and pictures from results.json')
    args = parser.parse_args(argv)
    for name in ('iterations', 'jobs'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} must be 1 or more')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    warnings.filterwarnings('ignore', category=RuntimeWarning)  # NIQE of a flat image
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that `kill` ends the trainings too
    try:
        failed = report_only(args) if args.report else ablate(args)
    except BasicSRKDError as error:
        sys.exit(f'ablation: {error}')
    except KeyboardInterrupt:
        sys.exit('ablation: stopped. Run the same command again to go on; finished runs are kept.')
    if failed:
        sys.exit(f'ablation: {failed} failed, see above. The same command tries again.')


if __name__ == '__main__':
    main()
