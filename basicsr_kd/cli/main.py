"""`basicsr-kd`: finds the subcommands and runs one."""

import argparse
import sys

from basicsr_kd import __version__
from basicsr_kd.cli import bench, doctor, evaluate, export, infer, options, plan, prune, report

COMMANDS = (prune, plan, evaluate, infer, export, bench, report, options, doctor)
INTERRUPTED = 130  # what shells report for a program that Ctrl-C ends: 128 plus the signal's number


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code.

    Args:
        argv: The arguments after the program's name; default: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog='basicsr-kd', description='Pruning and knowledge distillation for BasicSR: everything around training.')
    parser.add_argument('--version', action='version', version=f'basicsr-kd {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='command', required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition('.')[2]
        summary = (module.__doc__ or '').strip().splitlines()[0].partition(': ')[2]
        command = commands.add_parser(name, help=summary, description=summary, epilog=f'example: {module.EXAMPLE}')
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print('basicsr-kd: interrupted', file=sys.stderr)
        return INTERRUPTED


if __name__ == '__main__':
    sys.exit(main())
