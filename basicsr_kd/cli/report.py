"""`basicsr-kd report`: makes a page to compare photos on, with tables and plots, of what evaluate and bench wrote."""

import argparse
import io
import sys
from pathlib import Path

from basicsr_kd.cli.common import check_folder, refuse
from basicsr_kd.errors import BasicSRKDError

EXAMPLE = """basicsr-kd report --runs teacher.json students.json --about about.yml --images pictures --out report
         basicsr-kd report --runs evaluation.json bench.json --out report

         about.yml says what the methods are, all of it optional:
           kd_s16_seed0: {role: student, features: 16, pruned: 0.3, seed: 0, group: Student_16, iterations: 100000}
         role: bicubic, teacher, pruned_teacher, student, student_without_distillation or student_l1
         blocks: residual blocks of a network for video; default: read off its file"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.add_argument('--runs', metavar='FILE', type=Path, nargs='+', required=True,
                        help='what `basicsr-kd evaluate --json` wrote, with one\nprotocol and on the same images, '
                             'and what\n`basicsr-kd bench --json` wrote of the same networks')
    parser.add_argument('--out', metavar='DIR', type=Path, required=True,
                        help='the folder to write: index.html for a browser, report.md,\ntables as Markdown, '
                             'LaTeX and CSV, pictures')
    parser.add_argument('--about', metavar='FILE', type=Path,
                        help='YAML: what the methods are, by their names (below)')
    parser.add_argument('--images', metavar='DIR', type=Path,
                        help='what `basicsr-kd evaluate --save-images` wrote, to\ncompare them on the page')
    parser.add_argument('--force', action='store_true', help='write into a folder that is not empty')


def run(args: argparse.Namespace) -> int:
    """Make the report; on failure one line goes to stderr, nothing is written, and the exit status is 2."""
    from basicsr_kd.report.cells import to_markdown
    from basicsr_kd.report.report import build_report
    from basicsr_kd.report.write import write_report
    try:
        check_folder(args.out, args.force)
        report = build_report(args.runs, args.about, args.images, progress=sys.stderr.isatty())
        written = write_report(report, args.out)
    except (BasicSRKDError, OSError) as error:
        return refuse('report', error)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='replace')  # for arrows, if the terminal knows ASCII only
    print(f'{report.tables[0].title}\n\n{to_markdown(report.tables[0])}\n')
    print('\n'.join(f'- {note}' for note in [*report.notes(report.tables[0]), *report.runs.notes, *report.left_out]))
    print(f'\nWritten to {args.out}: {", ".join(written)}. Open {args.out / "index.html"} in a browser.')
    return 0
