"""`basicsr-kd bench`: times networks in the programs that run them, in turns."""
import argparse
import sys
from pathlib import Path

from basicsr_kd.cli.bench_arguments import EXAMPLE, add_arguments, check_arguments
from basicsr_kd.cli.common import check_outputs, refuse, say, write_json
from basicsr_kd.errors import BasicSRKDError

__all__ = ['EXAMPLE', 'add_arguments', 'run']

_TRIAL = 48  # side of the photo that written networks are tried on


def run(args: argparse.Namespace) -> int:
    """Run the benchmark; on failure one line goes to stderr, nothing is written, and the exit status is 2."""
    try:
        check_arguments(args)
        check_outputs([args.json, args.plot], args.force)
        from basicsr_kd import plugin
        plugin.register()
        return _bench(args)
    except (BasicSRKDError, OSError) as error:
        return refuse('bench', error)


def _bench(args: argparse.Namespace) -> int:
    import msgspec

    from basicsr_kd.bench.measure import Request, bench
    from basicsr_kd.bench.plan import installed
    from basicsr_kd.deploy.open import name_of
    from basicsr_kd.evaluation.methods import unique_names
    from basicsr_kd.pruning import read_calibration
    from basicsr_kd.report.bench_plot import bench_plot
    from basicsr_kd.report.bench_text import bench_text
    from basicsr_kd.utils.images import middle, sample_photo
    from basicsr_kd.utils.modes import fast_formats
    precisions = args.dtype or fast_formats('cpu')
    runtimes, left_out = installed(args.runtime, 'int8' in precisions)
    names = unique_names(args.weights, [*map(name_of, args.weights)])
    calibration = read_calibration(args.calibration, args.num) if args.calibration else None
    request = Request(dict(zip(names, args.weights, strict=True)), args.size, runtimes, precisions, args.threads,
                      middle(sample_photo(), _TRIAL), calibration, args.turns, args.budget, args.param_key)
    found = bench(request, say, sys.stderr.isatty())
    found = msgspec.structs.replace(found, left_out=[*left_out, *found.left_out])
    write_json(args.json, msgspec.to_builtins(found))
    if args.plot:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        bench_plot(args.plot, found)
    print(bench_text(found))
    written: list[Path] = [path for path in (args.json, args.plot) if path]
    if written:
        print(f'\nWritten: {", ".join(map(str, written))}')
    return 0
